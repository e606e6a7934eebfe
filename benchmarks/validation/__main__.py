"""Writes docs/validation.md and its pictures; fails if a difference is larger than its interval."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import fill

from matplotlib.figure import Figure

from benchmarks.validation import (
    calibration,
    channels,
    devices,
    links,
    mobility,
    presence,
    propagation,
    queues,
    rates,
    scheduling,
    selective,
)
from benchmarks.validation.findings import Finding

DOCS = Path(__file__).parents[2] / "docs"
PICTURES = DOCS / "images" / "validation"

HEAD = """# Validation

Written by `make validate`; do not edit. Every law of the simulated world beside something that does not share its code:
another implementation, a closed form, or the table of the standard worked out by hand. Random figures come with the
half width of their 99.9 % confidence interval; draws are named, so they are the same each time. For figures without
chance the last column is the difference that is allowed. Among so many random figures one outside its interval is no
surprise; the command fails then, so that somebody looks.
"""
Section = tuple[str, str, Callable[[], list[Finding]], Callable[[], Figure], str]
SECTIONS: tuple[Section, ...] = (
    (
        "Propagation", "propagation", propagation.findings, propagation.plot,
        "Beyond the breakpoint distance a difference from Sionna of up to 0.0057 dB remains: Sionna takes the speed of "
        "light as 299,792,458 m/s in that distance, TR 38.901 as 3.0e8 m/s, and so do we. Sionna's car loss (RMa) is "
        "left out, as is its penetration loss: the basic path losses are compared. UMa is compared up to users of "
        "12.9 m; above, the environment height is random in both. The correlation of shadowing is exact over worlds; "
        "within one world it is off by the root mean square that the field `waves` states.",
    ),
    (
        "Fading", "fading", channels.findings, channels.plot,
        "A sum of n waves is no exact complex Gaussian: its power has second moment 2 - 1/n, and its autocorrelation "
        "lacks at most 1/n. Blocks hold the gain of their middle, so what happens within a twentieth of a wavelength "
        "is not seen; fades are counted with 200 blocks to the wavelength.",
    ),
    (
        "Fading over frequency", "selective", selective.findings, selective.plot,
        "Taps are sums of eight waves, so their power lacks a little of the second moment of a complex Gaussian: where "
        "powers are multiplied, the expected figure has that sum taken out. The standard's own figures give TDL-D a "
        "delay spread 0.6 % short of one.",
    ),
    (
        "Rate laws", "rates", rates.findings, rates.plot,
        "Block error curves are compared with the raw points of Sionna's PDSCH tables; its PUSCH tables were made "
        "for other schemes than they are read for, and straight lines between its points (1.8 dB apart) are up to "
        "0.8 dB optimistic. Encoder and decoder are Sionna's in both, the counts apart. Left out are codes that "
        "Sionna fills up to whole symbols by more than 1 %, which lowers their code rate: in blocks of 100 bits and "
        "256QAM by up to 6 %, worth 1.5 dB. In table 2, 256QAM was counted with fewer blocks than the rest, and the "
        "difference of up to 0.65 dB that remains is at its two highest code rates and few bits, where whole symbols "
        "still matter. At 500 and 2000 bits nothing was counted: the rule between sizes is tested. Sionna has no "
        "points for code rates below 120/1024; and below 100 bits our curves are continued, at 24 bits and high code "
        "rates to some dB too many. EESM is no law of nature; it lies within 0.5 dB of equal mutual information. The "
        "normal approximation falls short of the converse by some bits a codeword, as theory says; the law leaves "
        "out the logarithmic term, which is added for the comparison. CQI tables are in no other package; their "
        "entries are those of MCS tables but for one, and their efficiencies are tested against the printed column.",
    ),
    (
        "Links", "links", links.findings, links.plot,
        "Reports that know nothing of the slot are the worst case: every slot is a Rayleigh block of its own, and "
        "copies come eight slots later. The outer loop settles no closer than a step. The neighbour sends in "
        "exponential bursts between exponential pauses; both stations share a channel. Messages queue for a line of "
        "the backhaul; in the last two rows 0.4 of them are urgent.",
    ),
    (
        "Cells", "cells", calibration.findings, calibration.plot,
        "57 sectors with wrap-around by TR 38.901 table 7.8-1 (columns of ten elements, electrical tilt of 12 degrees, "
        "80 % of users indoors on any floor, half of them behind coated glass), full buffers, no fast fading. The "
        "expected figure is the middle between the lowest and the highest of four companies in R1-165974 (of 21, as "
        "NVIDIA's Aerial carries them), the interval half of that spread and the half width of our own sample's. Of 20 "
        "percentiles 13 lie in the spread itself, the others at most 0.8 dB beside it. The companies used TR 38.900, "
        "some of whose parameters of UMa line of sight were changed later.",
    ),
    (
        "Mobility", "mobility", mobility.findings, mobility.plot,
        "Users of the random waypoint begin in the middle and are looked at after 800 s, some twenty walks later. "
        "Gauss-Markov is looked at in an endless plane, as mirrors at an edge turn velocities round.",
    ),
    (
        "Devices that come and go", "presence", presence.findings, presence.plot,
        "Availability is checked in equilibrium, at any instant; the renewal processes begin with residual times of "
        "their laws. The governor of a hot device is a switch in the differential equation and the limit of infinitely "
        "fast switching here; the 0.05 s allowed are the solver's steps. The shortcut kappa f^2, made right at the "
        "fastest clock of a real core, misses up to 64 % of the energy of a cycle at the slowest (left picture): "
        "voltage falls much less than the clock. Slowing down saves far less than the shortcut promises.",
    ),
    (
        "Schedulers", "scheduling", scheduling.findings, scheduling.plot,
        "The same transfers of 100 users at 0 to 25 dB as a flow and slot by slot (1 ms, 50 resource blocks unless "
        "said otherwise), under the same fading: 2 % of the goodput and 5 % of the 95th percentile of transfer times "
        "are allowed. Under equal share, round robin, proportional fairness and max rate alike they differ by less; "
        "what remains are waits for a first turn and for the end of a slot. So the flow form of proportional "
        "fairness, which divides each fading block where slots alternate, costs nothing that can be seen here. It "
        "agrees because all frequencies fade alike: over resource blocks that fade apart, slots gain from choosing "
        "among them and the flow does not. Equal share on the uplink needs as many resource blocks as users: with "
        "fewer, a user has a wider block in some slots only, and its power is less concentrated than the flow says. "
        "Theory is compared over Rayleigh blocks of one slot; a memory of 100 slots costs proportional fairness up to "
        "1 % of the optimum.",
    ),
    (
        "Stragglers and energy", "devices", devices.findings, devices.plot,
        "Pareto laws with alpha <= 2 have no finite variance, so their quantiles are compared, never their means. "
        "Recorded devices are data, not a law; they are tested, not validated.",
    ),
    (
        "Queues", "queues", queues.findings, queues.plot,
        "Requests of one user with no bits to send, so that the server alone takes time; the mean service is one "
        "second. The first tenth of 100,000 requests is left out, the rest cut into 30 batches. Little's law, and the "
        "exact recursions of first come, first served, of priorities and of sharing, are held by tests to rounding.",
    ),
)  # fmt: skip


def main() -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    found = {title: findings() for title, _, findings, _, _ in SECTIONS}
    for _, name, _, plot, _ in SECTIONS:
        plot().savefig(PICTURES / f"{name}.png", dpi=90)
    lines = [HEAD]
    for title, name, _, _, remark in SECTIONS:
        lines += _lines(title, name, remark, found[title])
    (DOCS / "validation.md").write_text("\n".join(lines))
    apart = [each for findings in found.values() for each in findings if not each.agrees]
    for each in apart:
        print(f"{each.law}, {each.figure}: {each.ours:g}, not {each.expected:g} +- {each.interval:g}")
    sys.exit(1 if apart else 0)


def _lines(title: str, name: str, remark: str, findings: list[Finding]) -> Iterator[str]:
    yield f"## {title}\n\n{fill(remark, 120)}\n"
    if title == "Propagation" and not any(each.compared_with.startswith("Sionna") for each in findings):
        yield "Sionna was not installed when this was written, so its comparison is missing.\n"
    yield f"![{title}](images/validation/{name}.png)\n"
    yield "| law | figure | compared with | ours | expected | difference | interval |"
    yield "| --- | --- | --- | ---: | ---: | ---: | ---: |"
    for each in findings:
        numbers = f"{each.ours:.5g} | {each.expected:.5g} | {each.difference:+.2g} | ±{each.interval:.2g}"
        yield f"| {each.law} | {each.figure} | {each.compared_with} | {numbers} |"
    yield ""


if __name__ == "__main__":
    main()
