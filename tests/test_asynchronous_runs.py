"""Asynchronous policies in whole runs: throughput by renewal theory, what-if runs, refusals, and faults."""

from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from learning.schemes import SCHEMES
from learning.store import Store
from runs import FAULTS, TINY, TRAINED, frame, hashes, policy, run
from scenarios import ScenarioError, load, simulate
from scenarios.run import Result

IN_ROUNDS = sorted(name for name in TRAINED if not SCHEMES[name].asynchronous)
FEDAVG: dict[str, Any] = {"learning__scheme": "fedavg", **policy("asynchronous", "fedavg")}
ALONE: dict[str, Any] = {  # users that share nothing and meet no fading, and a server that takes no time
    "network__sharing__uplink__scheduler": {"name": "fixed"},
    "network__sharing__downlink__scheduler": {"name": "fixed"},
    "network__channel__fading": "none",
    "compute__servers__flops_per_s": 1e15,
    "compute__stragglers__redraw": "job",
    "learning__scheme": {"name": "fedavg", "local_steps": 1},
    "learning__executor": "dry",
    "learning__evaluate_every": 1000,
}


def test_throughput_follows_renewal_theory() -> None:
    """Turns of a user are a renewal process, so N(t) is about normal with mean t / m and variance t s^2 / m^3.

    A slowdown is 1 + Exp(2): mean 1.5, standard deviation 0.5. The sum over users must lie within four standard
    deviations (which a right one misses once in 16,000 times), and one of each user for beginning in the midst of it.
    """
    time_s = 10.0
    result = run(**ALONE, **policy("asynchronous", "fedavg"), learning__stop={"time_s": time_s})
    transfers, jobs, rounds = (frame(result, name) for name in ("transfers", "computations", "rounds"))
    done = transfers[transfers.lost == 0].groupby(["user", "direction"]).airtime_s
    assert done.std().max() < 1e-9
    nominal_s = (jobs.service_s / jobs.slowdown)[jobs.node_kind == "user"].groupby(jobs.user).median()
    mean_s = done.mean().groupby("user").sum() + 1.5 * nominal_s
    expected = (time_s / mean_s).sum()
    deviation = sqrt((time_s * (0.5 * nominal_s) ** 2 / mean_s**3).sum())
    assert expected > 500
    assert abs(len(rounds) - expected) < 4 * deviation + len(mean_s)
    assert 4 * deviation + len(mean_s) < 0.1 * expected


@pytest.mark.parametrize("by", ["asynchronous", "buffered"])
@pytest.mark.parametrize("scheme", IN_ROUNDS)
def test_schemes_that_go_in_rounds_refuse(scheme: str, by: str) -> None:
    with pytest.raises(ScenarioError, match="the scheme is synchronous, the policy is not; wait_for_all, deadline"):
        load(TINY, {"learning.scheme": scheme, "learning.policy": by})


def stored(store: Path, **overrides: Any) -> Result:
    opened = Store(store)
    try:
        return simulate(load(TINY, {name.replace("__", "."): value for name, value in overrides.items()}), store=opened)
    finally:
        opened.close()


def versions(result: Result) -> dict[int, list[float]]:
    """The versions that each user downloaded and used, whose names tell who was merged with whom."""
    rows = frame(result, "decisions")
    return {int(user): own.value.tolist() for user, own in rows.groupby("user")}


@pytest.mark.parametrize("scheme", ["fedavg", "fedprox"])
def test_what_if_runs_only_what_the_new_timing_changed(scheme: str, tmp_path: Path) -> None:
    setting = {"learning__scheme": scheme, **policy("buffered", scheme), "learning__stop__rounds": 8}
    first = stored(tmp_path, **setting)
    same = stored(tmp_path, **setting, network__channel__noise_dbm_per_hz=-173.999, energy__idle_power_w=0.3)
    assert versions(same) == versions(first)  # a hair of difference, and models still come in the same order
    assert frame(same, "rounds").end_s.iloc[-1] != frame(first, "rounds").end_s.iloc[-1]
    assert same.operations["run"] == 0 < same.operations["stored"]
    other = stored(tmp_path, **setting, compute__stragglers__slowdown="none")
    alone = run(**setting, compute__stragglers__slowdown="none")
    assert versions(other) != versions(first)
    assert 0 < other.operations["run"] < alone.operations["run"]
    assert hashes(other) == hashes(alone)


def test_a_device_that_goes_away_loses_its_work_and_begins_anew_when_it_is_back() -> None:
    outages = [{"user": 1, "from_s": 0.02, "until_s": 0.06}, {"user": 2, "from_s": 0.03}]
    result = run(**FEDAVG, learning__stop__rounds=30, network__faults={"outages": outages})
    rows = frame(result, "decisions")
    downloads, used = (rows[rows.name == f"weights_{what}"] for what in ("downloaded", "used"))
    rounds, transfers = frame(result, "rounds"), frame(result, "transfers")
    assert (rounds.participants == 1).all()
    assert rounds.dropped.sum() == 2
    begun = transfers[(transfers.direction == "down") & (transfers.user == 1)].start_s.to_numpy()
    assert 0.06 in begun
    assert not ((begun >= 0.02) & (begun < 0.06)).any()
    assert transfers[transfers.user == 2].end_s.max() == 0.03
    assert set(downloads.user) == {0, 1, 2, 3}
    assert len(used) <= len(downloads)


@pytest.mark.parametrize("by", ["asynchronous", "buffered"])
def test_a_run_ends_when_everybody_is_gone(by: str) -> None:
    outages = [{"user": user, "from_s": 0.05 + 0.01 * user} for user in range(4)]
    result = run(
        learning__scheme="sfl_v2",
        **policy(by, "sfl_v2"),
        learning__stop__rounds=500,
        network__faults={"outages": outages},
    )
    rounds = frame(result, "rounds")
    assert result.status == "complete"
    assert 0 < len(rounds) < 500
    assert rounds.participants.iloc[-1] == 0
    assert (rounds.participants.iloc[:-1] > 0).all()


def test_runs_with_faults_repeat() -> None:
    setting = {**FEDAVG, "network__faults": FAULTS, "learning__stop__rounds": 12}
    assert hashes(run(**setting)) == hashes(run(**setting, name="again"))
    assert np.isfinite(frame(run(**setting), "rounds").staleness_mean).all()
