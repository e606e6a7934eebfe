"""The store: what comes out is what was put in, or nothing; never anything else."""

import gc
import multiprocessing
import sqlite3
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from learning import store as stores
from learning.store import SMALL_BYTES, Store, StoreDamage, StoreUnusable

SMALL = [torch.arange(6.0).reshape(2, 3), torch.tensor(True), torch.tensor(7), torch.zeros(0)]
LARGE = [torch.arange(SMALL_BYTES, dtype=torch.float32)]


def name(number: int) -> bytes:
    return number.to_bytes(16, "big")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path)
    yield opened
    opened.close()


def same(ours: list[Tensor] | None, theirs: list[Tensor]) -> bool:
    return ours is not None and all(
        a.dtype == b.dtype and a.shape == b.shape and torch.equal(a, b) for a, b in zip(ours, theirs, strict=True)
    )


@pytest.mark.parametrize("value", [SMALL, LARGE, []], ids=["in the database", "in a file", "nothing at all"])
def test_what_comes_out_is_what_was_put_in(store: Store, value: list[Tensor], tmp_path: Path) -> None:
    assert name(1) not in store
    assert store.get(name(1)) is None
    store.put([(name(1), value)])
    assert name(1) in store
    assert same(store.get(name(1)), value)
    again = Store(tmp_path)
    assert name(1) in again
    assert same(again.get(name(1)), value)
    again.close()


def test_rows_of_a_stack_and_transposed_tensors_are_kept_by_value(store: Store) -> None:
    stack = torch.arange(24.0).reshape(2, 3, 4)
    store.put([(name(1), [stack[1], stack[0].T])])
    assert same(store.get(name(1)), [stack[1].clone(), stack[0].T.clone()])


def test_entries_of_other_processes_appear_at_a_refresh(store: Store, tmp_path: Path) -> None:
    other = Store(tmp_path)
    other.put([(name(1), SMALL)])
    other.close()
    store.refresh()
    assert name(1) in store
    assert same(store.get(name(1)), SMALL)


def rewrite(store: Store, column: str, change: Callable[[bytes], bytes]) -> None:
    """Change something in every row that has it."""
    with sqlite3.connect(store.folder / "entries.sqlite") as database:
        query = f"SELECT number, {column} FROM packs WHERE {column} IS NOT NULL"
        for number, content in database.execute(query).fetchall():
            database.execute(f"UPDATE packs SET {column} = ? WHERE number = ?", (change(content), number))
    database.close()


def damage_contents(store: Store) -> None:
    """Flip a bit of the last value in the database."""
    rewrite(store, "content", lambda content: bytes([*content[:-1], content[-1] ^ 1]))


def damage_directories(store: Store) -> None:
    rewrite(store, "directory", lambda directory: bytes([directory[0] ^ 1, *directory[1:]]))


def shorten_directories(store: Store) -> None:
    rewrite(store, "directory", lambda directory: directory[:-1])


def truncate_files(store: Store) -> None:
    """So that of the values in a pack only the first is left."""
    for file in (store.folder / "packs").iterdir():
        file.write_bytes(file.read_bytes()[: 4 * SMALL_BYTES + 100])


def delete_files(store: Store) -> None:
    for file in (store.folder / "packs").iterdir():
        file.unlink()


def swap_contents(store: Store) -> None:
    """Sound contents under another pack's name."""
    with sqlite3.connect(store.folder / "entries.sqlite") as database:
        rows = database.execute("SELECT number, content FROM packs WHERE content IS NOT NULL").fetchall()
        for (number, _), (_, content) in zip(rows, reversed(rows), strict=True):
            database.execute("UPDATE packs SET content = ? WHERE number = ?", (content, number))
    database.close()


