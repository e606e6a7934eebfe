"""Parts that a user brings along: what is asked of their classes, and how a scenario names one that has no name.

A part that was not registered under a name is written by its import path, `my_module:MyCodec`. A scenario file imports
nothing by itself: the class is looked up in modules that `netsim --import` or the user's own program has imported.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, Generic, Protocol

from scenarios.errors import found

SEPARATOR = ":"
"""Between module and class in an import path; no registered name has one."""

MAIN = "__main__"

WORDS = {"Architecture": "model", "DatasetLoader": "dataset"}
"""Protocols whose families have another name in `register` and in messages."""


def word(family: type) -> str:
    """What the family of a Protocol is called in `register` and in messages: `scheme`, `model`, `path_loss`."""
    return WORDS.get(family.__name__) or re.sub(r"(?<=[a-z])(?=[A-Z])", "_", family.__name__).lower()


def import_path(part: type) -> str:
    """`module:Class`. A class of the script that is running has the module name under which the script is imported."""
    module = _script_module() if part.__module__ == MAIN else part.__module__
    return f"{module}{SEPARATOR}{part.__qualname__}"


def part_at(path: str) -> type:
    """The class at an import path, if its module has been imported; no module is imported here.

    Raises:
        ValueError: it has not been, or there is no such class in it; the message is one sentence.
    """
    module, _, name = path.partition(SEPARATOR)
    loaded = sys.modules.get(MAIN if module == _script_module() else module)
    part: Any = loaded
    for step in name.split("."):
        part = getattr(part, step, None)
    if isinstance(part, type):
        return part
    if module == MAIN or "<locals>" in name:
        raise ValueError(f"found {found(path)}, which cannot be imported; define the class at the top of a .py file")
    if loaded is None:
        raise ValueError(
            f"found {found(path)}, a part in code that is not loaded; write netsim --import {module} "
            f"(or the path of its .py file), in Python import {module} first"
        )
    raise ValueError(f"found {found(path)}, but there is no such class in the module {module}")


def check_part(family: type, part: object) -> None:
    """Raises ValueError, with one sentence, unless `part` is a class that can be a part of the family of this Protocol.

    It must be a frozen dataclass: its fields are those of the scenario, and equal parts must be the same operand.
    """
    name = getattr(part, "__qualname__", repr(part))
    if not isinstance(part, type) or not is_dataclass(part) or not part.__dataclass_params__.frozen:  # type: ignore[attr-defined]
        raise ValueError(f"{name} is no frozen dataclass; write @dataclass(frozen=True) above the class")
    given = {field.name for field in fields(part)}
    missing = [member for member in _members(family) if member not in given and not hasattr(part, member)]
    if missing:
        raise ValueError(f"{name} has no {' and no '.join(missing)}, which a {word(family)} has")


def _members(family: type) -> Iterator[str]:
    """Names of what a Protocol and its bases demand."""
    for owner in family.__mro__:
        if owner not in (object, Protocol, Generic):
            yield from (name for name in vars(owner) if not name.startswith("_"))


def _script_module() -> str:
    """The module name of what runs as `__main__`; in a notebook or shell, which has no .py file, `__main__` itself."""
    main = sys.modules[MAIN]
    if main.__spec__ is not None:
        return main.__spec__.name
    file = Path(getattr(main, "__file__", None) or MAIN)
    return file.stem if file.suffix == ".py" else MAIN
