"""Slowdowns and energy compared with closed forms: distributions, order statistics, bursts, energy integrals."""

from __future__ import annotations

from math import exp, gamma

import numpy as np
import simpy
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.stats import expon, lognorm, pareto, weibull_min

from benchmarks.validation.findings import Finding, distance, mean, proportion
from netsim.energy import Cycles, JoulesPerFlop, Meter
from netsim.slowdown import Bursts, Lognormal, Pareto, ShiftedExponential, SlowdownLaw, Slowdowns, Weibull
from netsim.slowdown.bursts import Load
from netsim.streams import Streams

STREAMS = Streams(43)
ROUNDS = 4000
BURSTS = Bursts(mean_idle_s=3.0, mean_burst_s=1.0, burst_slowdown=4.0)


def findings() -> list[Finding]:
    return [*_distributions(), *_slowest(), *_bursts(), *_energy()]


def draws(law: SlowdownLaw, users: int = 1) -> NDArray[np.float64]:
    """Slowdowns in `ROUNDS` rounds: (rounds, users)."""
    slowdowns = Slowdowns(law, "round", STREAMS)
    return np.array([[slowdowns.draw(user, k)(0.0, 1.0) for user in range(users)] for k in range(ROUNDS)])


def _distributions() -> list[Finding]:
    laws = (
        ("shifted exponential", ShiftedExponential(1.0, 2.0), expon(1.0, 0.5)),
        ("lognormal", Lognormal(0.5), lognorm(0.5)),
        ("Pareto, alpha = 1.5", Pareto(1.5), pareto(1.5)),
        ("Weibull, shape 0.7", Weibull(1.0, 1.0, 0.7), weibull_min(0.7, 1.0, 1.0)),
    )
    return [distance(name, "its distribution function", draws(law)[:, 0], exact.cdf) for name, law, exact in laws]


def _slowest() -> list[Finding]:
    """Slowest of ten users; Pareto with alpha <= 2 has no finite variance, so its quantile is compared."""
    harmonic = sum(1 / k for k in range(1, 11))
    slowest = {law: draws(law, 10).max(axis=1) for law in (ShiftedExponential(1.0, 2.0), Weibull(0.0, 1.0, 0.7))}
    (exponential, weibull) = slowest.values()
    # E max of n Weibulls: sum over k of (-1)^(k+1) C(n, k) k^(-1/shape) times Gamma(1 + 1/shape)
    binomials = [1.0]
    for k in range(1, 11):
        binomials.append(binomials[-1] * (11 - k) / k)
    largest = gamma(1 + 1 / 0.7) * sum((-1) ** (k + 1) * binomials[k] * k ** (-1 / 0.7) for k in range(1, 11))
    limit = (1 - 0.5**0.1) ** (-1 / 1.5)
    tail = draws(Pareto(1.5), 10).max(axis=1) > limit
    return [
        mean("shifted exponential", "mean slowest of 10", "shift + H_10 / rate", exponential, 1 + harmonic / 2),
        mean("Weibull, shape 0.7", "mean slowest of 10", "inclusion and exclusion", weibull, largest),
        proportion("Pareto, alpha = 1.5", "slowest of 10 above its median", "1/2", tail, 0.5),
    ]


def _bursts() -> list[Finding]:
    loads = [Load(BURSTS, STREAMS.key("load", user)) for user in range(ROUNDS)]
    found = [proportion("bursts", "busy at 1e6 s", "1 / (3 + 1)", [each.busy(1e6) for each in loads], 0.25)]
    both = [each.busy(50.0) and each.busy(51.0) for each in loads]
    found.append(proportion("bursts", "busy now and 1 s later", "p (p + (1 - p) exp(-rate))", both,
                            0.25 * (0.25 + 0.75 * exp(-4 / 3))))  # fmt: skip
    for work_s in (0.1, 1.0, 10.0):
        durations = [each.duration_s(100.0, work_s) for each in loads]
        expected = mean_duration_s(work_s)
        found.append(
            mean("bursts", f"mean time of {work_s:g} s of work, s", "Markov chain by work", durations, expected)
        )
    return found


