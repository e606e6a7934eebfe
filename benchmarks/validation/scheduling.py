"""Scheduling policies: fluid flow compared with slots, and both with theory of opportunistic and fair scheduling."""

from __future__ import annotations

from functools import cache
from math import comb, exp, log2

import numpy as np
import simpy
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.special import exp1

from benchmarks.validation.findings import Finding, mean
from netsim.process import Process
from netsim.radio.band import Band, Transmission
from netsim.radio.fading import Rayleigh
from netsim.radio.fidelity import Fidelity, Flow, Slots
from netsim.radio.link import RadioLink
from netsim.radio.rate import Shannon
from netsim.radio.scheduling import EqualShares, MaxRate, ProportionalFair, RoundRobin, SchedulingPolicy
from netsim.streams import Streams

Floats = NDArray[np.float64]
USERS, BAND_HZ, SECONDS, BITS = 100, 10e6, 20.0, 1.5e6
MEAN_SNR_DB = np.linspace(0, 25, USERS)
"""Mean SNR in dB of each user with its power over the whole band."""
SEEDS, WARM, HARMONIC = 32, 200, 1 + 1 / 2 + 1 / 3 + 1 / 4
GOODPUT, P95 = 0.02, 0.05
"""Relative differences that are allowed between slots and flow."""


def findings() -> list[Finding]:
    return [*_agreement(), *_gains(), *_fairness()]


def _band(
    env: simpy.Environment, law: SchedulingPolicy, fidelity: Fidelity, users: int, hz: float, *, spread: bool
) -> Band:
    return fidelity.band(env, hz, law, law.scheduler(), range(users), Shannon(), 0, spread=spread)


@cache
def transfers(law: SchedulingPolicy, fidelity: Fidelity, load: float | None, *, spread: bool) -> tuple[float, Floats]:
    """Total goodput in bit/s, and the durations of all transfers in s, of users with one transfer after another.

    Each user pauses for exponential times, so that it would send for a fraction `load` of the time if it were alone
    with its share of the band; None is full buffer, without pauses.
    """
    env, streams = simpy.Environment(), Streams(11)
    sendings: dict[int, list[Transmission]] = {number: [] for number in range(USERS)}
    times: list[float] = []
    band = _band(env, law, fidelity, USERS, BAND_HZ, spread=spread)

    def user(number: int) -> Process[None]:
        snr = 10 ** (MEAN_SNR_DB.item(number) / 10)
        link = RadioLink(BAND_HZ * snr, Rayleigh(0.05), streams.key("link", number))
        count = 0
        while True:
            if load is not None:
                pause = streams.exponential("pause", number, index=count)
                yield env.timeout(pause * BITS * USERS / (BAND_HZ * log2(1 + snr)) * (1 - load) / load)
            count += 1
            sent = band.begin(link, (number,), BITS)
            sendings[number].append(sent)
            yield sent.done
            band.end(sent)
            times.append(env.now - sent.start_s)

    for number in range(USERS):
        env.process(user(number))
    env.run(SECONDS)
    for own in sendings.values():
        for latest in own[-1:]:
            band.update(latest)
    return sum(sent.delivered_bits for own in sendings.values() for sent in own) / SECONDS, np.array(times)


CASES: list[tuple[str, SchedulingPolicy, Slots, bool]] = [
    ("equal, downlink", EqualShares(), Slots(), True),
    ("equal, uplink, 100 resource blocks", EqualShares(), Slots(resource_blocks=100), False),
    ("round robin, downlink", RoundRobin(), Slots(), True),
    ("round robin, uplink", RoundRobin(), Slots(), False),
    ("proportional fair", ProportionalFair(), Slots(), True),
    ("max rate", MaxRate(), Slots(), True),
]


def _agreement() -> list[Finding]:
    found = []
    for name, law, slots, spread in CASES:
        for load, what in ((None, "full buffer"), (0.5, "with pauses")):
            flow_bps, flow_s = transfers(law, Flow(), load, spread=spread)
            slot_bps, slot_s = transfers(law, slots, load, spread=spread)
            for figure, ours, expected, part in (
                ("mean goodput, Mbit/s", slot_bps / 1e6, flow_bps / 1e6, GOODPUT),
                ("95th percentile of transfer times, s", np.percentile(slot_s, 95), np.percentile(flow_s, 95), P95),
            ):
                found.append(Finding(name, f"{figure}, {what}", "flow", float(ours), float(expected), part * expected))
    return found


