"""Random damage to the files of a run, a result cache and a recording: a sentence, or the right tables."""

import shutil
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from harm import harmed
from tries import draws, tries

import analysis
from analysis import report
from learning.store import Store, StoreDamage, StoreUnusable
from runs import TINY, frame, hashes
from scenarios import ScenarioError, load, simulate

REFUSALS = (
    analysis.DamagedRun,
    analysis.NotARun,
    analysis.NotComparable,
    analysis.NotRecorded,
    analysis.NoSuchTable,
)
SETTINGS = {"learning.stop.rounds": 2}
RATES = {"name": "table", "time_column": "t_s", "rate_column": "mbps", "unit_bps": 1e6, "start": "random"}


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run and the result cache that it has filled."""
    folder = tmp_path_factory.mktemp("whole")
    store = Store(folder / "store")
    simulate(load(TINY, SETTINGS), out=folder / "run", store=store)
    store.close()
    return folder


@tries(300)
def test_storm_of_damaged_runs(number: int, whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole / "run", tmp_path / "run")
    what = harmed(tmp_path / "run", draws("damaged runs", number))
    for command in (
        lambda run: report.write(run),
        lambda run: analysis.load(run).describe(),
        lambda run: analysis.compare([run, whole / "run"]),
    ):
        try:
            command(tmp_path / "run")
        except REFUSALS as refusal:
            said = str(refusal)
        else:
            said = ""
        assert "\n" not in said, what


@tries(100)
def test_storm_of_damaged_stores(number: int, whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole / "store", tmp_path / "store")
    what = harmed(tmp_path / "store", draws("damaged stores", number))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", StoreDamage)
        try:
            store = Store(tmp_path / "store")
        except StoreUnusable as refused:
            assert "a folder" in what, what  # in the place of the database
            refusal = str(refused)
        else:
            refusal = ""
            result = simulate(load(TINY, SETTINGS), store=store)
            store.close()
            assert hashes(result) == hashes(simulate(load(TINY, SETTINGS))), what
    assert "\n" not in refusal


@tries(100)
def test_storm_of_damaged_recordings(number: int, tmp_path: Path) -> None:
    rng = draws("damaged recordings", number)
    times_s = np.arange(100) * 0.1
    recording = pd.DataFrame({"t_s": times_s, "mbps": rng.uniform(0.5, 5, len(times_s))})
    (tmp_path / "files").mkdir()
    if number % 2:
        file = tmp_path / "files" / "rates.csv"
        recording.to_csv(file, index=False)
    else:
        file = tmp_path / "files" / "rates.parquet"
        recording.to_parquet(file)
    what = harmed(tmp_path / "files", rng)
    refusal = ""
    try:
        settings = {"learning.executor": "dry", "network.channel.uplink_recording": {**RATES, "file": str(file)}}
        result = simulate(load(TINY, {**SETTINGS, **settings}))
    except ScenarioError as refused:
        refusal = str(refused)
    else:
        assert np.isfinite(frame(result, "rounds").end_s).all(), what
    assert "\n" not in refusal, what
