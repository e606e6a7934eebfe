"""Every number of the shipped scenarios, set to what nobody means: the world is built, or refused in one sentence."""

from collections.abc import Iterator
from copy import deepcopy
from functools import cache, reduce
from pathlib import Path
from typing import Any

import pytest

from learning.data.digits import Digits
from scenarios import ScenarioError, load
from scenarios.build import build, without_values
from scenarios.document import Document
from scenarios.schema import Scenario, interpret, parts

SCENARIOS = Path(__file__).parents[1] / "scenarios"
FILES = ["quickstart.yaml", "serving.yaml", "edge_cloud.yaml", "recorded_drive.yaml", "papers/fedsl_pq.yaml"]
EXTREMES: dict[type, tuple[float, ...]] = {int: (-1, 0, 10**12), float: (-1.0, 0.0, 1e-300, 1e300)}

Where = tuple[str, ...]


def numbers(section: dict[str, Any], path: Where = (), names: Where = ()) -> Iterator[tuple[Where, Where, type]]:
    """Paths of all numbers, the names of the parts that they belong to, and their types."""
    names = (*names, str(section.get("name", ""))) if path else ()
    for field, value in section.items():
        if type(value) in EXTREMES and field != "seed":
            yield (*path, field), names, type(value)
        elif isinstance(value, dict):
            yield from numbers(value, (*path, field), names)


def plain(file: str) -> dict[str, Any]:
    """A scenario with all defaults written out."""
    content: dict[str, Any] = parts().plain(load(SCENARIOS / file, {"learning.data.name": "digits"}), Scenario)
    return content


def fields_first_met_in() -> dict[str, list[tuple[Where, type]]]:
    """The numbers of each file that no file before it has in parts of the same names."""
    seen: set[tuple[Where, Where]] = set()
    met: dict[str, list[tuple[Where, type]]] = {}
    for file in FILES:
        found = {(path, names): kind for path, names, kind in numbers(plain(file))}
        met[file] = [(path, kind) for (path, names), kind in found.items() if (path, names) not in seen]
        seen |= set(found)
    return met


@pytest.mark.parametrize("file", FILES)
def test_a_world_of_extreme_numbers_is_built_or_refused(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Digits, "load", cache(Digits.load))
    content, fields = plain(file), fields_first_met_in()[file]
    assert fields
    for path, kind in fields:
        for value in EXTREMES[kind]:
            changed = deepcopy(content)
            reduce(lambda section, step: section[step], path[:-1], changed)[path[-1]] = value
            try:
                build(without_values(interpret(Document(file, changed, {(): file}))))
            except ScenarioError as refused:
                refusal = str(refused)
            else:
                refusal = ""
            assert "\n" not in refusal, (path, value)


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        ({"compute.servers.flops_per_s": 1e-41}, "found 1e-41; 0 and magnitudes from 1e-40 to 1e+30 are allowed"),
        ({"learning.optimiser.weight_decay": 2e30}, "found 2e+30; 0 and magnitudes from 1e-40 to 1e+30 are allowed"),
        ({"seed": 10**31}, "0 and magnitudes from 1e-40 to 1e+30 are allowed"),
        ({"seed": 10**400}, "0 and magnitudes from 1e-40 to 1e+30 are allowed"),
        (
            {"compute.stragglers.slowdown": {"name": "pareto", "alpha": 0.05}},
            "a number >= 0.1 and <= 1000000.0 is allowed",
        ),
    ],
)
def test_numbers_beyond_all_quantities_are_refused_at_their_field(change: dict[str, Any], refusal: str) -> None:
    with pytest.raises(ScenarioError) as refused:
        load(SCENARIOS / "quickstart.yaml", change)
    (field,) = change
    assert field in str(refused.value)
    assert refusal in str(refused.value)


def test_the_bounds_of_magnitudes_are_allowed() -> None:
    bounds = {"compute.servers.flops_per_s": 1e30, "learning.optimiser.weight_decay": 1e-40, "learning.cut": 1}
    assert load(SCENARIOS / "quickstart.yaml", bounds).compute.servers.flops_per_s == 1e30
