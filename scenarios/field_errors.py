"""Errors of fields that are valid on their own and do not fit each other, found when a world is built."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import MISSING, fields, is_dataclass, replace
from functools import partial
from typing import Any

from learning.data import MissingData
from scenarios.checks import default_of
from scenarios.errors import FieldError, Path, dotted, printable
from scenarios.hints import hints
from scenarios.parts import Parts
from scenarios.schema import Scenario, parts

BUILD_ERRORS = (ValueError, MissingData, ArithmeticError, MemoryError)
"""Exceptions that a part raises for arguments that it cannot work with; any other exception is a programming error."""


def field_error(path: Path, problem: Exception, note: str = "") -> FieldError:
    """Turn an exception of a part into an error of the field that describes the part.

    Args:
        path: path of the field in the scenario; empty if no field is known to be wrong.
        problem: one of BUILD_ERRORS.
        note: text that follows the message.
    """
    message = printable(str(problem))  # names in data may have line breaks
    if isinstance(problem, ArithmeticError | MemoryError):  # the message is that of Python, not of a part
        reason = problem.args[-1] if problem.args else type(problem).__name__
        message = f"a number is too large or too small to compute with ({reason})"
    error = FieldError(f"{dotted(path)}: {message}{note}" if path else f"{message}{note}")
    error.path = path
    return error


@contextmanager
def field_errors(*path: str, note: str = "") -> Iterator[None]:
    """Context in which BUILD_ERRORS are raised as errors of the field at `path`; `note` follows their messages.

    Raises:
        FieldError: instead of each of BUILD_ERRORS.
    """
    try:
        yield
    except BUILD_ERRORS as problem:
        raise field_error(path, problem, note) from problem


def offending_field(scenario: Scenario, build: Callable[[Scenario], Any]) -> Path:
    """Path of the field that does not fit the others: with its default instead, `build` succeeds.

    Parts such as lists and placements get the number of users only when a network is built, so their fields cannot be
    checked earlier. Parts that were chosen by name are tried before plain fields, and the fields of a section before
    the whole section.

    Args:
        scenario: a scenario with which `build` fails.
        build: builds what is described by NETWORK_SECTIONS of a scenario; called once for each changed scenario.

    Returns:
        The path of the first such field; empty if no default of a single field makes `build` succeed.
    """
    for named in (True, False):
        for section in NETWORK_SECTIONS:
            for path, variant in _variants(getattr(scenario, section), (section,), parts(), named):
                if _succeeds(lambda: build(replace(scenario, **{section: variant()}))):  # noqa: B023  called at once
                    return path
    return ()


NETWORK_SECTIONS = ("network", "compute", "energy")
"""Sections of a scenario that describe the network."""


def _succeeds(attempt: Callable[[], Any]) -> bool:
    """Return False if `attempt` raises any exception: a default that fails in another way explains nothing either."""
    try:
        attempt()
    except Exception:
        return False
    return True


def _variants(part: Any, path: Path, known: Parts, named: bool) -> Iterator[tuple[Path, Callable[[], Any]]]:
    """Yield the path of each field of `part` that differs from its default, and a function that resets it.

    With `named` these are the parts that were chosen by name, else the other fields. The function returns the changed
    part, or raises where the fields of a section need each other.
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
