"""The store: values by content key, on disk, shared by runs and processes.

Small values lie in an SQLite database (write-ahead log), large ones in safetensors files named by their key. Writes are
atomic: a reader sees an entry whole or not at all, whenever the writer was killed. Every entry carries a checksum over
key and content; what does not agree with it is reported once, forgotten and computed again. A store may lose entries at
any time and never yields a wrong one.
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
from zlib import crc32

import torch
from safetensors.numpy import load, save
from torch import Tensor

FORMAT = 1
"""Of entries and database; each format has a folder of its own, so that versions of this program may share a store."""
DATABASE = "entries.sqlite"
SMALL_BYTES = 128 * 1024
"""Values up to this size lie in the database."""
LIMIT_BYTES = 5 * 10**9
"""Size that a store is pruned to unless told otherwise."""
PATIENCE_S = 30.0
"""How long to wait for another process's transaction."""

Value = list[Tensor]
Row = tuple[bytes, int, int, float]
"""Key, size, checksum, time of use."""
Content = tuple[bytes, bytes]
"""Key, and the value as safetensors."""


class StoreDamage(UserWarning):
    """Something in the store was not what had been put there."""


class StoreUnusable(Exception):
    """The folder cannot hold a store; the message says why."""


@dataclass(frozen=True)
class StoreInfo:
    """What a store holds."""

    entries: int
    size_bytes: int


def is_store(folder: Path) -> bool:
    """Whether a store is kept in a folder, in this format or another."""
    return any(folder.glob(f"*/{DATABASE}"))