def mean_duration_s(work_s: float) -> float:
    """Mean duration in s of a job of `work_s`: per unit of work, idle periods end at rate 1/3 and bursts at rate 4."""
    a, b, p = 1 / 3.0, 4.0, 0.25
    q = a / (a + b)
    return work_s + 3 * (q * work_s + (p - q) * (1 - exp(-(a + b) * work_s)) / (a + b))


def _energy() -> list[Finding]:
    """Compare a meter under random overlapping activities with plain sums, and kappa f^2 with its formula."""
    env = simpy.Environment()
    meter, rng = Meter(env, 0.03), np.random.default_rng(5)
    starts, lengths, powers = rng.uniform(0, 90, 200), rng.exponential(2.0, 200), rng.uniform(0.1, 2.0, 200)

    def act(start_s: float, length_s: float, power_w: float):  # type: ignore[no-untyped-def]  # a simpy process
        yield env.timeout(start_s)
        meter.begin("compute", power_w)
        yield env.timeout(length_s)
        meter.end("compute", power_w)

    for each in zip(starts.tolist(), lengths.tolist(), powers.tolist(), strict=True):
        env.process(act(*each))
    env.run(150.0)
    spent = meter.take()
    covered_s, reached_s = 0.0, 0.0
    for start_s, end_s in sorted(zip(starts, starts + lengths, strict=True)):
        covered_s += max(0.0, end_s - max(start_s, reached_s))
        reached_s = max(reached_s, end_s)
    return [
        Finding(
            "energy meter", "compute, J", "sum of power times length", spent.compute_j, float(lengths @ powers), 1e-9
        ),
        Finding("energy meter", "idle, J", "union of intervals", spent.idle_j, 0.03 * (150 - covered_s), 1e-9),
        Finding(
            "joules per FLOP", "J of 1e9 FLOPs at 1e-10", "product", JoulesPerFlop(1e-10).energy_j(1e9, 1.0), 0.1, 1e-12
        ),
        Finding("cycles", "J of 8 GFLOP at 2 GHz", "kappa f^2 cycles", Cycles().energy_j(8e9, 8e9), 0.8, 1e-12),
    ]


def plot() -> Figure:
    """Plot the tails of slowdown distributions, and the mean slowdown under bursts."""
    figure = Figure(figsize=(7, 2.8), layout="constrained")
    tails, times = figure.subplots(1, 2)
    above = 1 - (np.arange(ROUNDS) + 0.5) / ROUNDS
    for name, law, exact in (
        ("lognormal", Lognormal(0.5), lognorm(0.5)),
        ("Pareto 1.5", Pareto(1.5), pareto(1.5)),
        ("Weibull 0.7", Weibull(1.0, 1.0, 0.7), weibull_min(0.7, 1.0, 1.0)),
    ):
        (line,) = tails.loglog(np.sort(draws(law)[:, 0]), above, lw=2, alpha=0.5)
        tails.loglog(exact.isf(above), above, "--", c=line.get_color(), label=name)
    tails.set(xlabel="slowdown, dashed: exact", ylabel="probability of more")
    tails.legend(fontsize=7)
    works = np.geomspace(0.05, 20, 12)
    loads = [Load(BURSTS, STREAMS.key("plot", user)) for user in range(400)]
    means = [np.mean([each.duration_s(0.0, work_s) for each in loads]) / work_s for work_s in works.tolist()]
    times.semilogx(works, means, "o", ms=4, label="400 users")
    times.semilogx(works, [mean_duration_s(w) / w for w in works.tolist()], "k--", label="closed form")
    times.set(xlabel="work (s at nominal speed)", ylabel="mean slowdown under bursts")
    times.legend(fontsize=7)
    return figure
