"""Images that receivers with weak and strong channels get: by a rateless code, and by amplitudes at a fixed rate.

    python examples/received_images.py

Trains the transforms of `ntrscc` and `deep_jscc` as the scenario of NTRSCC describes them, sends six test images at the
airtime of the weakest receiver and at half of it, and writes `received_images.png`. A minute, most of it training.
"""

from itertools import product
from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import Tensor

import scenarios
from learning.data import Digits
from learning.executor import Batched
from learning.fountain.graph import symbol_draws
from learning.jscc import amplitudes, operators, training
from learning.jscc.amplitudes import Amplitudes, AmplitudeTraining
from learning.jscc.images import psnr_db, span_of, unit
from learning.schemes.ntrscc import NTRSCC
from netsim.streams import Streams

SCENARIO = Path(__file__).parents[1] / "scenarios" / "papers" / "ntrscc.yaml"
IMAGES, SYMBOLS, SNRS_DB = 6, (109, 218), (0, 6)


def received(scheme: NTRSCC, seed: int) -> dict[str, tuple[Tensor, float]]:
    """Images (n, pixels) and their mean PSNR in dB, by a description of the channel and the code."""
    executor, streams = Batched(), Streams(seed)
    data = Digits().load(Path("data"), torch.float32)
    assert isinstance(data.test.x, Tensor)
    images, span = data.test.x[:IMAGES], span_of(data.train.x)
    given = executor, streams, data, torch.float32
    plain = Amplitudes(max(SYMBOLS), scheme.transforms.width)
    of_amplitudes = amplitudes.trained(*given, plain, AmplitudeTraining(sum(scheme.training.steps), snr_db=(0, 6)))
    sent = executor.submit(amplitudes.analyse, plain, of_amplitudes, images, span)
    transforms, code = scheme.transforms, scheme.code
    of_bits = training.trained(*given, transforms, code, scheme.training)
    bits, hyper, _ = executor.submit(operators.analyse, transforms, of_bits, images, span)
    found: dict[str, tuple[Tensor, float]] = {"sent": (unit(images, span).flatten(1), float("inf"))}
    for heard, snr_db in product(SYMBOLS, SNRS_DB):
        u = torch.from_numpy(streams.generator("example", heard, snr_db).random((IMAGES, max(SYMBOLS)))).float()
        snr = torch.where(torch.arange(max(SYMBOLS)) < heard, 10 ** (snr_db / 10), 0.0)
        graph = symbol_draws(streams, transforms.bits, max(SYMBOLS), 0)
        coded = (transforms, code, of_bits, hyper, bits, graph, u, snr, 0, 20, False)
        by_code, _ = executor.submit(operators.receive, *coded)
        both = {
            "rateless code": by_code,
            "amplitudes": executor.submit(amplitudes.receive, plain, of_amplitudes, sent, u, snr),
        }
        for name, result in both.items():
            made = executor.value(result)
            found[f"{name}, {heard} symbols, {snr_db} dB"] = made, float(psnr_db(images, made, span).mean())
    return found


def drawn(rows: dict[str, tuple[Tensor, float]]) -> Figure:
    """One row of images for each entry."""
    figure = Figure(figsize=(5, 1.1 * len(rows)))
    axes = figure.subplots(len(rows), IMAGES, gridspec_kw={"hspace": 0.4, "wspace": 0.05})
    for row, (name, (images, quality)) in zip(axes, rows.items(), strict=True):
        for axis, image in zip(row, images, strict=True):
            axis.imshow(image.reshape(8, 8).numpy(), cmap="gray", vmin=0, vmax=1)
            axis.set_axis_off()
        row[0].set_title(name if quality == float("inf") else f"{name}: {quality:.1f} dB", loc="left", fontsize=8)
    return figure


if __name__ == "__main__":
    scenario = scenarios.load(SCENARIO)
    assert scenario.learning is not None
    assert isinstance(scenario.learning.scheme, NTRSCC)
    rows = received(scenario.learning.scheme, scenario.seed)
    drawn(rows).savefig("received_images.png", dpi=100, bbox_inches="tight")
    for name, (_, quality) in rows.items():
        print(f"{name}: {quality:.1f} dB")
