"""Valid scenarios with one to three values replaced by anything: each runs to an end, or is refused in one sentence."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import numpy as np
import yaml
from tries import draws, tries

from runs import TINY, TRAINED, adjusted, policy
from scenarios import ScenarioError, load, simulate
from scenarios.schema import resolved
from test_mutated_scenarios import MAX_ERRORS, NAMES

POLICIES = ("wait_for_all", "deadline", "first_k", "over_selection")
LIMIT_S = 240
"""A run of a tiny cell that takes longer, on the slowest machine under load, would not end."""
SPECIAL: list[Any] = [
    0,
    -1,
    5e-324,
    1.7e308,
    -1.7e308,
    float("nan"),
    float("inf"),
    None,
    True,
    "",
    [],
    {},
    2**31,
    2**63,
]


@cache
def plain(scheme: str, by: str) -> str:
    """A tiny cell with every default written out, so that any field can be hit."""
    more = {path.replace("__", "."): value for path, value in policy(by, scheme).items()}
    short = {"learning.executor": "dry", "learning.stop.rounds": 2, "learning.scheme": scheme}
    return resolved(load(TINY, adjusted({**short, **more})))


def places(content: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str]]:
    """Every field at any depth, as the section that has it and its name."""
    for name, value in content.items():
        yield content, name
        if isinstance(value, dict):
            yield from places(value)


def anything(rng: np.random.Generator) -> Any:
    match rng.integers(6):
        case 0 | 1:
            return float(rng.choice([-1, 1, 1])) * float(10.0 ** rng.uniform(-308, 308))
        case 2:
            return SPECIAL[rng.integers(len(SPECIAL))]
        case 3:
            return int(rng.integers(-3, 40))
        case 4:
            return float(10.0 ** rng.uniform(-3, 3))
    return NAMES[rng.integers(len(NAMES))]


@contextmanager
def within_limit() -> Iterator[None]:
    def late(number: int, frame: FrameType | None) -> NoReturn:
        raise AssertionError(f"it has not ended within {LIMIT_S} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(LIMIT_S)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@tries(1000)
def test_storm_of_mutations(number: int, tmp_path: Path) -> None:
    rng = draws("mutations", number)
    content = yaml.safe_load(plain(str(rng.choice(TRAINED)), str(rng.choice(POLICIES))))
    for _ in range(rng.integers(1, 4)):
        fields = list(places(content))
        section, name = fields[rng.integers(len(fields))]
        section[name] = anything(rng)
    file = tmp_path / "mutated.yaml"
    file.write_text(yaml.safe_dump(content))
    refusal = ""
    with within_limit():
        try:
            assert simulate(load(file)).status in ("complete", "stalled", "diverged")
        except ScenarioError as refused:
            refusal = str(refused)
    assert len(refusal.splitlines()) <= MAX_ERRORS + 1
