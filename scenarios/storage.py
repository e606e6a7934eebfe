"""Which store a command uses, and what is said about it."""

from __future__ import annotations

import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from platformdirs import user_cache_path

from scenarios.errors import ScenarioError, quotable

if TYPE_CHECKING:
    from learning.store import Store

STORE_FOLDER = "NETSIM_STORE"
"""Environment variable that names the folder of the store where the command line does not."""

UNITS = ("bytes", "kB", "MB", "GB", "TB")
SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([kMGT]?)(?:B|bytes)?", re.IGNORECASE)

Tell = Callable[[str], None]
"""Passes a line on to the user."""


def on_stderr(line: str) -> None:
    """Print it there."""
    print(line, file=sys.stderr)


def store_folder(given: Path | None, without: bool = False) -> Path | None:
    """The folder that `--store` names, or NETSIM_STORE, or else a cache folder of the user; None with `--no-store`.

    Raises:
        ScenarioError: both options are given.
    """
    if without and given is not None:
        raise ScenarioError("netsim: --store and --no-store exclude each other; give one of them")
    return None if without else given or _usual()


@contextmanager
def opened(folder: Path | None, tell: Tell = on_stderr) -> Iterator[Store | None]:
    """The store in a folder; None without a folder, and where the cache folder, for which nobody asked, is unusable.

    Raises:
        ScenarioError: the folder cannot hold a store.
    """
    with ExitStack() as stack:
        store = None
        try:
            store = stack.enter_context(kept(folder, tell)) if folder is not None else None
        except ScenarioError as error:
            if folder != _cache():
                raise
            tell(f"{error}; going on without")
        yield store


@contextmanager
def kept(folder: Path, tell: Tell = on_stderr) -> Iterator[Store]:
    """The store in a folder, closed in the end; it tells of damage in plain lines.

    Raises:
        ScenarioError: the folder cannot hold a store.
    """
    from learning.store import Store, StoreUnusable

    with _telling_of_damage(tell):
        try:
            store = Store(folder)
        except StoreUnusable as error:
            raise ScenarioError(f"{error}; name another folder with --store, or use --no-store") from None
        try:
            yield store
        finally:
            store.close()


def existing(folder: Path) -> Path:
    """A folder that holds a store already: looking into a store, or emptying it, makes none.

    Raises:
        ScenarioError: there is none.
    """
    from learning.store import is_store

    if not is_store(folder):
        raise ScenarioError(f"{folder}: found no store there; name the folder of one with --store")
    return folder


def size_in_bytes(text: str) -> int:
    """`500MB`, `2 GB` or `1000000` as bytes.

    Raises:
        ScenarioError: it is no size.
    """
    match = SIZE.fullmatch(text.strip())
    if match is None:
        raise ScenarioError(f'netsim: --limit: found "{quotable(text)}"; a size such as 500MB or 2GB is allowed')
    power = " kmgt".index(match[2].lower() or " ")
    return int(float(match[1]) * 1000**power)


def size_in_words(size_bytes: int) -> str:
    """`1.5 GB`."""
    size, power = float(size_bytes), 0
    while size >= 1000 and power < len(UNITS) - 1:
        size, power = size / 1000, power + 1
    return f"{size:.3g} {UNITS[power]}"


@contextmanager
def _telling_of_damage(tell: Tell) -> Iterator[None]:
    from learning.store import StoreDamage

    with warnings.catch_warnings():
        warnings.simplefilter("always", StoreDamage)
        show = warnings.showwarning

        def plainly(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
            if issubclass(category, StoreDamage):
                tell(str(message))
            else:
                show(message, category, *where, **more)

        warnings.showwarning = plainly
        yield


def _usual() -> Path:
    named = os.environ.get(STORE_FOLDER)
    return Path(named) if named else _cache()


def _cache() -> Path:
    return user_cache_path("netsim", appauthor=False)