@pytest.mark.parametrize(
    ("harm", "lost"),
    [
        (damage_contents, {2, 3}),
        (damage_directories, {1, 2, 3, 4, 5}),
        (shorten_directories, {1, 2, 3, 4, 5}),
        (truncate_files, {5}),
        (delete_files, {4, 5}),
        (swap_contents, {1, 2, 3}),
    ],
)
def test_damaged_entries_are_reported_once_and_forgotten(
    harm: Callable[[Store], None], lost: set[int], tmp_path: Path
) -> None:
    """What is sound beside them in the same pack stays."""
    values = {1: SMALL, 2: [torch.ones(2)], 3: [SMALL[0] + 1, *SMALL[1:]], 4: LARGE, 5: [torch.arange(100.0)]}
    first = Store(tmp_path)
    for together in ((1, 2), (3,), (4, 5)):
        first.put([(name(number), values[number]) for number in together])
    first.close()
    harm(first)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        store = Store(tmp_path)
        read = {number: store.get(name(number)) for number in values}
    assert [each.category for each in said] == [StoreDamage]
    for number, value in values.items():
        assert read[number] is None if number in lost else same(read[number], value)
        assert (name(number) in store) == (number not in lost)
    store.put([(name(number), values[number]) for number in lost])
    store.close()
    again = Store(tmp_path)  # without a word
    assert all(same(again.get(name(number)), value) for number, value in values.items())
    again.close()