def goodputs(law: SchedulingPolicy, fidelity: Fidelity, snrs: Floats, slots: int, seed: int) -> Floats:
    """Goodput in bit/s/Hz of full-buffer users (users,) over Rayleigh blocks of one 1 s slot, after a warm-up."""
    env = simpy.Environment()
    band = _band(env, law, fidelity, len(snrs), 1.0, spread=True)
    streams = Streams(seed)
    links = [RadioLink(snr, Rayleigh(1.0), streams.key("link", user)) for user, snr in enumerate(snrs.tolist())]
    sent = [band.begin(link, (user,), 1e12) for user, link in enumerate(links)]
    reached = []
    for until_s in (WARM, WARM + slots):
        env.run(until_s + 1e-9)
        for each in sent:
            band.update(each)
        reached.append([each.delivered_bits for each in sent])
    return np.subtract(*reversed(reached)) / slots


BOTH: tuple[tuple[str, Fidelity], ...] = (("flow", Flow()), ("slot", Slots(1.0, 1)))


def _gains() -> list[Finding]:
    """Compare goodputs over Rayleigh fading with order statistics of exponentials."""
    found = []
    for users, snr in ((4, 0.1), (8, 10.0)):
        best = sum(
            (-1) ** (k + 1) * comb(users, k) * exp(k / snr) * exp1(k / snr) * log2(np.e) for k in range(1, users + 1)
        )
        for name, fidelity in BOTH:
            sums = [goodputs(MaxRate(), fidelity, np.full(users, snr), 100, seed).sum() for seed in range(SEEDS)]
            figure = f"goodput, {users} users at {10 * np.log10(snr):g} dB, bit/s/Hz"
            found.append(mean(f"max rate, {name}", figure, "best of n exponentials", sums, best))
    low = 0.001 * np.geomspace(1, 10, 4)
    for name, fidelity in BOTH:
        shares = np.array([goodputs(ProportionalFair(100.0), fidelity, low, 300, seed) for seed in range(SEEDS)])
        for user in (0, 3):
            own = shares[:, user] / (low[user] * log2(np.e))
            figure = f"goodput over own mean rate, mean {low[user] / low[0]:g}"
            found.append(
                mean(f"proportional fair, {name}", figure, "H_4 / 4, low SNR", own, (1 + 1 / 2 + 1 / 3 + 1 / 4) / 4)
            )
    return found


def optimum(snrs: Floats, samples: int = 100_000) -> Floats:
    """Goodputs (users,) with the largest sum of logarithms: each block goes to the largest rate over goodput."""
    rates = np.log2(1 + snrs * np.random.default_rng(5).exponential(size=(samples, len(snrs))))
    goodputs = rates.mean(axis=0) / len(snrs)
    for _ in range(60):
        winner = np.argmax(rates / goodputs, axis=1)
        served = np.array([rates[winner == user, user].sum() for user in range(len(snrs))]) / samples
        goodputs += 0.2 * (served - goodputs)
    return goodputs


def _fairness() -> list[Finding]:
    snrs = 10 ** (np.array([-5.0, 0.0, 5.0, 15.0]) / 10)
    best, found = optimum(snrs), []
    for name, fidelity in BOTH:
        shares = np.array([goodputs(ProportionalFair(100.0), fidelity, snrs, 300, seed) for seed in range(SEEDS)])
        for user, snr in enumerate(snrs.tolist()):
            figure = f"goodput of the user at {10 * np.log10(snr):.0f} dB, bit/s/Hz"
            found.append(
                mean(f"proportional fair, {name}", figure, "largest sum of logarithms", shares[:, user], best[user])
            )
    return found


def plot() -> Figure:
    """Plot transfer times by both fidelities, and the multi-user diversity gain over the number of users."""
    figure = Figure(figsize=(7, 2.8), layout="constrained")
    times, gains = figure.subplots(1, 2)
    for name, law, slots, spread in (CASES[0], CASES[3], CASES[4]):
        for fidelity, style in ((Flow(), "-"), (slots, "--")):
            seconds = np.sort(transfers(law, fidelity, 0.5, spread=spread)[1])
            label = name if style == "-" else None
            colour = f"C{[case[0] for case in CASES].index(name)}"
            times.semilogx(seconds, (np.arange(len(seconds)) + 0.5) / len(seconds), style, c=colour, lw=1, label=label)
    times.set(xlabel="transfer time (s), dashed: slots", ylabel="probability")
    times.legend(fontsize=6)
    users = np.array([1, 2, 4, 8])
    for marker, law in (("o", MaxRate()), ("x", ProportionalFair(100.0))):
        sums = [
            goodputs(law, Slots(1.0, 1), np.full(n, 0.001), 1500, 3).sum() / (0.001 * log2(np.e))
            for n in users.tolist()
        ]
        gains.plot(users, sums, marker, ms=5, label={"o": "max rate", "x": "proportional fair"}[marker])
    gains.plot(users, [sum(1 / k for k in range(1, n + 1)) for n in users.tolist()], "k--", lw=1, label="H_n")
    gains.set(xlabel="users alike, low SNR", ylabel="goodput over a user alone")
    gains.legend(fontsize=7)
    return figure
