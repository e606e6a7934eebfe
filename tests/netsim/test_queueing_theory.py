"""Mean waits, losses and times of stay beside queueing theory: the comparisons of docs/validation.md in small."""

import pytest

from benchmarks.validation.queues import Case, cases, erlang_b, erlang_c

QUICK = [case for case in cases() if "lognormal, load 0.7" not in case.law]  # heavy tails need more requests than this


@pytest.mark.parametrize("case", QUICK, ids=lambda case: f"{case.law}, {case.figure}")
def test_beside_theory(case: Case) -> None:
    finding = case.finding(6000)
    assert finding.agrees, f"{finding.ours:g}, not {finding.expected:g} +- {finding.interval:g}"
    assert finding.interval < 0.35 * finding.expected


def test_erlang_by_hand() -> None:
    assert erlang_b(2, 1.0) == pytest.approx(0.2)  # 1/2 over 1 + 1 + 1/2
    assert erlang_c(1, 0.7) == pytest.approx(0.7)  # one server: busy is waiting
    assert erlang_c(2, 1.0) == pytest.approx(1 / 3)
