"""Files and folders that a scenario names: relative paths count from the scenario's folder, then from NETSIM_DATA.

A field is a path if its type says so: `Annotated[str, Path]`. Once read, a scenario holds absolute paths: it means the
same files wherever it is written down again, and in whichever folder a worker runs it.
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
"""How a text begins that names something else than a path, such as package:NAME."""


def located(part: T, folder: Path) -> T:
    """The part with absolute paths in all its fields; `folder` is that of its file."""
    if not is_dataclass(part) or isinstance(part, type):
        return part
    old = {field.name: getattr(part, field.name) for field in fields(part)}
    new = {name: _located(value, hints(type(part))[name], folder) for name, value in old.items()}
    changed = {name: value for name, value in new.items() if value != old[name]}
    return replace(part, **changed) if changed else part


def _located(value: Any, hint: Any, folder: Path) -> Any:
    """The value of a field."""
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
