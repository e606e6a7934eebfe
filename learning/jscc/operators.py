"""Operations of NTRSCC: analysis at the server, decoding and synthesis at a receiver."""

from __future__ import annotations

import torch
from torch import Tensor

from learning.draws import standard_normal
from learning.executor.flops import charge_elementwise, uncharged
from learning.fountain.information import entropy_bits
from learning.fountain.propagation import EDGE_OPERATIONS, SYNDROME_OPERATIONS
from learning.jscc.autoencoder import Latents, Transforms
from learning.jscc.code import Code
from learning.jscc.images import Span, unit
from learning.jscc.perceptron import Parameters


def analyse(
    transforms: Transforms, parameters: Parameters, images: Tensor, span: Span
) -> tuple[Tensor, Tensor, Tensor]:
    """Latents of images (n, ...): bits (n, k), hyper-latents (n, h), and what the priors leave unknown in bits (n,)."""
    latents = transforms.analyse(parameters, unit(images, span))
    bits = (latents.llrs < 0).long()
    return bits, latents.hyper, entropy_bits(torch.sigmoid(-latents.priors)).sum(-1)


def receive(
    transforms: Transforms,
    code: Code,
    parameters: Parameters,
    hyper: Tensor,
    bits: Tensor,
    u: Tensor,
    u_noise: Tensor,
    snr: Tensor,
    edges: int,
    iterations: int,
) -> Tensor:
    """Belief propagation and synthesis of n images at one receiver: images (n, pixels).

    Charged are the messages on the edges of the symbols that are heard, and the transforms of the receiver. That the
    symbols are computed here, from the bits, is no work of the receiver.

    Args:
        transforms: the transforms.
        code: the code.
        parameters: parameters of the transforms.
        hyper: (n, h): hyper-latents, as received.
        bits: (n, k): the bits that are sent.
        u: (m, k + 2): draws of the graph.
        u_noise: (n, m): uniform numbers in [0, 1), of which the receiver's noise is made.
        snr: (m,): signal-to-noise ratio of each symbol, 0 where it is not heard.
        edges: edges of the symbols of each image that are heard.
        iterations: iterations of belief propagation.
    """
    latents = _side_information(transforms, parameters, hyper)
    charge_elementwise(iterations * edges * EDGE_OPERATIONS[code.propagation.rule], hyper[:, 0])
    with uncharged():
        llrs = code.transmit(latents, bits, u, standard_normal(u_noise), snr, iterations)
    return transforms.synthesise(parameters, torch.tanh(llrs / 2).to(latents.features.dtype), latents.features)


def receive_and_check(
    transforms: Transforms,
    code: Code,
    parameters: Parameters,
    hyper: Tensor,
    bits: Tensor,
    u: Tensor,
    u_noise: Tensor,
    snr: Tensor,
    edges: int,
    iterations: int,
) -> tuple[Tensor, Tensor]:
    """As `receive`, with the relative soft syndrome of each image, (n,), see `Code.syndrome`, which is charged too."""
    latents = _side_information(transforms, parameters, hyper)
    each = iterations * EDGE_OPERATIONS[code.propagation.rule] + SYNDROME_OPERATIONS
    charge_elementwise(edges * each, hyper[:, 0])
    with uncharged():
        noise = standard_normal(u_noise)
        llrs = code.transmit(latents, bits, u, noise, snr, iterations)
        syndrome = code.syndrome(latents, bits, u, noise, snr, llrs)
    images = transforms.synthesise(parameters, torch.tanh(llrs / 2).to(latents.features.dtype), latents.features)
    return images, syndrome


def _side_information(transforms: Transforms, parameters: Parameters, hyper: Tensor) -> Latents:
    """What a receiver knows of images before it hears a symbol; the priors stand for the proposals."""
    priors, importance, features = transforms.side_information(parameters, hyper)
    return Latents(priors, hyper, priors, importance, features)
