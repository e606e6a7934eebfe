"""Which field is at fault when a world cannot be built from fields that are fine one by one."""

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
"""What goes wrong where a world is built from fields that are fine one by one."""


def field_error(path: Path, problem: Exception, beside: str = "") -> FieldError:
    """What a part says about its arguments, as an error of a field; and what is to be said `beside`."""
    said = str(problem)
    if isinstance(problem, ArithmeticError | MemoryError):  # these are the words of Python, not of a part
        reason = problem.args[-1] if problem.args else type(problem).__name__
        said = f"a number is too large or too small to compute with ({reason})"
    error = FieldError(f"{dotted(path)}: {said}{beside}" if path else f"{said}{beside}")
    error.path = path
    return error


@contextmanager
def blaming(*path: str, beside: str = "") -> Iterator[None]:
    """Whatever does not fit or is missing in here is the fault of one field; `beside` is added to what is said."""
    try:
        yield
    except PROBLEMS as problem:
        raise field_error(path, problem, beside) from problem


def culprit(scenario: Scenario, build: Callable[[Scenario], Any]) -> Path:
    """The field that does not fit the others: with its default, `build` succeeds.

    Parts such as lists and placements learn how many users there are only when a network is built. A part that was
    chosen by name is at fault before a plain field is, and a field inside a section before the whole section. Returns
    the empty path if no single field is at fault.
    """
    for named in (True, False):
        for section in NETWORK_SECTIONS:
            for path, variant in _variants(getattr(scenario, section), (section,), parts(), named):
                if _succeeds(lambda: build(replace(scenario, **{section: variant()}))):  # noqa: B023  called at once
                    return path
    return ()


NETWORK_SECTIONS = ("network", "compute", "energy")
"""What a network is built from."""


def _succeeds(attempt: Callable[[], Any]) -> bool:
    """Whether nothing is raised. A field whose default cannot be built either, in whatever way, explains nothing."""
    try:
        attempt()
    except Exception:
        return False
    return True


def _variants(part: Any, path: Path, known: Parts, named: bool) -> Iterator[tuple[Path, Callable[[], Any]]]:
    """Each way to put one field back to its default: a part that was chosen by name, or else any other field.

    What is returned makes the variant, which may not be allowed: the fields of a section may need each other.
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
