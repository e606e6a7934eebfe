"""Every field of everything that a scenario can name, given what it does not take: valid, or refused in a sentence."""

from contextlib import suppress
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from types import NoneType
from typing import Any, Literal, get_args, get_origin

import pytest

from learning.stop import Stop
from scenarios.checks import default_of
from scenarios.document import Document
from scenarios.errors import ScenarioError
from scenarios.hints import hints, members, unwrap
from scenarios.schema import Scenario, parts

VALUES: tuple[Any, ...] = (
    *(None, True, "", "text", 0, 1, 3, -1, 1.5, -0.0, 5e-324, 1e308, -1e308, 10**400, -(10**20)),
    *(float("inf"), float("nan"), [], [0], [-1, "x"], [[]], [[0, None]], [{}], [{"a": 1}], [[{}]]),
    *({}, {"a": 1}, {"name": 3}, {"name": "text"}, {"a": {}}, {"a": [{}]}, {"a": {"b": -1}}),
)


@cache
def everything() -> dict[str, type]:
    """All parts, by module and class."""
    known: dict[str, type] = {}

    def add(hint: Any) -> None:
        bare, _ = unwrap(hint)
        if bare in parts().families:
            inner = list(parts().families[bare].values())
        elif is_dataclass(bare) and isinstance(bare, type):
            new = f"{bare.__module__}.{bare.__name__}" not in known
            known[f"{bare.__module__}.{bare.__name__}"] = bare
            inner = list(hints(bare).values()) if new else []
        else:
            inner = [each for each in get_args(bare) if get_origin(bare) is not Literal]
        for each in inner:
            add(each)

    add(Scenario)
    return known


def needed(part: type) -> dict[str, Any]:
    """Something for each field that must be given."""
    if part is Stop:
        return {"rounds": 1}  # one of its fields must be given, and none of them by name
    return {f.name: something(hints(part)[f.name]) for f in fields(part) if default_of(f) is MISSING}


def something(hint: Any) -> Any:
    """A valid value."""
    bare, _ = unwrap(members(hint)[0])
    if bare in parts().families:
        name, part = next(iter(parts().families[bare].items()))
        return {"name": name, **needed(part)}
    if is_dataclass(bare):
        return needed(bare)  # type: ignore[arg-type]  # a class
    if get_origin(bare) is tuple:
        return [something(item) for item in get_args(bare) if item is not Ellipsis]
    if get_origin(bare) is dict:
        return {"a": something(get_args(bare)[1])}
    if get_origin(bare) is Literal:
        return get_args(bare)[0]
    return {int: 1, float: 1.0, str: "text", bool: True, NoneType: None}[bare]


@pytest.mark.parametrize("name", everything())
def test_what_a_field_does_not_take_is_refused_in_a_sentence(name: str) -> None:
    """Read or refused: no other error, and no message that the validating library made up."""
    part = everything()[name]
    parts().read(part, written(needed(part)))
    for field in fields(part):
        for value in VALUES:
            with suppress(ScenarioError):
                parts().read(part, written({**needed(part), field.name: value}))


def written(content: dict[str, Any]) -> Document:
    return Document("file", content, {(): "file"})