def test_a_large_value_does_not_make_its_pack_endless(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pruning forgets whole packs, so what is put at once is divided."""
    monkeypatch.setattr(stores, "PACK_BYTES", SMALL_BYTES * 4)
    store.put([(name(number), LARGE) for number in range(5)])
    store.prune(store.info().size_bytes // 2)
    assert [name(number) in store for number in range(5)] == [False, False, False, True, True]


def test_what_a_killed_writer_has_left_is_swept_up(tmp_path: Path) -> None:
    first = Store(tmp_path)
    first.put([(name(1), LARGE)])
    left = [first.folder / "packs" / each for each in ("00" * 16, ".00.1234")]
    for file in left:
        file.write_bytes(b"a piece of a pack")
    assert same(first.get(name(1)), LARGE)
    first.prune(10**9)
    assert not any(file.exists() for file in left)
    assert same(first.get(name(1)), LARGE)
    first.close()


def test_the_files_of_a_lost_database_do_not_stay_forever(tmp_path: Path) -> None:
    first = Store(tmp_path)
    first.put([(name(1), LARGE)])
    first.close()
    (first.folder / "entries.sqlite").unlink()
    again = Store(tmp_path)
    assert name(1) not in again
    assert not list((again.folder / "packs").iterdir())
    again.close()


def test_two_processes_that_put_the_same_keep_one_copy(store: Store, tmp_path: Path) -> None:
    other = Store(tmp_path)
    for each in (store, other):
        each.put([(name(1), SMALL), (name(2), LARGE)])
    size = store.info().size_bytes
    other.prune(size)
    for each in (store, other):
        assert same(each.get(name(1)), SMALL)
        assert same(each.get(name(2)), LARGE)
    other.close()


def test_what_another_process_has_pruned_is_gone_and_no_damage(store: Store, tmp_path: Path) -> None:
    store.put([(name(1), LARGE)])
    other = Store(tmp_path)
    other.clear()
    other.close()
    assert store.get(name(1)) is None  # a warning would be an error
    assert name(1) not in store


@pytest.mark.parametrize("harm", ["garbage", "truncated", "deleted"])
def test_a_broken_database_is_started_anew(harm: str, tmp_path: Path) -> None:
    first = Store(tmp_path)
    first.put([(name(number), SMALL) for number in range(200)])
    first.close()
    file = first.folder / "entries.sqlite"
    if harm == "garbage":
        file.write_bytes(b"not a database" * 1000)
    elif harm == "truncated":
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    else:
        file.unlink()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", StoreDamage)
        store = Store(tmp_path)
        for number in range(200):
            value = store.get(name(number))
            assert value is None or same(value, SMALL)
        store.put([(name(1), LARGE)])
        assert same(store.get(name(1)), LARGE)
        store.close()


def test_a_database_that_breaks_while_it_is_open_costs_entries_and_nothing_else(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.put([(name(1), SMALL)])
    store.get(name(1))
    store._database.close()
    with pytest.warns(StoreDamage):
        assert store.get(name(1)) is None


def write_many(folder: Path, offset: int) -> None:
    store = Store(folder)
    for number in range(60):
        store.put([(name(number % 40), [torch.full((50,), float(number % 40))]), (name(1000 + offset + number), SMALL)])
    store.close()


def test_processes_may_write_at_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=write_many, args=(tmp_path, 100 * each)) for each in range(2)]
    try:
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
            assert writer.exitcode == 0
    finally:
        for writer in filter(lambda each: each.pid, writers):
            writer.kill()
            writer.join()
    store = Store(tmp_path)
    assert store.info().entries == 40 + 2 * 60
    assert all(same(store.get(name(number)), [torch.full((50,), float(number))]) for number in range(40))
    store.close()


def test_a_held_write_lock_is_waited_for_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores, "PATIENCE_S", 0.2)
    store = Store(tmp_path)
    store.put([(name(1), SMALL)])
    holder = sqlite3.connect(store.folder / stores.DATABASE, isolation_level=None)
    begun: list[str] = []
    store._database.set_trace_callback(lambda statement: begun.append(statement) if "BEGIN" in statement else None)
    holder.execute("BEGIN IMMEDIATE")
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        for number in range(2, 18):
            store.put([(name(number), SMALL)])
        assert same(store.get(name(1)), SMALL)
        store.close()
    assert ["database is locked" in str(each.message) for each in warned] == [True]
    assert len(begun) <= 1
    holder.execute("ROLLBACK")
    holder.close()


def test_a_store_that_is_forgotten_closes_its_database(tmp_path: Path) -> None:
    database = Store(tmp_path)._database
    gc.collect()
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        database.execute("SELECT 1")


def test_a_store_is_read_while_another_process_holds_the_write_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Opening it takes no such lock, so that a command that names it is not refused."""
    monkeypatch.setattr(stores, "PATIENCE_S", 0.2)
    before = Store(tmp_path)
    before.put([(name(1), SMALL)])
    before.close()
    holder = sqlite3.connect(before.folder / stores.DATABASE, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    store = Store(tmp_path)
    assert same(store.get(name(1)), SMALL)
    with pytest.warns(StoreDamage, match="database is locked"):
        store.put([(name(2), SMALL)])
    store.close()
    holder.execute("ROLLBACK")
    holder.close()


def test_the_database_of_another_program_is_moved_aside_once(tmp_path: Path) -> None:
    folder = tmp_path / f"format-{stores.FORMAT}"
    folder.mkdir()
    theirs = sqlite3.connect(folder / stores.DATABASE)
    theirs.execute("CREATE TABLE packs (id INTEGER, title TEXT)")
    theirs.execute("INSERT INTO packs VALUES (1, 'theirs')")
    theirs.commit()
    theirs.close()
    with pytest.warns(StoreDamage, match="of another program and is moved aside"):
        store = Store(tmp_path)
    store.put([(name(1), SMALL)])
    store.close()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = Store(tmp_path)
        assert same(again.get(name(1)), SMALL)
        again.close()
    kept = sqlite3.connect(folder / stores.FOREIGN)
    assert kept.execute("SELECT title FROM packs").fetchall() == [("theirs",)]
    kept.close()


def test_pruning_forgets_what_was_not_used_for_longest(tmp_path: Path) -> None:
    first = Store(tmp_path)
    for number in range(5):
        first.put([(name(number), LARGE)])
    first.close()
    second = Store(tmp_path)
    second.get(name(0))
    second.close()  # notes that entry 0 was used
    store = Store(tmp_path)
    size = store.info().size_bytes
    store.prune(size * 2 // 5)
    assert name(0) in store
    assert store.info().entries == 2
    assert len(list((store.folder / "packs").iterdir())) == 2
    store.clear()
    assert store.info().entries == 0
    assert not list((store.folder / "packs").iterdir())
    store.close()


def test_closing_keeps_to_the_limit(tmp_path: Path) -> None:
    store = Store(tmp_path, limit_bytes=3 * SMALL_BYTES * 4)
    for number in range(6):
        store.put([(name(number), LARGE)])
    store.close()
    again = Store(tmp_path)
    assert 0 < again.info().size_bytes <= 3 * SMALL_BYTES * 4
    again.close()


def test_a_folder_that_cannot_hold_a_store(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnusable, match="no store can be kept there"):
        Store(tmp_path / "file")
