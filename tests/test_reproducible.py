"""The same scenario and seed give the same tables, bit for bit; and nobody's draw depends on anybody else."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from processes import started
from runs import TINY, frame, hashes, run

ROOT = TINY.parents[1]


def tables_of_a_process(tmp_path: Path, out: str, cwd: Path, **environment: str) -> dict[str, Any]:
    """Content hashes of a run in a process of its own."""
    command = [sys.executable, "-m", "scenarios", "run", str(TINY), "-o", str(tmp_path / out), "--quiet", "--no-store"]
    settings = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    subprocess.run(command, cwd=cwd, env=settings, check=True, capture_output=True)
    written = json.loads((tmp_path / out / "run.json").read_text())
    return {name: table["sha256"] for name, table in written["tables"].items()}


@pytest.mark.slow
def test_threads_folder_and_load_change_nothing(tmp_path: Path) -> None:
    spin = "while True: sum(range(10_000))"
    with started("-c", spin), started("-c", spin):
        elsewhere = tables_of_a_process(tmp_path, "a", tmp_path, OMP_NUM_THREADS="4", MKL_NUM_THREADS="3")
    here = tables_of_a_process(tmp_path, "b", ROOT, OMP_NUM_THREADS="1", PYTHONHASHSEED="123")
    assert elsewhere == here == hashes(run())


def test_a_resolved_scenario_gives_the_same_tables(tmp_path: Path) -> None:
    tables_of_a_process(tmp_path, "a", ROOT)
    command = [sys.executable, "-m", "scenarios", "run", str(tmp_path / "a" / "scenario.yaml"), "--quiet", "--no-store"]
    subprocess.run([*command, "-o", str(tmp_path / "b")], cwd=ROOT, check=True, capture_output=True)
    first, second = (json.loads((tmp_path / each / "run.json").read_text())["tables"] for each in "ab")
    assert first == second


ALONE: dict[str, Any] = {  # users that share nothing: a part of the band each, and a server slot for everybody
    "network__sharing__uplink__scheduler": {"name": "fixed", "shares_of_users": [0.1] * 4},
    "network__sharing__downlink__scheduler": {"name": "fixed", "shares_of_users": [0.1] * 4},
    "compute__servers__slots": 8,
    "compute__stragglers__redraw": "job",
    "learning__scheme": {"name": "sfl_v1", "local_steps": 3},
    "learning__executor": "dry",
    "learning__stop__rounds": 1,
    "learning__partition": "iid",
}
OWN = ["user", "kind", "start_s", "end_s", "energy_j"]


def rows_of_users(table: pd.DataFrame, users: int, columns: list[str]) -> pd.DataFrame:
    """What the first users did, in an order that does not depend on who else was there."""
    own = table[table.user < users][columns]
    return own.sort_values(["user", "start_s", "kind"]).reset_index(drop=True)


def test_one_more_user_moves_nobody() -> None:
    more = {
        "network__users__count": 5,
        "network__sharing__uplink__scheduler": {"name": "fixed", "shares_of_users": [0.1] * 5},
        "network__sharing__downlink__scheduler": {"name": "fixed", "shares_of_users": [0.1] * 5},
    }
    four, five = run(**ALONE), run(**{**ALONE, **more})
    places = ["user", "x_m", "y_m", "path_loss_db", "flops_per_s"]
    pd.testing.assert_frame_equal(frame(four, "users")[places], frame(five, "users")[places].head(4))
    for table in ("transfers", "computations"):
        pd.testing.assert_frame_equal(
            rows_of_users(frame(four, table), 4, OWN), rows_of_users(frame(five, table), 4, OWN), check_exact=True
        )


def test_one_more_station_moves_nobody() -> None:
    """It stands too far away to be anybody's; every draw that names a station names it by its number."""
    stations = {"network__stations__placement": [[0.0, 0.0], [4000.0, 0.0]]}
    assert hashes(run(**ALONE)) == hashes(run(**ALONE, **stations))


@pytest.mark.parametrize("scheme", ["fedavg", "sl", "fedsl_pq"])
def test_another_scheme_meets_the_same_world(scheme: str) -> None:
    ours, theirs = run(), run(learning__scheme=scheme)
    pd.testing.assert_frame_equal(frame(ours, "users"), frame(theirs, "users"), check_exact=True)
    slow = [
        frame(each, "computations").query("node_kind == 'user'").groupby(["round", "user"]).slowdown.first()
        for each in (ours, theirs)
    ]
    pd.testing.assert_series_equal(*slow, check_exact=True, check_index_type=False)


def test_policy_and_network_leave_the_batches_alone() -> None:
    """Under a policy that drops nobody, another network changes the clock and not one evaluated value."""
    fast = run(network__sharing__uplink__bandwidth_mhz=50, compute__servers__flops_per_s=1e12)
    columns = ["round", "split", "metric", "value"]
    pd.testing.assert_frame_equal(
        frame(run(), "evaluations")[columns], frame(fast, "evaluations")[columns], check_exact=True
    )
    assert frame(run(), "rounds").end_s.max() > frame(fast, "rounds").end_s.max()
