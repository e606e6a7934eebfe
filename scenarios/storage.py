"""The result cache of a command: its folder, its opening, and messages about it."""

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
"""Environment variable with the folder of the result cache, for commands without `--store`."""
STORE_LIMIT = "NETSIM_STORE_LIMIT"
"""Environment variable with the size, such as `50GB`, to which a command prunes the result cache at its end."""

UNITS = ("bytes", "kB", "MB", "GB", "TB")
SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([kMGT]?)(?:B|bytes)?", re.IGNORECASE)

Report = Callable[[str], None]
"""Function that shows a line to the user."""


def on_stderr(line: str) -> None:
    """Print a line on stderr."""
    print(line, file=sys.stderr)


def store_folder(given: Path | None, without: bool = False) -> Path | None:
    """Return the folder of the result cache.

    Args:
        given: the folder after `--store`; None for that of NETSIM_STORE, else the user's cache folder.
        without: whether `--no-store` is given.

    Returns:
        The folder; None with `--no-store`.

    Raises:
        ScenarioError: both options are given.
    """
    if without and given is not None:
        raise ScenarioError("netsim: --store and --no-store exclude each other; give one of them")
    return None if without else given or _default_folder()


@contextmanager
def opened(folder: Path | None, report: Report = on_stderr) -> Iterator[Store | None]:
    """Context of the result cache in a folder.

    Its value is None without a folder, and if the user's cache folder, which was not named explicitly, is unusable.

    Args:
        folder: the folder.
        report: shows warnings.

    Raises:
        ScenarioError: the folder cannot hold a result cache, or NETSIM_STORE_LIMIT is not a size.
    """
    _limit_bytes()  # a wrong one is refused, wherever the folder is
    with ExitStack() as stack:
        store = None
        try:
            store = stack.enter_context(kept(folder, report)) if folder is not None else None
        except ScenarioError as error:
            if folder != _cache_folder():
                raise
            report(f"{error}; the result cache is not used")
        yield store


@contextmanager
def kept(folder: Path, report: Report = on_stderr) -> Iterator[Store]:
    """Context of the result cache in a folder, which is closed at the end; damage is reported in one line.

    Raises:
        ScenarioError: the folder cannot hold a result cache, or NETSIM_STORE_LIMIT is not a size.
    """
    from learning.store import Store, StoreUnusable

    limit_bytes = _limit_bytes()
    with _reporting_damage(report):
        try:
            store = Store(folder, limit_bytes)
        except StoreUnusable as error:
            raise ScenarioError(f"{error}; name another folder with --store, or use --no-store") from None
        try:
            yield store
        finally:
            store.close()


def existing(folder: Path) -> Path:
    """Check that a folder holds a result cache, and return it; to inspect or empty a cache must not create one.

    Raises:
        ScenarioError: it does not.
    """
    from learning.store import is_store

    if not is_store(folder):
        raise ScenarioError(f"{folder}: found no store there; name the folder of one with --store")
    return folder


def size_in_bytes(text: str, where: str = "--limit") -> int:
    """Convert a size such as `500MB`, `2 GB` or `1000000` to bytes.

    Args:
        text: the size.
        where: the option or environment variable that has it, for the message.

    Raises:
        ScenarioError: the text is not a size.
    """
    match = SIZE.fullmatch(text.strip())
    if match is None:
        raise ScenarioError(f'netsim: {where}: found "{quotable(text)}"; a size such as 500MB or 2GB is allowed')
    power = " kmgt".index(match[2].lower() or " ")
    return int(float(match[1]) * 1000**power)


def size_in_words(size_bytes: int) -> str:
    """Write a size with three significant digits: `1.5 GB`."""
    size, power = float(size_bytes), 0
    while size >= 1000 and power < len(UNITS) - 1:
        size, power = size / 1000, power + 1
    return f"{size:.3g} {UNITS[power]}"


@contextmanager
def _reporting_damage(report: Report) -> Iterator[None]:
    from learning.store import StoreDamage

    with warnings.catch_warnings():
        warnings.simplefilter("always", StoreDamage)
        show = warnings.showwarning

        def show_line(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
            if issubclass(category, StoreDamage):
                report(str(message))
            else:
                show(message, category, *where, **more)

        warnings.showwarning = show_line
        yield


def _default_folder() -> Path:
    named = os.environ.get(STORE_FOLDER)
    return Path(named) if named else _cache_folder()


def _limit_bytes() -> int:
    """The size limit of a result cache. Raises ScenarioError if NETSIM_STORE_LIMIT is not a size."""
    from learning.store import LIMIT_BYTES

    limit = os.environ.get(STORE_LIMIT)
    return size_in_bytes(limit, STORE_LIMIT) if limit else LIMIT_BYTES


def _cache_folder() -> Path:
    return user_cache_path("netsim", appauthor=False)
