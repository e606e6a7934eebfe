"""The store, a cache of results on disk: values by content key, shared by runs and processes.

Values are stored in packs. The database, SQLite with a write-ahead log, has a row for each pack: its directory, when it
was last used, and its content, unless that is large and lies in a file with the pack's name. Writes are atomic: a
reader sees a whole pack or none, even if the writer was killed. A value that does not agree with its checksum is
reported once, deleted and computed again. A store may lose entries at any time and never returns a wrong one.
"""

from __future__ import annotations

import os
import sqlite3
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from learning.packs import Pack, Place, Value, packs, places, read, written

FORMAT = 2
"""Format of entries and database; each has a folder of its own, so that versions of this program may share a store."""
DATABASE = "entries.sqlite"
COLUMNS = ["number", "name", "directory", "size", "used", "content"]
"""Columns of its table, `packs`."""
FOREIGN = "entries.sqlite.foreign"
"""File that a database of another program is moved to."""
SMALL_BYTES = 128 * 1024
"""Maximum size of a pack whose content is in the database; that of a larger one is in a file."""
PACK_BYTES = 16 * 10**6
"""Size from which on a pack takes no more values. Whole packs are pruned, so this bounds what is lost together."""
LIMIT_BYTES = 5 * 10**9
"""Default size limit of a store."""
PATIENCE_S = 30.0
"""How long to wait for another process's transaction."""


class StoreDamage(UserWarning):
    """Warning that the store is damaged or cannot be used; values are computed again."""


class StoreUnusable(Exception):
    """The folder cannot hold a store; the message says why."""


@dataclass(frozen=True)
class StoreInfo:
    """Number of the entries of a store, and their size."""

    entries: int
    size_bytes: int


def is_store(folder: Path) -> bool:
    """Whether a folder contains a store, in this format or another."""
    return any(folder.glob(f"*/{DATABASE}"))