class Store:
    """Values by key. Opening it raises StoreUnusable where the folder cannot be written."""

    def __init__(self, folder: Path, limit_bytes: int = LIMIT_BYTES) -> None:
        self.folder, self.limit_bytes = folder / f"format-{FORMAT}", limit_bytes
        self._known: set[bytes] = set()
        self._newest = 0
        self._touched: set[bytes] = set()
        self._complained = False
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._database = self._open()
        except (OSError, sqlite3.OperationalError) as error:
            raise StoreUnusable(f"{folder}: no store can be kept there ({error})") from error
        self.refresh()

    def __contains__(self, key: bytes) -> bool:
        """Whether there was an entry at the last `refresh`, or has been since by this process."""
        return key in self._known

    def refresh(self) -> None:
        """Look for entries of other processes."""
        with self._tolerant():
            query = "SELECT number, key FROM entries WHERE number > ? ORDER BY number"
            for number, key in self._database.execute(query, (self._newest,)):
                self._known.add(key)
                self._newest = number

    def get(self, key: bytes) -> Value | None:
        """A value, or None if there is no sound entry."""
        with self._tolerant():
            query = "SELECT checksum, content FROM entries LEFT JOIN contents USING (key) WHERE key = ?"
            checksum, content = self._database.execute(query, (key,)).fetchone() or (None, None)
            if checksum is not None:
                if content is None:
                    with suppress(OSError):
                        content = self._file(key).read_bytes()
                if content is not None and _checksum(key, content) == checksum:
                    self._touched.add(key)
                    arrays = load(content)
                    return [
                        torch.from_numpy(arrays[str(n)]).clone() for n in range(len(arrays))
                    ]  # in torch's own memory
                self._complain(f"entry {key.hex()} is damaged")
        self._forget([key])
        return None

    def put(self, values: Sequence[tuple[bytes, Value]]) -> None:
        """Keep values; what cannot be written is not kept, and that is said once."""
        with self._tolerant():
            rows, contents = zip(*(self._rows(key, value) for key, value in values), strict=True)
            with self._transaction():
                self._database.executemany("INSERT OR REPLACE INTO contents VALUES (?, ?)", filter(None, contents))
                self._database.executemany(
                    "INSERT OR REPLACE INTO entries (key, size, checksum, used) VALUES (?, ?, ?, ?)", rows
                )
            self._known.update(key for key, _ in values)

    def info(self) -> StoreInfo:
        """Number and size of the entries."""
        with self._tolerant():
            counted = self._database.execute("SELECT COUNT(*), COALESCE(SUM(size), 0) FROM entries").fetchone()
            if counted:
                return StoreInfo(*counted)
        return StoreInfo(0, 0)

    def prune(self, limit_bytes: int) -> None:
        """Forget what has not been used for longest until the rest fits."""
        self._note_use()
        excess, doomed = self.info().size_bytes - limit_bytes, []
        with self._tolerant():
            for key, size in self._database.execute("SELECT key, size FROM entries ORDER BY used, key").fetchall():
                if excess <= 0:
                    break
                doomed.append(key)
                excess -= size
        self._forget(doomed)
        self._sweep()

    def clear(self) -> None:
        """Forget everything."""
        self.refresh()
        self._forget(list(self._known))
        self._sweep()

    def close(self) -> None:
        """Write down what was used, and keep to the size limit."""
        self._note_use()
        if self.info().size_bytes > self.limit_bytes:
            self.prune(self.limit_bytes * 9 // 10)
        self._database.close()

    def _rows(self, key: bytes, value: Value) -> tuple[Row, Content | None]:
        """The entry of a value, and its content if that belongs into the database; else the content is written here."""
        content = save({str(position): tensor.contiguous().numpy() for position, tensor in enumerate(value)})
        inside = len(content) <= SMALL_BYTES
        if not inside:
            self._write(self._file(key), content)
        return (key, len(content), _checksum(key, content), time.time()), (key, content) if inside else None

    def _write(self, file: Path, content: bytes) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        hidden = file.with_name(f".{file.name}.{os.getpid()}")
        hidden.write_bytes(content)
        hidden.replace(file)

    def _file(self, key: bytes) -> Path:
        name = key.hex()
        return self.folder / "values" / name[:2] / f"{name}.safetensors"

    def _forget(self, keys: Sequence[bytes]) -> None:
        self._known.difference_update(keys)
        with self._tolerant(), self._transaction():
            for table in ("entries", "contents"):
                self._database.executemany(f"DELETE FROM {table} WHERE key = ?", [(key,) for key in keys])

    def _sweep(self) -> None:
        """Give freed space back, and remove files that no entry names (a writer was killed, or its entry forgotten)."""
        with self._tolerant():
            self._database.execute("PRAGMA incremental_vacuum").fetchall()
            named = {key.hex() for (key,) in self._database.execute("SELECT key FROM entries")}
            for file in (self.folder / "values").glob("*/*"):
                if file.name.removesuffix(".safetensors") not in named:
                    file.unlink(missing_ok=True)

    def _note_use(self) -> None:
        with self._tolerant(), self._transaction():
            used = [(time.time(), key) for key in self._touched]
            self._database.executemany("UPDATE entries SET used = ? WHERE key = ?", used)
        self._touched.clear()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._database.execute("ROLLBACK")
            raise
        self._database.execute("COMMIT")

    @contextmanager
    def _tolerant(self) -> Iterator[None]:
        """A store that fails is one without entries: a broken database is started anew, a full disk takes no more."""
        try:
            yield
        except (sqlite3.OperationalError, OSError) as error:
            self._complain(f"it cannot be used at present ({error})")
        except sqlite3.DatabaseError as error:
            self._complain(f"its database is damaged ({error}) and is started anew")
            self._database.close()
            self._discard()
            self._known.clear()
            self._database = self._open()

    def _complain(self, what: str) -> None:
        if not self._complained:
            self._complained = True
            warnings.warn(f"store {self.folder}: {what}; values are computed again", StoreDamage, stacklevel=3)

    def _open(self) -> sqlite3.Connection:
        """The database; what lies under its name and is none is discarded."""
        try:
            return self._connect()
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError as error:
            self._complain(f"its database is damaged ({error}) and is started anew")
            self._discard()
            return self._connect()

    def _connect(self) -> sqlite3.Connection:
        database = sqlite3.connect(self.folder / DATABASE, timeout=PATIENCE_S, isolation_level=None)
        try:
            database.execute("PRAGMA auto_vacuum = INCREMENTAL")
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA wal_autocheckpoint = 16384")  # pages of 4 KiB
            database.execute(
                "PRAGMA synchronous = OFF"
            )  # safe against a killed process; a power cut may cost the store
            database.execute(
                "CREATE TABLE IF NOT EXISTS entries "
                "(number INTEGER PRIMARY KEY AUTOINCREMENT, key BLOB UNIQUE, size INTEGER, checksum INTEGER, used REAL)"
            )
            database.execute("CREATE TABLE IF NOT EXISTS contents (key BLOB PRIMARY KEY, content BLOB)")
        except sqlite3.Error:
            database.close()
            raise
        return database

    def _discard(self) -> None:
        for name in (DATABASE, f"{DATABASE}-wal", f"{DATABASE}-shm"):
            (self.folder / name).unlink(missing_ok=True)


def _checksum(key: bytes, content: bytes) -> int:
    """CRC-32 over both, so that an entry under another's name is found out too."""
    return crc32(content, crc32(key))
