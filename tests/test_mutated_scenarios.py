"""Any mutation of a valid scenario either runs or is refused in one sentence; it never fails on the way."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runs import TINY
from scenarios import ScenarioError, load, simulate
from scenarios.errors import MAX_ERRORS
from scenarios.schema import resolved

DRY = {"learning.executor": "dry", "learning.stop.rounds": 2, "learning.scheme": {"name": "sfl_v1", "local_steps": 1}}
NAMES = [
    "fedavg",
    "sl",
    "psl",
    "fedsl_pq",
    "rician",
    "uma",
    "free_space",
    "fixed",
    "deadline",
    "pareto",
    "shards",
    "vit",
]
EXTREMES = st.floats(-308, 308).map(lambda exponent: 10.0**exponent) | st.sampled_from(
    [5e-324, 1.7e308, -1.7e308, *(2**power for power in (16, 31, 32, 62, 63, 64, 1000))]
)
"""Magnitudes over the whole range of floating point, subnormal numbers, and powers of two."""
VALUES = st.one_of(
    EXTREMES,
    st.none(),
    st.booleans(),
    st.integers(-3, 40),
    st.floats(0.01, 1000) | st.sampled_from([0.0, -1.0, float("nan"), float("inf")]),
    st.sampled_from(NAMES),
    st.lists(st.integers(0, 9), max_size=4),
)


@pytest.fixture(scope="module")
def plain() -> str:
    """The tiny scenario with every default written out, so that any field can be hit."""
    return resolved(load(TINY, DRY))


@given(st.data())
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_mutated_scenario_runs_or_is_refused(plain: str, tmp_path: Path, data: st.DataObject) -> None:
    content = yaml.safe_load(plain)
    for _ in range(data.draw(st.integers(1, 2))):
        section: Any = content
        while inner := [value for value in section.values() if isinstance(value, dict) and value]:
            if section is not content and data.draw(st.booleans()):
                break
            section = data.draw(st.sampled_from(inner))
        section[data.draw(st.sampled_from(sorted(section)))] = data.draw(VALUES)
    file = tmp_path / "mutated.yaml"
    file.write_text(yaml.safe_dump(content))
    refusal = run_or_refuse(file)
    assert refusal is None or 1 <= len(refusal.splitlines()) <= MAX_ERRORS + 1


def run_or_refuse(file: Path) -> str | None:
    """Nothing if the scenario runs to its end, else the sentence that refuses it; anything else is a fault."""
    try:
        result = simulate(load(file, {"learning.executor": "dry"}))
    except ScenarioError as refusal:
        return str(refusal)
    assert result.status == "complete"
    return None
