"""A scenario that has an old name is told the new one."""

import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, get_args

import pytest

from scenarios import ScenarioError, load
from scenarios.hints import hints, unwrap
from scenarios.renamed import FIELDS, VALUES, new_name
from scenarios.schema import Scenario, parts

CHANGELOG = Path(__file__).parents[2] / "CHANGELOG.md"
OLD = {
    "network.sharing.uplink.law": ("equal", "scheduler"),
    "network.mobility.law": ("straight", "model"),
    "compute.stragglers.law": ("none", "slowdown"),
    "compute.devices.when_full": ("refuse", "on_out_of_memory"),
    "learning.scheme.weights": ("data", "weighting"),
}
SCHEMES: dict[str, dict[str, Any]] = {
    "st_sflora": {"most_energy_j": "control.max_energy_j", "standing": "control.dwell_time"},
    "hsplitlora": {"ranks": "control.ranks"},
    "hetlora": {"budget": "control.budget"},
}


def described() -> set[type]:
    """All parts that a scenario can name, and all sections."""
    known: set[type] = set()
    ahead: list[Any] = [Scenario, *(part for family in parts().families.values() for part in family.values())]
    while ahead:
        part = ahead.pop()
        if is_dataclass(part) and isinstance(part, type) and part not in known:
            known.add(part)
            ahead += [inner for field in fields(part) for inner in _inside(hints(part)[field.name])]
    return known


def _inside(hint: Any) -> Iterator[Any]:
    yield unwrap(hint)[0]
    for inner in get_args(unwrap(hint)[0]):
        yield from _inside(inner)


@pytest.mark.parametrize("path", OLD)
def test_an_old_field_is_told_its_new_name(small: Path, path: str) -> None:
    value, new = OLD[path]
    with pytest.raises(ScenarioError, match=f"the field {path.rpartition('.')[2]} was renamed to {new}$"):
        load(small, {path: value})


@pytest.mark.parametrize(("scheme", "old"), [(scheme, old) for scheme, names in SCHEMES.items() for old in names])
def test_a_field_that_moved_into_a_section_is_told_with_its_path(small: Path, scheme: str, old: str) -> None:
    with pytest.raises(ScenarioError, match=f"the field {old} was renamed to {re.escape(SCHEMES[scheme][old])}$"):
        load(small, {"learning.scheme.name": scheme, f"learning.scheme.{old}": 1})


def test_an_old_value_is_told_its_new_name(small: Path) -> None:
    with pytest.raises(ScenarioError, match=r"the value refuse of on_out_of_memory was renamed to reject$"):
        load(small, {"compute.devices.on_out_of_memory": "refuse"})


def test_what_was_never_a_name_is_still_unknown(small: Path) -> None:
    with pytest.raises(ScenarioError, match='unknown field "weights"'):
        load(small, {"learning.scheme.name": "sl", "learning.scheme.weights": "data"})


def test_every_new_name_is_a_field_that_some_part_has_and_the_old_one_is_not() -> None:
    found = {
        (old, new) for part in described() for old in FIELDS if (new := new_name(part, old)) and old not in hints(part)
    }
    assert found == {(old, new) for old, news in FIELDS.items() for new in news}


def test_every_new_value_is_allowed_and_the_old_one_is_not() -> None:
    for (field, old), new in VALUES.items():
        allowed = [choice for part in described() if field in hints(part) for choice in _inside(hints(part)[field])]
        assert new in allowed
        assert old not in allowed


def test_the_changelog_has_the_same_table() -> None:
    section = CHANGELOG.read_text().partition("### Renamed")[2].partition("###")[0]
    rows = re.findall(r"^\| .* \| `([^`]+)` \| `([^`]+)` \|$", section, re.MULTILINE)
    assert {row for row in rows if ":" not in row[0]} == {(old, new) for old, news in FIELDS.items() for new in news}
    values = [(old.split(": ")[1], *new.split(": ")) for old, new in rows if ":" in old]
    assert {(field, old): new for old, field, new in values} == VALUES
