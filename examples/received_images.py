"""Images that receivers with weak and strong channels get: by a rateless code, and by amplitudes at a fixed rate.

    python examples/received_images.py [SCENARIO]

Trains the transforms of `ntrscc` and `deep_jscc` as a scenario of NTRSCC describes them (default: papers/ntrscc.yaml),
sends six test images at the longest airtime and with half of the coded symbols, and writes `received_images.png`. A
minute, most of it training; longer for larger images.
"""

import os
import sys
from itertools import product
from math import ceil
from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import Tensor

import scenarios
from learning.description import LearningDescription
from learning.executor import Batched
from learning.fountain.graph import symbol_draws
from learning.jscc import amplitudes, operators, training
from learning.jscc.amplitudes import Amplitudes, AmplitudeTraining
from learning.jscc.autoencoder import HYPER_WIDTH
from learning.jscc.images import psnr_db, span_of, unit
from learning.schemes.ntrscc import NTRSCC
from netsim.streams import Streams

SCENARIO = Path(__file__).parents[1] / "scenarios" / "papers" / "ntrscc.yaml"
IMAGES, SNRS_DB = 6, (0, 6)


def received(learning: LearningDescription, seed: int) -> dict[str, tuple[Tensor, float]]:
    """Images (n, channels, h, w) and their mean PSNR in dB, by a description of the channel and the code."""
    executor, streams, scheme = Batched(), Streams(seed), learning.scheme
    assert isinstance(scheme, NTRSCC)
    folder = learning.data_folder or Path(os.environ.get("NETSIM_DATA", "data"))
    data = learning.data.load(folder, torch.float32)
    assert isinstance(data.train.x, Tensor)
    assert isinstance(data.test.x, Tensor)
    images, span = data.test.x[:IMAGES], span_of(data.train.x)
    given = executor, streams, data, torch.float32
    most = scheme.code.symbols(scheme.transforms.bits)
    of_hyper = 2 * HYPER_WIDTH * scheme.transforms.hyper  # symbols in the time of the hyper-latents: 1 bit/s/Hz at 0 dB
    counts = [(heard, heard + of_hyper) for heard in (most // 2, most)]  # of the code; and amplitudes in the same time
    plain, steps = Amplitudes(most + of_hyper, scheme.transforms.width), sum(scheme.training.steps)
    plainly = AmplitudeTraining(steps, optimiser=scheme.training.optimiser, snr_db=(0, 6))
    of_amplitudes = amplitudes.trained(*given, plain, plainly)
    sent = executor.submit(amplitudes.analyse, plain, of_amplitudes, images, span)
    transforms, code = scheme.transforms, scheme.code
    of_bits = training.trained(*given, transforms, code, scheme.training)
    bits, hyper, _ = executor.submit(operators.analyse, transforms, of_bits, images, span)
    found: dict[str, tuple[Tensor, float]] = {"sent": (unit(images, span), float("inf"))}
    degree = float(executor.value(executor.submit(operators.mean_degree, code, transforms.bits, of_bits)))
    for (of_code, of_plain), snr_db in product(counts, SNRS_DB):
        ratio = 10 ** (snr_db / 10)
        u = torch.from_numpy(streams.generator("example", of_code, snr_db).random((IMAGES, max(most, plain.symbols))))
        snr = torch.where(torch.arange(most) < of_code, ratio, 0.0)
        graph = symbol_draws(streams, transforms.bits, most, 0)
        sent_bits = (transforms, code, of_bits, hyper, bits, graph, u[:, :most].float(), snr)
        coded, _ = executor.submit(operators.receive, *sent_bits, ceil(of_code * degree), 20, False)
        heard = torch.where(torch.arange(plain.symbols) < of_plain, ratio, 0.0)
        noise = u[:, : plain.symbols].float()
        analogue = executor.submit(amplitudes.receive, plain, of_amplitudes, sent, noise, heard)
        for name, count, result in (("rateless code", of_code, coded), ("amplitudes", of_plain, analogue)):
            made = executor.value(result)
            quality = float(psnr_db(images, made, span).mean())
            found[f"{name}, {count} symbols, {snr_db} dB"] = made.reshape(images.shape), quality
    return found


def drawn(rows: dict[str, tuple[Tensor, float]]) -> Figure:
    """One row of images for each entry."""
    figure = Figure(figsize=(5, 1.1 * len(rows)))
    axes = figure.subplots(len(rows), IMAGES, gridspec_kw={"hspace": 0.4, "wspace": 0.05})
    for row, (name, (images, quality)) in zip(axes, rows.items(), strict=True):
        for axis, image in zip(row, images, strict=True):
            axis.imshow(image.permute(1, 2, 0).squeeze(-1).numpy(), cmap="gray", vmin=0, vmax=1)
            axis.set_axis_off()
        row[0].set_title(name if quality == float("inf") else f"{name}: {quality:.1f} dB", loc="left", fontsize=8)
    return figure


if __name__ == "__main__":
    scenario = scenarios.load(*(sys.argv[1:] or [SCENARIO]))
    assert scenario.learning is not None
    rows = received(scenario.learning, scenario.seed)
    drawn(rows).savefig("received_images.png", dpi=100, bbox_inches="tight")
    for name, (_, quality) in rows.items():
        print(f"{name}: {quality:.1f} dB")
