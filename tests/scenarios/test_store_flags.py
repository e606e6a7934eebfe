"""The store on the command line: which one is used, what a run reports of it, and that it changes no table."""

import json
from pathlib import Path
from typing import Any

import pytest
from platformdirs import user_cache_path

import scenarios.storage
from learning.store import Store
from scenarios import ScenarioError
from scenarios.storage import size_in_bytes, size_in_words, store_folder


def record(run: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((run / "run.json").read_text())
    return content


def entries(folder: Path) -> int:
    store = Store(folder)
    try:
        return store.info().entries
    finally:
        store.close()


def size_bytes(folder: Path) -> int:
    store = Store(folder)
    try:
        return store.info().size_bytes
    finally:
        store.close()


def test_the_second_run_learns_nothing(small: Path, tmp_path: Path, netsim) -> None:
    """Nor does one in another network; and neither without a store nor with one is any table different."""
    runs = {"first": [], "again": [], "network": ["--set", "network.sharing.uplink.bandwidth_mhz=1"]}
    for name, settings in runs.items():
        assert netsim("run", small, "-o", tmp_path / name, *settings).code == 0
        assert netsim("run", small, "-o", tmp_path / f"{name}-alone", "--no-store", *settings).code == 0
    first, again, network = (record(tmp_path / name)["operations"] for name in runs)
    assert first["run"] > 0
    assert first["stored"] == 0
    assert again["run"] == network["run"] == 0
    assert again["stored"] == network["stored"] > 0
    assert first["asked"] == again["asked"] == network["asked"]
    for name in runs:
        alone = record(tmp_path / f"{name}-alone")
        assert alone["tables"] == record(tmp_path / name)["tables"]
        assert alone["operations"]["stored"] == 0
    assert record(tmp_path / "network")["tables"]["rounds"] != record(tmp_path / "first")["tables"]["rounds"]


def test_the_summary_says_what_the_store_saved(small: Path, tmp_path: Path, netsim) -> None:
    for _ in range(2):
        out = netsim("run", small, "-o", tmp_path / "run").out
    said = record(tmp_path / "run")["operations"]
    assert f"0 executed of {said['asked']} requested, {said['stored']} from cache" in out


def test_options_come_before_the_environment_and_that_before_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NETSIM_STORE", "/from/environment")
    assert store_folder(Path("/given")) == Path("/given")
    assert store_folder(None) == Path("/from/environment")
    assert store_folder(None, without=True) is None
    monkeypatch.setenv("NETSIM_STORE", "")
    assert store_folder(None) == user_cache_path("netsim")
    monkeypatch.delenv("NETSIM_STORE")
    assert store_folder(None) == user_cache_path("netsim")


def test_the_store_is_where_the_option_says(small: Path, tmp_path: Path, store: Path, netsim) -> None:
    assert netsim("run", small, "-o", tmp_path / "a", "--store", tmp_path / "mine").code == 0
    assert entries(tmp_path / "mine") > 0
    assert not list(store.iterdir())
    assert netsim("run", small, "-o", tmp_path / "b", "--no-store").code == 0
    assert not list(store.iterdir())


def test_both_options_are_refused(small: Path, tmp_path: Path, netsim) -> None:
    said = netsim("run", small, "--store", tmp_path, "--no-store")
    assert said == (2, "", "netsim: --store and --no-store exclude each other; give one of them\n")


@pytest.mark.parametrize("command", ["run", "sweep"])
def test_a_folder_that_cannot_hold_a_store_is_refused(command: str, small: Path, tmp_path: Path, netsim) -> None:
    file = small
    if command == "sweep":
        file = tmp_path / "study.yaml"
        file.write_text("base: small.yaml\nlist: [{}]\n")
    code, out, err = netsim(command, file, "-o", tmp_path / "out", "--store", small)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"{small}: no store can be kept there (")
    assert err.endswith("name another folder with --store, or use --no-store\n")
    assert not (tmp_path / "out").exists()


