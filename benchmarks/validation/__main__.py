"""Write docs/validation.md and its pictures; exit with 1 if a difference is larger than its interval."""

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

Written by `make validate`; do not edit. Every model of the simulated world is compared with a reference that does not
share its code: another implementation, a closed form, or the table of the standard evaluated by hand. Random figures
have the half width of their 99.9 % confidence interval; their random draws are the same each time. For deterministic
figures the last column is the allowed difference. Among so many random figures one outside its interval is to be
expected; the command then fails, so that it is examined.
"""
Section = tuple[str, str, Callable[[], list[Finding]], Callable[[], Figure], str]
SECTIONS: tuple[Section, ...] = (
    (
        "Propagation", "propagation", propagation.findings, propagation.plot,
        "Beyond the breakpoint distance a difference from Sionna of up to 0.0057 dB remains: Sionna takes the speed "
        "of light in that distance as 299,792,458 m/s, TR 38.901 and netsim as 3.0e8 m/s. The comparison is of basic "
        "path losses, without Sionna's car penetration (RMa) and building penetration losses. UMa is compared for "
        "user heights up to 12.9 m; above, the environment height is random in both. The correlation of shadowing is "
        "exact on average over realisations; the root mean square deviation of a single realisation is stated with "
        "the field `waves`.",
    ),
    (
        "Fading", "fading", channels.findings, channels.plot,
        "A sum of n waves is not exactly complex Gaussian: the second moment of its power is 2 - 1/n, and its "
        "autocorrelation is up to 1/n too small. The gain of a block is that at its middle, so variation within a "
        "twentieth of a wavelength is not resolved; level crossings are counted with 200 blocks per wavelength.",
    ),
    (
        "Fading over frequency", "selective", selective.findings, selective.plot,
        "Taps are sums of eight waves, so the second moment of their power is slightly below that of a complex "
        "Gaussian; the expected products of powers account for this. The rounded values in the standard give TDL-D a "
        "delay spread 0.6 % below one.",
    ),
    (
        "Rate laws", "rates", rates.findings, rates.plot,
        "Block error curves are compared with the raw points of Sionna's PDSCH tables. Its PUSCH tables were "
        "generated for other modulation and coding schemes than those they are used for, and linear interpolation "
        "between their points (1.8 dB apart) is up to 0.8 dB optimistic. Both sides use Sionna's encoder and decoder, "
        "with independent simulations. Codes that Sionna pads to whole symbols by more than 1 % are excluded, because "
        "padding lowers the code rate: for 100 bits and 256QAM by up to 6 %, or 1.5 dB. For 256QAM in table 2 fewer "
        "blocks were simulated, and the remaining difference of up to 0.65 dB is at its two highest code rates and "
        "small blocks, where padding still matters. At 500 and 2000 bits we simulated nothing, so that the comparison "
        "tests the interpolation between sizes. Sionna has no points for code rates below 120/1024. Below 100 bits "
        "nothing is compared; the curves there follow our own simulation of code blocks of 40 bits. EESM is an "
        "approximation; it is within 0.5 dB of equal mutual information. The normal approximation is some bits per "
        "codeword below the converse bound, as theory predicts; the law omits the logarithmic term, which is added "
        "for the comparison. No other package has CQI tables; all but one of their entries are MCS entries, and their "
        "efficiencies are tested against the printed column.",
    ),
    (
        "Links", "links", links.findings, links.plot,
        "Reports that are independent of the channel in their slot are the worst case: every slot is a separate "
        "Rayleigh block, and retransmissions follow eight slots later. The outer loop converges to within one step. "
        "The neighbour transmits bursts with exponential durations and gaps; both stations use the same channel. "
        "Messages queue for a link of the backhaul; in the last two rows 40 % of them are urgent.",
    ),
    (
        "Cells", "cells", calibration.findings, calibration.plot,
        "57 sectors with wrap-around by TR 38.901 table 7.8-1 (columns of ten elements, electrical downtilt of 12 "
        "degrees, 80 % of users indoors on all floors, half of them behind coated glass), full buffers, no fast "
        "fading. The expected figure is the midpoint between the lowest and the highest result of four companies in "
        "R1-165974 (of 21, as contained in NVIDIA's Aerial); the interval is half of that range plus the half width "
        "of our own confidence interval. Of 20 percentiles 13 are within the range, the others at most 0.8 dB "
        "outside. The companies used TR 38.900, in which some parameters of UMa line of sight differ from the later "
        "TR 38.901.",
    ),
    (
        "Mobility", "mobility", mobility.findings, mobility.plot,
        "Users of the random waypoint model start at the centre and are observed after 800 s, about twenty legs "
        "later. Gauss-Markov is observed in an unbounded plane, because reflections at a boundary reverse velocities.",
    ),
    (
        "Devices that come and go", "presence", presence.findings, presence.plot,
        "Availability is checked in equilibrium, at several instants; the renewal processes start with the residual "
        "times of their distributions. The governor of a hot device is a switch in the differential equation and the "
        "limit of infinitely fast switching in netsim; the allowed 0.05 s are the steps of the solver. The model "
        "kappa f^2, fitted at the fastest clock of a real core, misses up to 64 % of the energy per cycle at the "
        "slowest (left picture), because the voltage decreases much less than the clock. Lower clocks save far less "
        "energy than it predicts.",
    ),
    (
        "Schedulers", "scheduling", scheduling.findings, scheduling.plot,
        "The same transfers of 100 users at 0 to 25 dB as a fluid flow and slot by slot (1 ms, 50 resource blocks "
        "unless stated otherwise), under the same fading: 2 % of the goodput and 5 % of the 95th percentile of "
        "transfer times are allowed. Under equal share, round robin, proportional fairness and max rate the "
        "differences are smaller; they come from waiting for the first grant and for the end of a slot. The fluid "
        "form of proportional fairness, which divides each fading block where slots alternate, therefore has no "
        "visible error here. It agrees because all frequencies fade alike: with frequency-selective fading, slots "
        "gain from choosing among resource blocks, and the flow does not. Equal share on the uplink needs as many "
        "resource blocks as users: with fewer, a user has a wider block in some slots only, and its power is less "
        "concentrated than in the flow. Theory is compared over Rayleigh blocks of one slot; an averaging window of "
        "100 slots costs proportional fairness up to 1 % of the optimum.",
    ),
    (
        "Stragglers and energy", "devices", devices.findings, devices.plot,
        "Pareto distributions with alpha <= 2 have no finite variance, so their quantiles are compared, not their "
        "means. Recorded devices are data, not a model; they are tested, not validated.",
    ),
    (
        "Queues", "queues", queues.findings, queues.plot,
        "Requests of one user without bits to transmit, so that only the server takes time; the mean service time is "
        "one second. The first tenth of 100,000 requests is discarded, the rest divided into 30 batches. Tests verify "
        "Little's law and the exact recursions of first come first served, of priorities and of processor sharing up "
        "to rounding.",
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
