"""Paths in a scenario: relative to the folder of its file, else to the folder named by NETSIM_DATA.

A field is a path if its type is `Annotated[str, Path]`. They are made absolute when a scenario is read, so that it
refers to the same files when it is written to another folder or run by a worker with another working directory.
"""

from __future__ import annotations

import os
import re
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any, TypeVar, get_args

from netsim.recordings import DATA_FOLDER
from scenarios.hints import hints, unwrap

T = TypeVar("T")

SCHEME = re.compile(r"\w\w+:")
"""Beginning of a text that is not a path, such as package:NAME."""


def located(part: T, folder: Path) -> T:
    """Return a part with absolute paths in all its fields, also in those of its own parts.

    Args:
        part: a dataclass; any other value is returned unchanged.
        folder: folder of the scenario file.
    """
    if not is_dataclass(part) or isinstance(part, type):
        return part
    old = {field.name: getattr(part, field.name) for field in fields(part)}
    new = {name: _located(value, hints(type(part))[name], folder) for name, value in old.items()}
    changed = {name: value for name, value in new.items() if value != old[name]}
    return replace(part, **changed) if changed else part


def _located(value: Any, hint: Any, folder: Path) -> Any:
    """Value of a field with type hint `hint`, with absolute paths."""
    if isinstance(value, tuple):
        return tuple(_located(one, hint, folder) for one in value)
    if isinstance(value, dict):
        return {name: _located(one, hint, folder) for name, one in value.items()}
    if isinstance(value, str):
        return _absolute(value, folder) if _is_path(hint) else value
    return located(value, folder)


def _is_path(hint: Any) -> bool:
    return Path in unwrap(hint)[1] or any(_is_path(inner) for inner in get_args(unwrap(hint)[0]))


def _absolute(written: str, folder: Path) -> str:
    if SCHEME.match(written):
        return written
    data = os.environ.get(DATA_FOLDER)
    beside = Path(os.path.abspath(folder / written))
    elsewhere = Path(os.path.abspath(Path(data) / written)) if data else beside
    return str(elsewhere if elsewhere.exists() and not beside.exists() else beside)
