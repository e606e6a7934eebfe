"""Classes of parts that users define: their requirements, and import paths as names of parts that are not registered.

A part that is not registered is written by its import path, `my_module:MyCodec`. A scenario file does not import any
module: the class is looked up in modules that `netsim --import` or the user's own program has imported.
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
"""Separator of module and class in an import path; registered names do not contain it."""

MAIN = "__main__"

WORDS = {"Architecture": "model", "DatasetLoader": "dataset"}
"""Protocols whose families have another name in `register` and in messages."""


def word(family: type) -> str:
    """Return the name of a Protocol's family in `register` and in messages: `scheme`, `model`, `path_loss`."""
    return WORDS.get(family.__name__) or re.sub(r"(?<=[a-z])(?=[A-Z])", "_", family.__name__).lower()


def import_path(part: type) -> str:
    """Return the import path `module:Class`; for the running script, with the name under which it can be imported."""
    module = _script_module() if part.__module__ == MAIN else part.__module__
    return f"{module}{SEPARATOR}{part.__qualname__}"


def part_at(path: str) -> type:
    """Return the class at an import path, if its module has been imported; nothing is imported here.

    Raises:
        ValueError: the module has not been imported, or does not have the class; the message is one sentence.
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
    """Check that a class can be a part of a family.

    It must be a frozen dataclass, since its fields are those in a scenario, and equal parts must be the same operand.

    Args:
        family: Protocol of the family.
        part: the class.

    Raises:
        ValueError: it cannot; the message is one sentence.
    """
    name = getattr(part, "__qualname__", repr(part))
    if not isinstance(part, type) or not is_dataclass(part) or not part.__dataclass_params__.frozen:  # type: ignore[attr-defined]
        raise ValueError(f"{name} is no frozen dataclass; write @dataclass(frozen=True) above the class")
    given = {field.name for field in fields(part)}
    missing = [member for member in _members(family) if member not in given and not hasattr(part, member)]
    if missing:
        raise ValueError(f"{name} has no {' and no '.join(missing)}, which a {word(family)} has")


def _members(family: type) -> Iterator[str]:
    """Names of the members of a Protocol and its bases."""
    for owner in family.__mro__:
        if owner not in (object, Protocol, Generic):
            yield from (name for name in vars(owner) if not name.startswith("_"))


def _script_module() -> str:
    """Module name of the running script; `__main__` in a notebook or shell, which has no .py file."""
    main = sys.modules[MAIN]
    if main.__spec__ is not None:
        return main.__spec__.name
    file = Path(getattr(main, "__file__", None) or MAIN)
    return file.stem if file.suffix == ".py" else MAIN