def test_a_cache_folder_that_nobody_asked_for_stops_nobody(
    small: Path, tmp_path: Path, netsim, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NETSIM_STORE")
    monkeypatch.setattr(scenarios.storage, "user_cache_path", lambda *_, **__: small)
    code, _, err = netsim("run", small, "-o", tmp_path / "run", "--quiet")
    assert (code, err.count("\n")) == (0, 1)
    assert err.endswith("; the result cache is not used\n")


def test_damage_is_one_plain_line(small: Path, tmp_path: Path, store: Path, netsim) -> None:
    netsim("run", small, "-o", tmp_path / "a")
    (database,) = store.rglob("entries.sqlite")
    database.write_bytes(b"no database" * 1000)
    for beside in store.rglob("entries.sqlite-*"):
        beside.unlink()
    code, _, err = netsim("run", small, "-o", tmp_path / "b")
    assert (code, err.count("\n")) == (0, 1)
    assert err.startswith(f"store {store}")
    assert record(tmp_path / "a")["tables"] == record(tmp_path / "b")["tables"]
    assert netsim("run", small, "-o", tmp_path / "c").err == ""  # the new database is sound


def test_store_info_prune_and_clear(small: Path, tmp_path: Path, store: Path, netsim) -> None:
    netsim("run", small, "-o", tmp_path / "run")
    held = entries(store)
    said = netsim("store", "info")
    assert said.code == 0
    cells = [line.split() for line in said.out.splitlines()]
    assert [line[1].startswith(str(store)) for line in cells if line[0] == "folder"] == [True]
    assert ["entries", str(held)] in cells
    assert netsim("store", "prune", "--limit", "1 TB").out == f"0 of {held} entries deleted, 0 bytes\n"
    out = netsim("store", "prune", "--limit", f"{3 * size_bytes(store) // 4}").out
    assert 0 < entries(store) < held
    assert out.startswith(f"{held - entries(store)} of {held} entries deleted, ")
    left = entries(store)
    assert netsim("store", "clear", "--store", store).out.startswith(f"{left} entries deleted, ")
    assert entries(store) == 0


@pytest.mark.parametrize("command", ["info", "prune", "clear"])
def test_a_folder_without_a_store_is_left_alone(command: str, tmp_path: Path, netsim) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("years of work")
    for folder in (tmp_path / "thesis", tmp_path / "nowhere"):
        said = netsim("store", command, "--store", folder)
        assert said == (2, "", f"{folder}: found no store there; name the folder of one with --store\n")
    assert [file.name for file in (tmp_path / "thesis").iterdir()] == ["chapter.tex"]
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [("0", 0), ("1000", 1000), ("500MB", 500 * 10**6), ("1.5 GB", 1.5e9), ("2g", 2 * 10**9), ("3 kb", 3000)],
)
def test_sizes(text: str, size_bytes: float) -> None:
    assert size_in_bytes(text) == size_bytes


@pytest.mark.parametrize("text", ["", "much", "-1", "1 PB", "1e9", "5 5", "GB"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ScenarioError, match=r"^netsim: --limit: found "):
        size_in_bytes(text)


def test_the_environment_sets_the_limit(small: Path, tmp_path: Path, netsim, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "store"
    monkeypatch.setenv("NETSIM_STORE", str(folder))
    monkeypatch.setenv("NETSIM_STORE_LIMIT", "2 TB")
    assert netsim("run", small, "-o", tmp_path / "large").code == 0
    assert entries(folder)
    assert "of at most 2 TB" in netsim("store", "info").out
    monkeypatch.setenv("NETSIM_STORE_LIMIT", "1kB")
    assert netsim("run", small, "-o", tmp_path / "little", "--set", "seed=9").code == 0
    assert size_bytes(folder) <= 1000


@pytest.mark.parametrize("folder", ["named", None])
def test_a_limit_that_is_no_size_is_refused(
    folder: str | None, small: Path, tmp_path: Path, netsim, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the user's own cache folder is used, without which a run would do."""
    monkeypatch.setenv("NETSIM_STORE_LIMIT", "plenty")
    monkeypatch.delenv("NETSIM_STORE")
    monkeypatch.setattr(scenarios.storage, "user_cache_path", lambda *_, **__: tmp_path / "cache")
    where = [] if folder is None else ["--store", tmp_path / folder]
    code, out, err = netsim("run", small, "-o", tmp_path / "run", *where)
    said = 'netsim: NETSIM_STORE_LIMIT: found "plenty"; a size such as 500MB or 2GB is allowed\n'
    assert (code, out, err) == (2, "", said)
    assert not (tmp_path / "run").exists()


def test_sizes_in_words() -> None:
    words = [size_in_words(size) for size in (0, 999, 1000, 1_234_567, 5 * 10**9, 7 * 10**15)]
    assert words == ["0 bytes", "999 bytes", "1 kB", "1.23 MB", "5 GB", "7e+03 TB"]


def test_help_of_the_store(netsim) -> None:
    assert "Commands:" in netsim("store").out
