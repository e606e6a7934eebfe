"""What a user reads when something is wrong: one sentence with the place, what was found and what is allowed."""

import math
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

DONE, FAILED, WRONG_INPUT, INTERRUPTED = 0, 1, 2, 130
"""Exit codes of the command line."""

Path = tuple[str | int, ...]
"""The way to a field: names of sections, positions in lists."""

LONGEST_QUOTE = 40
"""Characters of a value that are repeated in a message."""

MAX_NAMES = 20
"""Names that a message lists before it stops."""


class ScenarioError(Exception):
    """The input is wrong; the message is one sentence that says where, what was found and what is allowed."""


class FieldError(ScenarioError):
    """A field that is fine by itself does not fit the data or other fields; `path` leads to it, as in the message."""

    path: Path = ()


class BrokenPlugIn(UserWarning):
    """The parts of an installed package cannot be loaded; scenarios that do not name them work all the same."""


class RunFailed(Exception):
    """A run failed on its way; the message says what, at which simulated time and round."""


class Interrupted(Exception):
    """A command was told to stop; the message says how far it came."""


class Stalled(Exception):
    """Nothing is going to happen in a simulated world any more; the message says who waits for what."""


def told(error: BaseException) -> str:
    """A failure on one line: the type of what was raised first, what it says, and the notes added on its way."""
    cause = original(error)
    what = str(cause) if isinstance(cause, Stalled) else f"{type(cause).__name__}: {cause}"
    return " ".join(" ".join([what, *getattr(cause, "__notes__", [])]).split())


def original(error: BaseException) -> BaseException:
    """What was raised first: SimPy raises a copy wherever an exception passes from one process to another."""
    while type(cause := error.__cause__) is type(error) and cause.args == error.args:
        error = cause
    return error


def dotted(path: Path) -> str:
    """`network.stations.positions[2]`, as fields are written in messages and after `--set`."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{quotable(step)}" for step in path)
    return text.removeprefix(".")


def quotable(text: str) -> str:
    """Text that may be quoted in a message: short, and on one line."""
    return printable(text) if len(text) <= LONGEST_QUOTE else printable(text[:LONGEST_QUOTE]) + "..."


def printable(text: str) -> str:
    """Text with an escape in place of whatever is no printable character."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def found(value: Any) -> str:
    """How a value is quoted in a message."""
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
        case int() if abs(value) > 10**LONGEST_QUOTE:  # str() of a huge integer is slow, and refused beyond 4300 digits
            return "an enormous number"
    return quotable(str(value))


def unknown(what: str, name: str, allowed: Iterable[str]) -> str:
    """`unknown scheme "sfl_v3"; nearest is "sfl_v2"; allowed: ...`."""
    allowed = list(allowed)
    close = get_close_matches(name, allowed, n=1)
    nearest = f'nearest is "{close[0]}"; ' if close else ""
    rest = ", ..." if len(allowed) > MAX_NAMES else ""
    return f'unknown {what} "{quotable(name)}"; {nearest}allowed: {", ".join(allowed[:MAX_NAMES])}{rest}'
