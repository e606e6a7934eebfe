"""Transfers compared with theory: delayed reports, HARQ, outer loop, interference, handover, backhaul queues."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from math import ceil, inf, log2, pi, sqrt

import numpy as np
import pandas as pd
import simpy
from matplotlib.figure import Figure
from scipy.stats import gamma

from benchmarks.validation.findings import Finding, batch_mean, mean
from netsim.backhaul import Backhaul
from netsim.description import (
    BackhaulDescription,
    BandDescription,
    ChannelDescription,
    ComputeDescription,
    EnergyDescription,
    MobilityDescription,
    NetworkDescription,
    SharingDescription,
    StationsDescription,
    UsersDescription,
)
from netsim.geometry import Explicit, Stations
from netsim.handover import Handover
from netsim.journal import Journal
from netsim.mobility import Straight
from netsim.network import Network
from netsim.process import Process
from netsim.queueing import Discipline, Fifo, Priority
from netsim.radio.fading import NoFading
from netsim.radio.interference import Interference
from netsim.radio.nr.adaptation import MCS_OF_CQI
from netsim.radio.nr.codes import CQI_TABLES, MCS_TABLES
from netsim.radio.nr.transport import transport_block_bits
from netsim.radio.pathloss import FreeSpace
from netsim.radio.rate import AdaptiveModulation
from netsim.radio.slot.adaptive import Adaptive
from netsim.radio.slot.coding import Sent
from netsim.streams import Floats, Streams
from netsim.trace import Trace
from netsim.values import ConstantPerUser

SYMBOLS, BLOCKS = 200.0, 10
"""Symbols of a resource block of 200 kHz in 1 ms, and resource blocks of a slot."""
SLOTS, MESSAGES = 10_000, 20_000
LAW = AdaptiveModulation()
STREAMS = Streams(17)


def findings() -> list[Finding]:
    return [*_late_reports(), *_outer_loop(), *_neighbour(), *_handovers(), *_lines()]


def slots(snr: Floats, reported: Floats, outer_loop_db: float = 0.0) -> tuple[Floats, Floats, Floats]:
    """Received bits, failed attempts, and failed first attempts (NaN for others) of one user: three arrays (slots,)."""
    coding = Adaptive(LAW, SYMBOLS, STREAMS.key("block errors"), 8, outer_loop_db)
    coding.joined([0])
    rows, bits, failed, first = np.zeros(BLOCKS, np.intp), [], [], []
    for number, (true, known) in enumerate(zip(snr.tolist(), reported.tolist(), strict=True)):
        waiting = (coding.payload > 0).sum()
        sent = Sent(number, rows, np.full(BLOCKS, true), np.full(BLOCKS, known))
        received = coding.send(sent, np.array([1e9]))
        bits.append(received.bits.item())
        failed.append(received.failed.item())
        fresh = (coding.payload > 0).sum() + (received.bits.item() > 0) > waiting
        first.append(failed[-1] if fresh else np.nan)
    return np.array(bits), np.array(failed), np.array(first)


@cache
def expected(mean_snr: float) -> tuple[float, float]:
    """Expected bits per slot and failure rate of attempts, with reports independent of Rayleigh blocks of one slot.

    k copies have k independent exponential ratios, so gamma-distributed sums; blocks follow each other, so bits and
    failures of a block are over its attempts (renewal-reward). The mean is taken over the quantiles of the sums.
    """
    codes, needed = MCS_TABLES[LAW.table], CQI_TABLES[LAW.table].needed(LAW.block_bits, LAW.target_error_rate)
    parts = -np.diff(np.exp(-np.concatenate([[0.0], needed, [inf]]) / mean_snr))
    middles = (np.arange(20_000) + 0.5) / 20_000
    sums = [gamma.ppf(middles, copies) * mean_snr for copies in range(1, LAW.attempts + 1)]
    elements = BLOCKS * SYMBOLS * (1 - LAW.overhead)
    through = attempts = bits = 0.0
    for mcs, part in zip(MCS_OF_CQI[LAW.table].tolist(), parts.tolist(), strict=True):
        size = transport_block_bits(elements, codes.modulation_order[mcs], codes.code_rate[mcs]).item()
        fails = [codes.error_rate(mcs, snr, size).mean() for snr in sums]
        through += part * (1 - fails[-1])
        attempts += part * (1 + sum(fails[:-1]))
        bits += part * size * (1 - fails[-1])
    return bits / attempts, 1 - through / attempts


def drawn(what: str, mean_snr: float, count: int) -> Floats:
    return np.array([STREAMS.exponential(what, index=index) for index in range(count)]) * mean_snr


def _late_reports() -> Iterator[Finding]:
    for snr_db in (5.0, 15.0):
        snr = 10 ** (snr_db / 10)
        true, known = drawn(f"true at {snr_db}", snr, SLOTS), drawn(f"known at {snr_db}", snr, SLOTS)
        bits, failed, _ = slots(true, known)
        controls = np.column_stack([true - snr, known - snr])
        goodput, lost = expected(snr)
        law, how = f"delayed reports, HARQ, {snr_db:g} dB", "renewal-reward, by quantiles"
        yield batch_mean(law, "bits per slot", how, bits, goodput, controls)
        yield batch_mean(law, "failure rate of attempts", how, failed, lost, controls)


def _outer_loop() -> Iterator[Finding]:
    """A failure lowers the offset by 0.5 dB, a success raises it by 0.5 / 9 dB; it stays within some 10 dB."""
    for wrong_db in (3.0, -3.0):
        _, _, first = slots(np.full(5000, 5.0), np.full(5000, 5.0 * 10 ** (wrong_db / 10)), outer_loop_db=0.5)
        first = first[~np.isnan(first)]
        law, figure = f"outer loop, reports {wrong_db:+g} dB off", "failure rate of first attempts"
        yield Finding(law, figure, "target of 0.1", float(first.mean()), 0.1, 10 / 0.5 / len(first))


NEAR, FAR = ((299_792_458.0 / (4 * pi * metres * 1e9)) ** 2 for metres in (100.0, 300.0))
"""Power gains by Friis at 1 GHz."""
NOISE_W = 10 ** (-174 / 10) / 1000 * 1e6
"""Thermal noise in W in the band of 1 MHz."""


def bps(interference_w: float) -> float:
    """Shannon rate in bit/s of 20 dBm over 100 m."""
    return 1e6 * log2(1 + 0.1 * NEAR / (NOISE_W + interference_w))


def two_cells(users: int = 2) -> NetworkDescription:
    """Stations 400 m apart in free space, without fading; users on the line between them, 100 m from their own."""
    band = BandDescription(1.0)
    return NetworkDescription(
        StationsDescription(Stations(((0.0, 0.0), (400.0, 0.0))), 5.0, noise_figure_db=0.0),
        UsersDescription(users, Explicit(((100.0, 0.0), (300.0, 0.0))[:users]), 5.0, ConstantPerUser(20.0)),
        ChannelDescription(1.0, FreeSpace(), fading=NoFading()),
        SharingDescription(band, band),
        Interference(),
    )


def world(described: NetworkDescription, seed: int = 1) -> tuple[simpy.Environment, Network, Trace]:
    env, trace = simpy.Environment(), Trace(None)
    return (
        env,
        Network(env, Streams(seed), Journal(env, trace), described, ComputeDescription(), EnergyDescription()),
        trace,
    )


@cache
def disturbed(duty: float, seed: int = 1, seconds: float = 20.0) -> float:
    """Mean rate in bit/s of a user whose neighbour in the next cell sends in bursts, for a fraction `duty` of time."""
    env, network, _ = world(two_cells(), seed)
    first, second = network.users
    burst_s = 0.05  # the neighbour is always disturbed, as the first user always sends

    def neighbour() -> Process[None]:
        index = 0
        while True:
            if index or STREAMS.uniform("burst first", index=seed) >= duty:
                yield env.timeout(STREAMS.exponential("pause", seed, index=index) * burst_s * (1 - duty) / duty)
            size = STREAMS.exponential("burst", seed, index=index) * burst_s * bps(0.1 * FAR)
            yield from second.send(network.server, size, "x")
            index += 1

    if duty > 0:
        env.process(neighbour())
    bits = seconds * bps(0.1 * FAR)
    env.run(env.process(first.send(network.server, bits, "x")))
    return bits / env.now


def _neighbour() -> Iterator[Finding]:
    clean, noisy = bps(0.0), bps(0.1 * FAR)
    hand = "Friis and Shannon by hand"
    yield Finding("silent neighbour", "Mbit/s", hand, disturbed(0.0) / 1e6, clean / 1e6, 1e-9)
    for duty in (0.3, 0.7):
        rates = [disturbed(duty, seed) / 1e6 for seed in range(60)]
        mix = (duty * noisy + (1 - duty) * clean) / 1e6
        yield mean(f"neighbour that sends {duty:.0%} of the time", "Mbit/s", hand, rates, mix)


def _handovers() -> Iterator[Finding]:
    """Handover at the first update at which the neighbour is better by the hysteresis, plus time to trigger."""
    for speed_kmh, hysteresis_db in ((30.0, 3.0), (120.0, 3.0), (120.0, 0.0), (120.0, 6.0)):
        law = Handover(hysteresis_db, time_to_trigger_s=0.32, interruption_s=0.05)
        moving = MobilityDescription(Straight(1e6, speed_kmh, 0.0), interval_s=0.1)
        env, network, trace = world(replace(two_cells(1), interference=None, mobility=moving, handover=law))
        env.run(env.process(network.users[0].send(network.server, 300 / (speed_kmh / 3.6) * bps(0.0), "x")))
        (row,) = trace.frame("handovers").to_pylist()
        ratio = 10 ** (hysteresis_db / 20)
        better_s = (400.0 * ratio / (1 + ratio) - 100.0) / (speed_kmh / 3.6)
        looks = ceil(better_s / 0.1 + 1e-9) * 0.1
        triggered = ceil((looks + 0.32) / 0.1 - 1e-9) * 0.1
        name = f"handover at {speed_kmh:g} km/h, {hysteresis_db:g} dB"
        yield Finding(name, "instant, s", "geometry by hand, updates every 0.1 s", row["time_s"], triggered, 1e-9)


def waits(discipline: Discipline, *, fixed: bool) -> pd.DataFrame:
    """Waiting times of messages of two kinds on one link: one message per second on average, of mean duration 0.7 s."""
    env, trace = simpy.Environment(), Trace(None, ("transfers",))
    line = Backhaul(env, Journal(env, trace), "core", BackhaulDescription(1e6, 0.25, discipline))
    label = f"{discipline} {fixed}"

    def arrivals() -> Process[None]:
        for index in range(MESSAGES):
            yield env.timeout(STREAMS.exponential(f"arrival {label}", index=index))
            size = 1.0 if fixed else STREAMS.exponential(f"size {label}", index=index)
            kind = "urgent" if STREAMS.uniform(f"kind {label}", index=index) < 0.4 else "rest"
            env.process(line.transfer(0.7e6 * size, kind, [0]))

    env.run(env.process(arrivals()))
    env.run()
    rows = trace.frame("transfers").to_pandas().sort_values("start_s", ignore_index=True)
    return rows.assign(since_s=rows["start_s"].diff())[MESSAGES // 10 :]


def _lines() -> Iterator[Finding]:
    first_in = (("M/M/1", False, 0.7 * 0.7 / 0.3), ("M/D/1", True, 0.7 * 0.7 / 0.6))
    cases = [(f"backhaul, {name}, load 0.7", Fifo(), fixed, None, wait_s) for name, fixed, wait_s in first_in]
    residual = 0.7 * 0.7
    urgent = residual / (1 - 0.4 * 0.7)
    ranks = Priority(("urgent",))
    cases += [
        ("backhaul, urgent first: urgent", ranks, False, "urgent", urgent),
        ("backhaul, urgent first: other", ranks, False, "rest", urgent / 0.3),
    ]
    for law, discipline, fixed, kind, wait_s in cases:
        rows = waits(discipline, fixed=fixed)
        here = (rows["kind"] == kind) | (kind is None)
        controls = np.column_stack([rows["bits"] / 0.7e6 - 1, rows["since_s"] - 1])[here]
        theory = "Cobham" if kind else "Pollaczek-Khinchine"
        yield batch_mean(law, "mean wait, s", theory, rows["wait_s"][here], wait_s, controls)


def plot() -> Figure:
    """Plot the goodput with independent reports, and the rate beside a neighbour that sends for a fraction of time."""
    figure = Figure(figsize=(7, 2.8), layout="constrained")
    reports, neighbours = figure.subplots(1, 2)
    snrs_db = np.arange(-5.0, 26.0, 5.0)
    for late, colour in ((True, "C0"), (False, "C1")):
        measured = []
        for snr_db in snrs_db.tolist():
            true = drawn(f"plot {snr_db}", 10 ** (snr_db / 10), 3000)
            known = drawn(f"plot late {snr_db}", 10 ** (snr_db / 10), 3000) if late else true
            measured.append(slots(true, known)[0].mean() / 1e3)
        reports.plot(snrs_db, measured, "o", ms=3, c=colour, label="late reports" if late else "reports of the slot")
    theory = [expected(10 ** (snr_db / 10))[0] / 1e3 for snr_db in snrs_db.tolist()]
    reports.plot(snrs_db, theory, "k-", lw=1, label="late, by quantiles")
    reports.set(xlabel="mean SNR (dB)", ylabel="goodput of 2 MHz (Mbit/s)", title="Rayleigh, a block each slot")
    reports.legend(fontsize=7)
    duties = np.linspace(0, 0.9, 10)
    rates = [np.array([disturbed(duty, seed) / 1e6 for seed in range(10)]) for duty in duties.tolist()]
    spread = [3.29 * each.std(ddof=1) / sqrt(len(each)) for each in rates]
    neighbours.errorbar(duties, [each.mean() for each in rates], spread, fmt="o", ms=3)
    neighbours.plot([0, 1], [bps(0.0) / 1e6, bps(0.1 * FAR) / 1e6], "k-", lw=1, label="by hand")
    neighbours.set(xlabel="part of the time that the neighbour sends", ylabel="rate (Mbit/s)")
    neighbours.legend(fontsize=7)
    return figure
