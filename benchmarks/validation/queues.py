"""Queues compared with queueing theory: requests in a simulation in which only the server takes time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from math import exp, factorial
from zlib import crc32

import numpy as np
import pandas as pd
import simpy
from matplotlib.figure import Figure

from benchmarks.validation.findings import Finding, batch_mean
from netsim.description import (
    ComputeDescription,
    EnergyDescription,
    NetworkDescription,
    RequestStream,
    ServersDescription,
    TrafficDescription,
    UsersDescription,
)
from netsim.journal import Journal
from netsim.network import Network
from netsim.queueing import Discipline, Fifo, Priority, ProcessorSharing
from netsim.streams import Streams
from netsim.trace import Trace
from netsim.traffic import PoissonArrivals, SizeLaw
from netsim.traffic.requests import Traffic
from netsim.traffic.sizes import ConstantSize, ExponentialSize, LognormalSize, UniformSize
from netsim.values import ConstantPerUser

MANY = 100_000
"""Number of requests of each figure."""
WARM_UP = 0.1
"""Fraction of the requests that is discarded as warm-up, because the queue starts empty."""

EXPONENTIAL, FIXED, UNIFORM, HEAVY = ExponentialSize(1.0), ConstantSize(1.0), UniformSize(0, 2), LognormalSize(1.0, 0.8)
SECOND_MOMENT = {EXPONENTIAL: 2.0, FIXED: 1.0, UNIFORM: 4 / 3, HEAVY: exp(0.64)}
"""Second moments of the service times, all with mean one."""

Measure = Callable[[pd.DataFrame], "pd.Series[float]"]
"""One number per request, or NaN, from rows with wait_s (time in the queue) and since_s (interarrival time)."""


@dataclass(frozen=True)
class Case:
    """A queue and the prediction of theory."""

    law: str
    figure: str
    compared_with: str
    expected: float
    measure: Measure
    rates: dict[str, float] = field(default_factory=dict)
    """Requests per second by stream."""
    size: SizeLaw = EXPONENTIAL
    """FLOPs of a request, equal to seconds at 1 FLOP/s."""
    discipline: Discipline = field(default_factory=Fifo)
    slots: int = 1
    capacity: int | None = None

    def finding(self, requests: int) -> Finding:
        """Compare the mean over about `requests` requests; service and interarrival times are the controls."""
        rows = served(self, requests)
        rows = rows[int(WARM_UP * len(rows)) :]
        controls = np.column_stack([rows["flops"] - 1, rows["since_s"] - 1 / sum(self.rates.values())])
        values = self.measure(rows)
        there = values.notna()
        return batch_mean(self.law, self.figure, self.compared_with, values[there], self.expected, controls[there])


def served(case: Case, requests: int) -> pd.DataFrame:
    """Rows of the table `requests` in order of arrival, as a Measure expects them; each case has its own draws."""
    env = simpy.Environment()
    trace = Trace(None, ("requests", "computations"))
    servers = ServersDescription(1.0, case.slots, case.discipline, case.capacity)
    one = NetworkDescription(users=UsersDescription(count=1))
    streams = {
        name: RequestStream(PoissonArrivals(ConstantPerUser(rate)), flops=case.size)
        for name, rate in case.rates.items()
    }
    network = Network(
        env,
        Streams(crc32(f"{case.law}, {case.figure}".encode())),
        Journal(env, trace),
        one,
        ComputeDescription(servers=servers),
        EnergyDescription(),
    )
    duration_s = requests / sum(case.rates.values())
    env.run(env.process(Traffic(network, TrafficDescription(streams, duration_s)).run(None)))
    rows = trace.frame("requests").to_pandas().sort_values("arrival_s", ignore_index=True)
    jobs = trace.frame("computations").to_pandas().set_index("start_s")["wait_s"]
    waits = rows["arrival_s"].map(jobs)  # no two arrive at one instant
    return rows.assign(wait_s=waits, since_s=rows["arrival_s"].diff())


def wait(rows: pd.DataFrame) -> pd.Series[float]:
    return rows["wait_s"]


def sojourn(rows: pd.DataFrame) -> pd.Series[float]:
    return rows["latency_s"]


def refused(rows: pd.DataFrame) -> pd.Series[float]:
    return (rows["outcome"] == "refused").astype(float)


def wait_of(stream: str) -> Measure:
    return lambda rows: rows["wait_s"].where(rows["stream"] == stream)


def longer_than(limit_s: float) -> Measure:
    return lambda rows: (rows["latency_s"] > limit_s).astype(float)


def pollaczek_khinchine(rate: float, size: SizeLaw) -> float:
    """Mean waiting time of M/G/1 with mean service time one."""
    return rate * SECOND_MOMENT[size] / (2 * (1 - rate))


def erlang_b(servers: int, load: float) -> float:
    """Blocking probability of M/G/c/c, for any distribution of service times."""
    terms = [load**k / factorial(k) for k in range(servers + 1)]
    return terms[-1] / sum(terms)


def erlang_c(servers: int, load: float) -> float:
    """Probability of waiting in M/M/c."""
    blocked = erlang_b(servers, load)
    return blocked / (1 - load / servers * (1 - blocked))


def cobham(rates: list[float], size: SizeLaw, standing: int) -> float:
    """Mean waiting time of a class (0 is the highest) under non-preemptive priorities, mean service time one."""
    residual = sum(rates) * SECOND_MOMENT[size] / 2
    return residual / ((1 - sum(rates[:standing])) * (1 - sum(rates[: standing + 1])))


@cache
def cases() -> list[Case]:
    """All compared queues, with mean service time one."""
    busy, sharing = {"x": 0.7}, ProcessorSharing()
    classes = {"first": 0.2, "second": 0.3, "third": 0.2}
    ranks = Priority(("request_first", "request_second"))
    found = [
        Case("M/M/1, load 0.7", "mean wait, s", "rho / (1 - rho)", 0.7 / 0.3, wait, busy),
        Case("M/M/1, load 0.7", "longer than 5 s", "exp(-(1 - rho) t)", exp(-1.5), longer_than(5.0), busy),
        Case("M/M/1, load 0.3", "mean wait, s", "rho / (1 - rho)", 0.3 / 0.7, wait, {"x": 0.3}),
    ]
    light = pollaczek_khinchine(0.3, FIXED)
    found.append(Case("M/D/1, load 0.3", "mean wait, s", "Pollaczek-Khinchine", light, wait, {"x": 0.3}, FIXED))
    found += [
        Case(law, "mean wait, s", "Pollaczek-Khinchine", pollaczek_khinchine(0.7, size), wait, busy, size)
        for law, size in (
            ("M/D/1, load 0.7", FIXED),
            ("M/G/1 uniform, load 0.7", UNIFORM),
            ("M/G/1 lognormal, load 0.7", HEAVY),
        )
    ]
    found += [
        Case("M/M/4, load 0.8", "mean wait, s", "Erlang C", erlang_c(4, 3.2) / 0.8, wait, {"x": 3.2}, slots=4),
        Case("M/M/1/5, load 0.9", "refused", "(1 - rho) rho^5 / (1 - rho^6)", 0.1 * 0.9**5 / (1 - 0.9**6),
             refused, {"x": 0.9}, capacity=5),
        Case("M/G/4/4 lognormal, load 0.75", "refused", "Erlang B", erlang_b(4, 3.0),
             refused, {"x": 3.0}, HEAVY, slots=4, capacity=4),
    ]  # fmt: skip
    found += [
        Case(
            f"M/{name}/1 sharing, load 0.7",
            "mean time there, s",
            "1 / (1 - rho)",
            1 / 0.3,
            sojourn,
            busy,
            size,
            sharing,
        )
        for name, size in (("M", EXPONENTIAL), ("D", FIXED), ("G", HEAVY))
    ]
    found += [
        Case(f"three priorities, {name}", "mean wait, s", "Cobham", cobham([0.2, 0.3, 0.2], UNIFORM, standing),
             wait_of(name), classes, UNIFORM, ranks)
        for standing, name in enumerate(classes)
    ]  # fmt: skip
    return found


def findings() -> list[Finding]:
    return [case.finding(MANY) for case in cases()]


def plot() -> Figure:
    """Plot mean waiting times over load, and mean sojourn times by service requirement under processor sharing."""
    figure = Figure(figsize=(7, 2.8), layout="constrained")
    waits, stays = figure.subplots(1, 2)
    loads = np.linspace(0.1, 0.8, 8)
    for name, size in (("exponential", EXPONENTIAL), ("lognormal", HEAVY), ("fixed", FIXED)):
        of_load = [Case("", "", "", 0.0, wait, {"x": load}, size).finding(8000) for load in loads.tolist()]
        points = waits.errorbar(
            loads, [each.ours for each in of_load], [each.interval for each in of_load], fmt="o", ms=3, label=name
        )
        waits.plot(loads, [pollaczek_khinchine(load, size) for load in loads], c=points[0].get_color())
    waits.set(xlabel="load", ylabel="mean wait (mean services)", title="first come, first served")
    waits.legend(fontsize=7)
    for name, discipline in (("sharing", ProcessorSharing()), ("first come, first served", Fifo())):
        rows = served(Case("", "", "", 0.0, sojourn, {"x": 0.7}, EXPONENTIAL, discipline), 30_000)
        bins = rows.groupby(pd.cut(rows["flops"], np.linspace(0, 4, 17)), observed=True)[["flops", "latency_s"]].mean()
        stays.plot(bins["flops"], bins["latency_s"], "o", ms=3, label=name)
    sizes = np.array([0.0, 4.0])
    stays.plot(sizes, sizes / 0.3, "k-", lw=1, label="size / (1 - load)")
    stays.plot(sizes, sizes + 0.7 / 0.3, "k--", lw=1, label="size + mean wait")
    stays.set(xlabel="service that a request needs (means)", ylabel="mean time there", title="load 0.7")
    stays.legend(fontsize=7)
    return figure
