"""Exceptions and their messages: one sentence with the place, what was found and what is allowed."""

import math
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

DONE, FAILED, WRONG_INPUT, INTERRUPTED = 0, 1, 2, 130
"""Exit codes of the command line."""

Path = tuple[str | int, ...]
"""Path of a field in a scenario: names of sections and indices of lists."""

MAX_QUOTE = 40
"""Maximum number of characters of a value that a message quotes."""

MAX_NAMES = 20
"""Maximum number of allowed names that a message lists."""


MAX_ERRORS = 5
"""Maximum number of sentences in the message of one error; the number of the others follows."""


class ScenarioError(Exception):
    """The input is invalid; the message is one sentence with the place, what was found and what is allowed.

    Of several errors it has a sentence and line each, at most MAX_ERRORS of them, and the number of the others.
    """

    def __init__(self, *sentences: str) -> None:
        left = len(sentences) - MAX_ERRORS
        more = [f"and {left} more error{'s' if left > 1 else ''}"] if left > 0 else []
        super().__init__("\n".join([*sentences[:MAX_ERRORS], *more]))
        self.sentences = sentences
        """All of them."""


class FieldError(ScenarioError):
    """A field that is valid on its own does not fit the data or other fields."""

    path: Path = ()
    """Path of the field; empty if no single field is known to be wrong."""


class BrokenPlugIn(UserWarning):
    """The parts of an installed package cannot be loaded; scenarios that do not name them work all the same."""


class RunFailed(Exception):
    """A run failed; the message gives the error, the simulated time and the round."""


class Interrupted(Exception):
    """A command was interrupted by a signal; the message gives its progress."""


class Stalled(Exception):
    """A simulation has no further events before its end; the message lists the waiting processes."""


def one_line(error: BaseException) -> str:
    """Return type, message and notes of the `original` exception on one line."""
    cause = original(error)
    what = str(cause) if isinstance(cause, Stalled) else f"{type(cause).__name__}: {cause}"
    return " ".join(" ".join([what, *getattr(cause, "__notes__", [])]).split())


def original(error: BaseException) -> BaseException:
    """Return the exception that was raised first: SimPy raises a copy for each process that an exception passes."""
    while type(cause := error.__cause__) is type(error) and cause.args == error.args:
        error = cause
    return error


def dotted(path: Path) -> str:
    """Write the path of a field as in messages and after `--set`: `network.stations.positions[2]`."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{quotable(step)}" for step in path)
    return text.removeprefix(".")


def quotable(text: str) -> str:
    """Shorten a text to MAX_QUOTE characters on one line, for a message."""
    return printable(text) if len(text) <= MAX_QUOTE else printable(text[:MAX_QUOTE]) + "..."


def printable(text: str) -> str:
    """Replace characters that are not printable by escape sequences."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def found(value: Any) -> str:
    """Write a value for a message, after the word "found"."""
    match value:
        case None:
            return "nothing"
        case bool():
            return "true" if value else "false"
        case str():
            return f'"{quotable(value)}"'
        case dict():
            return "a section"
        case list() | tuple():
            return f"a list of {len(value)}" if value else "an empty list"
        case float() if not math.isfinite(value):
            return {math.inf: "infinity", -math.inf: "minus infinity"}.get(value, "not-a-number")
        case int() if abs(value) > 10**MAX_QUOTE:  # str() of a huge integer is slow, and refused beyond 4300 digits
            return "an enormous number"
    return quotable(str(value))


def nearest(name: str, names: Iterable[str]) -> str | None:
    """Return the one of `names` that is most like `name`; None if none is like it."""
    return next(iter(get_close_matches(name, list(names), n=1)), None)


def unknown(what: str, name: str, allowed: Iterable[str]) -> str:
    """Return the message for an unknown name: `unknown scheme "sfl_v3"; nearest is "sfl_v2"; allowed: ...`.

    Args:
        what: kind of the thing that is named, such as scheme or field.
        name: the unknown name.
        allowed: the known names.
    """
    allowed = list(allowed)
    close = nearest(name, allowed)
    advice = "" if close is None else f'nearest is "{close}"; '
    rest = ", ..." if len(allowed) > MAX_NAMES else ""
    return f'unknown {what} "{quotable(name)}"; {advice}allowed: {", ".join(allowed[:MAX_NAMES])}{rest}'
