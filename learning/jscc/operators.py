"""Operations of NTRSCC: analysis at the server, decoding and synthesis at a receiver."""

from __future__ import annotations

import torch
from torch import Tensor

from learning.draws import standard_normal
from learning.executor.flops import charge_elementwise, uncharged
from learning.fountain import degrees
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
    checks: bool,
) -> tuple[Tensor, Tensor]:
    """Belief propagation and synthesis of n images at one receiver: images (n, pixels) and their syndromes (n,).

    Charged are the messages on the edges of the symbols that are heard, the transforms of the receiver, and the
    relative soft syndrome, see `Code.syndrome`, of a receiver that checks it. That the symbols are computed here, from
    the bits, is no work of the receiver.

    Args:
        transforms: the transforms.
        code: the code.
        parameters: parameters of the transforms and of the code.
        hyper: (n, h): hyper-latents, as received.
        bits: (n, k): the bits that are sent.
        u: (m, k + 2): draws of the graph.
        u_noise: (n, m): uniform numbers in [0, 1), of which the receiver's noise is made.
        snr: (m,): signal-to-noise ratio of each symbol, 0 where it is not heard.
        edges: edges of the symbols of each image that are heard.
        iterations: iterations of belief propagation.
        checks: whether the receiver computes the syndrome.
    """
    priors, importance, features = transforms.side_information(parameters, hyper)
    latents = Latents(priors, hyper, priors, importance, features)  # the priors stand for the proposals
    each = iterations * EDGE_OPERATIONS[code.propagation.rule] + checks * SYNDROME_OPERATIONS
    charge_elementwise(edges * each, hyper[:, 0])
    with uncharged():
        distribution = code.degrees(transforms.bits, parameters)
        reception = code.transmit(latents, distribution, bits, u, standard_normal(u_noise), snr, iterations)
        syndrome = code.syndrome(reception, snr)
    soft_bits = torch.tanh(reception.llrs / 2).to(features.dtype)
    return transforms.synthesise(parameters, soft_bits, features), syndrome


def mean_degree(code: Code, bits: int, parameters: Parameters) -> Tensor:
    """Mean degree of the symbols of images of so many bits, a scalar."""
    return degrees.mean_degree(code.degrees(bits, parameters))
