"""`netsim store`: inspect or prune the result cache."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scenarios.printing import print_rows
from scenarios.storage import existing, kept, size_in_bytes, size_in_words, store_folder

if TYPE_CHECKING:
    from learning.store import Store

app = typer.Typer(rich_markup_mode=None)

StoreFolder = Annotated[
    Path | None,
    typer.Option(
        "--store",
        metavar="DIR",
        help="Folder of the result cache [default: NETSIM_STORE, else a cache folder of the user].",
        show_default=False,
    ),
]
NoStore = Annotated[bool, typer.Option("--no-store", help="Disable the result cache.")]


@app.callback(invoke_without_command=True)
def help_(context: typer.Context) -> None:
    """Inspect or prune the result cache, which holds what earlier runs computed."""
    if context.invoked_subcommand is None:
        print(context.get_help())


@app.command()
def info(folder: StoreFolder = None) -> None:
    """Print where the result cache is and how much it holds."""
    with _found(folder) as store:
        held = store.info()
        rows = {
            "folder": str(store.folder),
            "entries": f"{held.entries}",
            "size": f"{size_in_words(held.size_bytes)} of at most {size_in_words(store.limit_bytes)}",
        }
        print_rows("store", rows)


@app.command()
def prune(
    folder: StoreFolder = None,
    limit: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE",
            help="Size, as in --limit 500MB [default: NETSIM_STORE_LIMIT, else 5 GB].",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Delete the least recently used results until the rest fits into a limit."""
    limit_bytes = None if limit is None else size_in_bytes(limit)
    with _found(folder) as store:
        before = store.info()
        store.prune(store.limit_bytes if limit_bytes is None else limit_bytes)
        after = store.info()
        deleted = size_in_words(before.size_bytes - after.size_bytes)
        print(f"{before.entries - after.entries} of {before.entries} entries deleted, {deleted}")


@app.command()
def clear(folder: StoreFolder = None) -> None:
    """Delete all results. Nothing is lost: a result is computed again when it is needed."""
    with _found(folder) as store:
        before = store.info()
        store.clear()
        print(f"{before.entries} entries deleted, {size_in_words(before.size_bytes)}")


@contextmanager
def _found(folder: Path | None) -> Iterator[Store]:
    """Open the result cache at `folder` (default as for a run). Raises ScenarioError if there is none."""
    where = store_folder(folder)
    assert where is not None
    with kept(existing(where)) as store:
        yield store
