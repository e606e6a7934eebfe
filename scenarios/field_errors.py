"""Errors of fields that are valid one by one, but from which a world cannot be built."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import MISSING, fields, is_dataclass, replace
from functools import partial
from typing import Any

from learning.data import MissingData
from scenarios.checks import default_of
from scenarios.errors import FieldError, Path, dotted
from scenarios.hints import hints
from scenarios.parts import Parts
from scenarios.schema import Scenario, parts

PROBLEMS = (ValueError, MissingData, ArithmeticError, MemoryError)
"""Exceptions that mean that fields do not fit each other, or the data."""


def field_error(path: Path, problem: Exception, beside: str = "") -> FieldError:
    """The error of a field for a problem that a part raised; `beside` is appended to its message."""
    said = str(problem)
    if isinstance(problem, ArithmeticError | MemoryError):  # these are the words of Python, not of a part
        reason = problem.args[-1] if problem.args else type(problem).__name__
        said = f"a number is too large or too small to compute with ({reason})"
    error = FieldError(f"{dotted(path)}: {said}{beside}" if path else f"{said}{beside}")
    error.path = path
    return error


@contextmanager
def errors_of(*path: str, beside: str = "") -> Iterator[None]:
    """Raise problems in the body of the `with` statement as errors of one field; `beside` is appended to messages."""
    try:
        yield
    except PROBLEMS as problem:
        raise field_error(path, problem, beside) from problem


def offending_field(scenario: Scenario, build: Callable[[Scenario], Any]) -> Path:
    """Find the field that does not fit the others: if it has its default, `build` succeeds.

    It is needed since parts such as lists and placements know the number of users only when a network is built. Parts
    chosen by name are tried before plain fields, and a field inside a section before the whole section.

    Args:
        scenario: the scenario that cannot be built.
        build: raises an exception unless a scenario can be built.

    Returns:
        The path of the field; the empty path if no single field is at fault.
    """
    for named in (True, False):
        for section in NETWORK_SECTIONS:
            for path, variant in _variants(getattr(scenario, section), (section,), parts(), named):
                if _succeeds(lambda: build(replace(scenario, **{section: variant()}))):  # noqa: B023  called at once
                    return path
    return ()


NETWORK_SECTIONS = ("network", "compute", "energy")
"""Sections of a scenario from which the network is built."""


def _succeeds(attempt: Callable[[], Any]) -> bool:
    """Whether an attempt raises no exception; a field whose default cannot be built either is not the one at fault."""
    try:
        attempt()
    except Exception:
        return False
    return True


def _variants(part: Any, path: Path, known: Parts, named: bool) -> Iterator[tuple[Path, Callable[[], Any]]]:
    """Variants of a part in each of which one field has its default: a part chosen by name if `named`, else another.

    A variant is returned as a function that makes it, which may raise: the fields of a section may need each other.
    """
    kind: type = type(part)
    for field in fields(part):
        value, default, inner_path = getattr(part, field.name), default_of(field), (*path, field.name)
        family = known.family(hints(kind)[field.name]) is not None
        if is_dataclass(value) and not family:
            for found, inner in _variants(value, inner_path, known, named):
                yield found, partial(_changed, part, field.name, inner)
        if family == named and default is not MISSING and value != default:
            yield inner_path, partial(replace, part, **{field.name: default})


def _changed(part: Any, name: str, make: Callable[[], Any]) -> Any:
    return replace(part, **{name: make()})