class Store:
    """A cache of values by content key, in a folder.

    Args:
        folder: the folder, which is created if it does not exist.
        limit_bytes: size that the store is pruned to when it is closed.

    Raises:
        StoreUnusable: the folder cannot be written.
    """

    def __init__(self, folder: Path, limit_bytes: int = LIMIT_BYTES) -> None:
        self.folder, self.limit_bytes = folder / f"format-{FORMAT}", limit_bytes
        self._known: dict[bytes, int] = {}
        """Content key -> number of the pack that contains the entry."""
        self._newest = 0
        self._touched: set[int] = set()
        self._complained = False
        self._locked = False
        """Whether another process held a transaction longer than PATIENCE_S: nothing is written any more."""
        try:
            (self.folder / "packs").mkdir(parents=True, exist_ok=True)
            self._database = self._open()
        except (OSError, sqlite3.OperationalError) as error:
            raise StoreUnusable(f"{folder}: no store can be kept there ({error})") from error
        self.refresh()
        if not self._known:
            self._sweep()  # what a lost database has left

    def __del__(self) -> None:
        """Close the database if nobody has: from Python 3.13 on it would warn."""
        with suppress(AttributeError, sqlite3.Error):  # of a store that could not be opened, or of another thread
            self._database.close()

    def __contains__(self, key: bytes) -> bool:
        """Whether there was an entry at the last `refresh`, or has been since by this process."""
        return key in self._known

    def refresh(self) -> None:
        """Read which entries other processes have added."""
        with self._tolerant():
            query = "SELECT number, name, directory FROM packs WHERE number > ? ORDER BY number"
            damaged = set()
            for number, name, directory in self._database.execute(query, (self._newest,)):
                found = places(name, directory)
                self._known.update((place.key, number) for place in found)
                self._newest = number
                if not found:
                    damaged.add(number)
            if damaged:
                self._complain(f"{len(damaged)} of its directories are damaged")
                with self._transaction():
                    self._forget(damaged)

    def get(self, key: bytes) -> Value | None:
        """The value of a content key, or None if there is no undamaged entry."""
        with self._tolerant():
            row = self._row(self._known.get(key))
            if row is not None:
                content = row.sound(key)
                if content is not None:
                    self._touched.add(row.number)
                    return read(content)
                if self._row(row.number) is not None:  # else another process has just pruned it
                    self._complain(f"entry {key.hex()} is damaged")
                    self._mend(row)
        self._known.pop(key, None)
        return None

    def put(self, values: Sequence[tuple[bytes, Value]]) -> None:
        """Store values by content key; where they cannot be written, warn once and go on without them."""
        with self._tolerant():
            for pack in packs(((key, written(value)) for key, value in values), PACK_BYTES):
                with self._transaction():
                    self._insert(pack, time.time())

    def info(self) -> StoreInfo:
        """Number and size of the entries of all processes."""
        with self._tolerant():
            rows = self._database.execute("SELECT name, directory FROM packs").fetchall()
            if rows:
                return StoreInfo(len({place.key for row in rows for place in places(*row)}), self._size_bytes())
        return StoreInfo(0, 0)

    def prune(self, limit_bytes: int) -> None:
        """Delete the least recently used packs until the store has at most `limit_bytes`."""
        self._note_use()
        with self._tolerant(), self._transaction():
            excess, doomed = self._size_bytes() - limit_bytes, set()
            for number, size in self._database.execute("SELECT number, size FROM packs ORDER BY used, number"):
                if excess <= 0:
                    break
                doomed.add(number)
                excess -= size
            self._forget(doomed)
        self._sweep()

    def clear(self) -> None:
        """Delete all entries."""
        with self._tolerant():
            self._database.execute("DELETE FROM packs")
            self._known.clear()
        self._sweep()

    def close(self) -> None:
        """Record which packs were used, prune the store to its limit, and close the database."""
        self._note_use()
        with self._tolerant():
            if self._size_bytes() > self.limit_bytes:
                self.prune(self.limit_bytes * 9 // 10)
        self._database.close()

    def _insert(self, pack: Pack, used: float) -> None:
        """Write a pack; in a transaction, so that no other process removes its file before its row exists."""
        inside = len(pack.content) <= SMALL_BYTES
        if not inside:
            file = _file(self.folder, pack.name)
            hidden = file.with_name(f".{file.name}.{os.getpid()}")
            hidden.write_bytes(pack.content)
            hidden.replace(file)
        row = (pack.name, pack.directory, len(pack.content), used, pack.content if inside else None)
        new = "INSERT OR IGNORE INTO packs (name, directory, size, used, content) VALUES (?, ?, ?, ?, ?)"
        self._database.execute(new, row)  # ignored if another process has written the very same
        (number,) = self._database.execute("SELECT number FROM packs WHERE name = ?", (pack.name,)).fetchone()
        self._known.update(dict.fromkeys(pack.keys, number))

    def _row(self, number: int | None) -> _Row | None:
        query = "SELECT number, name, directory, used, content FROM packs WHERE number = ?"
        found = self._database.execute(query, (number,)).fetchone()
        return _Row(self.folder, *found) if found else None

    def _mend(self, row: _Row) -> None:
        """Move the undamaged values of a damaged pack into a new one, and delete the others."""
        sound = [(place.key, content) for place in row.places() if (content := row.content(place)) is not None]
        with self._transaction():
            self._forget({row.number})
            for pack in packs(sound, PACK_BYTES):
                self._insert(pack, row.used)

    def _forget(self, numbers: set[int]) -> None:
        self._known = {key: number for key, number in self._known.items() if number not in numbers}
        self._database.executemany("DELETE FROM packs WHERE number = ?", [(number,) for number in numbers])

    def _size_bytes(self) -> int:
        return int(self._database.execute("SELECT TOTAL(size) FROM packs").fetchone()[0])

    def _sweep(self) -> None:
        """Release freed space, and remove files that no row names (a writer was killed, or its pack deleted)."""
        if self._locked:
            return
        with self._tolerant():
            self._database.execute("PRAGMA incremental_vacuum").fetchall()
            with self._transaction():
                named = {name for (name,) in self._database.execute("SELECT LOWER(HEX(name)) FROM packs")}
                for file in (self.folder / "packs").iterdir():
                    if file.name not in named:
                        file.unlink(missing_ok=True)

    def _note_use(self) -> None:
        if self._touched:
            with self._tolerant(), self._transaction():
                used = [(time.time(), number) for number in self._touched]
                self._database.executemany("UPDATE packs SET used = ? WHERE number = ?", used)
            self._touched.clear()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        if self._locked:
            raise sqlite3.OperationalError("database is locked")  # at once, instead of after the same wait
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._database.execute("COMMIT")
        except BaseException:
            if self._database.in_transaction:  # a full disk has ended it already
                self._database.execute("ROLLBACK")
            raise

    @contextmanager
    def _tolerant(self) -> Iterator[None]:
        """Make a failing store behave as an empty one: a damaged database is replaced, a full disk takes no entries."""
        try:
            yield
        except (sqlite3.OperationalError, OSError) as error:
            self._locked = self._locked or getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_BUSY
            self._complain(f"it cannot be used at present ({error})")
        except sqlite3.DatabaseError as error:
            self._complain(f"its database is damaged ({error}) and is replaced by an empty one")
            self._database.close()
            self._discard()
            self._known.clear()
            self._database = self._open()

    def _complain(self, what: str) -> None:
        if not self._complained:
            self._complained = True
            warnings.warn(f"store {self.folder}: {what}; values are computed again", StoreDamage, stacklevel=3)

    def _open(self) -> sqlite3.Connection:
        """Open the database; a file of its name that is no database is replaced, one of another program moved aside."""
        try:
            return self._connect()
        except _Foreign:
            self._complain(f"its database is of another program and is moved aside, to {FOREIGN}")
            (self.folder / DATABASE).replace(self.folder / FOREIGN)
            self._discard()
            return self._connect()
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError as error:
            self._complain(f"its database is damaged ({error}) and is replaced by an empty one")
            self._discard()
            return self._connect()

    def _connect(self) -> sqlite3.Connection:
        database = sqlite3.connect(self.folder / DATABASE, timeout=PATIENCE_S, isolation_level=None)
        try:
            columns = [name for (name,) in database.execute("SELECT name FROM pragma_table_info('packs')")]
            tables = [name for (name,) in database.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
            if set(tables) - {"packs", "sqlite_sequence"} or (columns and columns != COLUMNS):
                raise _Foreign
            if not columns:  # else it would take the lock of writers, which another process may hold for long
                database.execute("PRAGMA auto_vacuum = INCREMENTAL")
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA wal_autocheckpoint = 16384")  # pages of 4 KiB
            database.execute(
                "PRAGMA synchronous = OFF"
            )  # safe against a killed process; a power cut may cost the store
            database.execute(
                "CREATE TABLE IF NOT EXISTS packs (number INTEGER PRIMARY KEY AUTOINCREMENT, "
                "name BLOB UNIQUE, directory BLOB, size INTEGER, used REAL, content BLOB)"
            )
        except (sqlite3.Error, _Foreign):
            database.close()
            raise
        return database

    def _discard(self) -> None:
        for name in (DATABASE, f"{DATABASE}-wal", f"{DATABASE}-shm"):
            (self.folder / name).unlink(missing_ok=True)


class _Foreign(Exception):
    """The database has the tables of another program."""


class _Row(NamedTuple):
    """A row of the database: a pack as it was read."""

    folder: Path
    number: int
    name: bytes
    directory: bytes
    used: float
    inside: object
    """The content of the pack; None where it is in a file."""

    def places(self) -> list[Place]:
        """Records of the directory; none if it is damaged."""
        return places(self.name, self.directory)

    def sound(self, key: bytes) -> bytes | None:
        """The serialised value of a key, or None if it is missing or damaged."""
        return next((self.content(place) for place in self.places() if place.key == key), None)

    def content(self, place: Place) -> bytes | None:
        """The serialised value in one place, or None if it is missing or damaged."""
        content = self._bytes(place.first, place.size)
        return content if place.sound(content) else None

    def _bytes(self, first: int, size: int) -> bytes | None:
        if isinstance(self.inside, bytes):
            return self.inside[first : first + size]
        with suppress(OSError), _file(self.folder, self.name).open("rb") as file:
            file.seek(first)
            return file.read(size)
        return None


def _file(folder: Path, name: bytes) -> Path:
    return folder / "packs" / name.hex()
