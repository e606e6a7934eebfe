"""Which field is at fault when a world cannot be built from fields that are fine one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass, replace
from typing import Any

from learning.data import MissingData
from scenarios.checks import default_of
from scenarios.errors import FieldError, Path, dotted
from scenarios.hints import hints
from scenarios.parts import Parts
from scenarios.schema import Scenario, parts


def field_error(path: Path, problem: Exception, beside: str = "") -> FieldError:
    """What a part says about its arguments, as an error of a field; and what is to be said `beside`."""
    error = FieldError(f"{dotted(path)}: {problem}{beside}" if path else f"{problem}{beside}")
    error.path = path
    return error


@contextmanager
def blaming(*path: str, beside: str = "") -> Iterator[None]:
    """Whatever does not fit or is missing in here is the fault of one field; `beside` is added to what is said."""
    try:
        yield
    except (ValueError, MissingData) as problem:
        raise field_error(path, problem, beside) from problem


def culprit(scenario: Scenario, build: Callable[[Scenario], Any]) -> Path:
    """The field whose part cannot be built with the others: with its default, `build` succeeds.

    Parts such as lists and placements learn how many users there are only when a network is built. Returns the empty
    path if no single part is at fault.
    """
    for path, variant in _variants(replace(scenario, learning=None), (), parts()):
        try:
            build(variant)
        except ValueError:
            continue
        return path
    return ()


def _variants(part: Any, path: Path, known: Parts) -> Iterator[tuple[Path, Any]]:
    """Each way to put one part that was chosen by name back to its default."""
    kind: type = type(part)
    for field in fields(part):
        value, inner_path = getattr(part, field.name), (*path, field.name)
        if known.family(hints(kind)[field.name]) is not None:
            yield inner_path, replace(part, **{field.name: default_of(field)})
        elif is_dataclass(value):
            for found, inner in _variants(value, inner_path, known):
                yield found, replace(part, **{field.name: inner})
