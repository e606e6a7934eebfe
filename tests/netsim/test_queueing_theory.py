"""Mean waits, losses and times of stay beside queueing theory: the comparisons of docs/validation.md in small."""

from dataclasses import replace

import numpy as np
import pytest
from worlds import Process, flat_compute, world

from benchmarks.validation.queues import Case, cases, erlang_b, erlang_c
from netsim.description import DevicesDescription, StragglersDescription
from netsim.slowdown import ShiftedExponential
from netsim.values import ConstantPerUser
from stats import assert_mean

QUICK = [case for case in cases() if "lognormal, load 0.7" not in case.law]  # heavy tails need more requests than this


@pytest.mark.parametrize("case", QUICK, ids=lambda case: f"{case.law}, {case.figure}")
def test_beside_theory(case: Case) -> None:
    finding = case.finding(6000)
    assert finding.agrees, f"{finding.ours:g}, not {finding.expected:g} +- {finding.interval:g}"
    assert finding.interval < 0.35 * finding.expected


@pytest.mark.slow
@pytest.mark.parametrize("law", ["M/M/1, load 0.3", "M/M/1, load 0.7", "M/D/1, load 0.3", "M/D/1, load 0.7"])
def test_mean_waits_of_many_requests(law: str) -> None:
    (case,) = (case for case in cases() if (case.law, case.figure) == (law, "mean wait, s"))
    finding = case.finding(200_000)
    assert finding.agrees, f"{finding.ours:g}, not {finding.expected:g} +- {finding.interval:g}"
    assert finding.ours == pytest.approx(finding.expected, rel=0.05)


def test_erlang_by_hand() -> None:
    assert erlang_b(2, 1.0) == pytest.approx(0.2)  # 1/2 over 1 + 1 + 1/2
    assert erlang_c(1, 0.7) == pytest.approx(0.7)  # one server: busy is waiting
    assert erlang_c(2, 1.0) == pytest.approx(1 / 3)


@pytest.mark.parametrize(("jobs", "shift"), [(2, 0.0), (4, 1.5)])
def test_the_last_of_several_jobs(jobs: int, shift: float) -> None:
    """Jobs of `shift` and an exponential time of mean 1 each: the last ends after shift + 1 + 1/2 + ... + 1/K."""
    compute = replace(
        flat_compute(),
        devices=DevicesDescription(ConstantPerUser(1.0)),
        stragglers=StragglersDescription(ShiftedExponential(shift), redraw="job"),
    )
    w, ends_s = world(compute=compute, users=jobs), []

    def rounds() -> Process:
        for _ in range(5000):
            begun_s = w.env.now
            yield w.env.all_of([w.env.process(user.compute(1.0, "expert_forward")) for user in w.network.users])
            ends_s.append(w.env.now - begun_s)

    w.run(rounds())
    expected_s = shift + sum(1 / k for k in range(1, jobs + 1))
    assert_mean(ends_s, expected_s)
    assert np.mean(ends_s) == pytest.approx(expected_s, rel=0.02)
