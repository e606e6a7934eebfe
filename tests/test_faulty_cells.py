"""Runs in which devices are away: rounds wait for somebody, and end when nobody will ever come."""

from typing import Any

import pytest

from runs import frame, run

EVERYBODY = [{"user": user, "from_s": 0.0, "until_s": 2.0 + user} for user in range(4)]
SCHEMES = pytest.mark.parametrize("scheme", ["fedavg", "sl", "fedsl_pq"])


def faulty(outages: list[dict[str, Any]], **overrides: Any) -> Any:
    return run(network__faults__outages=outages, learning__executor="dry", **overrides)


@SCHEMES
def test_a_round_without_anybody_waits_for_the_first_to_return(scheme: str) -> None:
    result = faulty(EVERYBODY, learning__scheme=scheme)
    rounds, transfers = frame(result, "rounds"), frame(result, "transfers")
    assert rounds.participants[0] == 1
    assert rounds.dropped[0] == 3
    assert transfers.user[0] == 0
    assert min(transfers.start_s.min(), frame(result, "computations").start_s.min()) == 2.0
    path = frame(result, "critical_path").query("round == 0")
    assert path.cause[0] == "wait"
    assert path.duration_s[0] == 2.0
    assert path.duration_s.sum() == pytest.approx(rounds.latency_s[0])


@SCHEMES
def test_a_run_ends_when_nobody_will_ever_return(scheme: str) -> None:
    deaths = [{"user": user, "from_s": 0.01 * user} for user in range(4)]
    result = faulty(deaths, learning__scheme=scheme, learning__stop__rounds=1000)
    rounds = frame(result, "rounds")
    assert (result.status, result.devices_gone) == ("complete", 4)
    assert result.simulated_time_s == pytest.approx(0.03)
    assert rounds.participants.iloc[-1] == 0
    assert frame(result, "outages").end_s.isna().all()
    assert len(frame(result, "evaluations").query("metric == 'accuracy'")) == len(rounds)


@SCHEMES
def test_a_run_ends_with_the_last_battery(scheme: str) -> None:
    """Users begin with what a few rounds cost; in the end all of it is spent, to the last rounding error."""
    charges_j = [0.002, 0.004, 0.008, 0.0005]
    battery = {"capacity_j": charges_j}
    result = run(
        energy__battery=battery,
        learning__executor="dry",
        learning__scheme=scheme,
        learning__stop__rounds=1000,
    )
    energy, outages = frame(result, "energy"), frame(result, "outages")
    spent = energy.groupby("user")[["transmit_j", "receive_j", "compute_j", "idle_j"]].sum().sum(axis=1)
    assert spent.tolist() == pytest.approx(charges_j, rel=1e-9)
    assert sorted(outages.user) == [0, 1, 2, 3]
    assert set(outages.cause) == {"battery"}
    assert result.devices_gone == 4


def test_the_first_k_are_those_that_finish_not_those_that_go_away() -> None:
    policy = {"name": "first_k", "k": 2}
    result = faulty([{"user": 0, "from_s": 0.01}], learning__scheme="fedavg", learning__policy=policy)
    assert frame(result, "rounds").participants.tolist() == [2, 2, 2, 2]


def test_faults_move_no_draw() -> None:
    """Where nobody is hit, tables are those of a run without faults."""
    calm = run(learning__executor="dry")
    late = faulty([{"user": 0, "from_s": 1e6}])
    assert {name: table["sha256"] for name, table in calm.tables.items()} == {
        name: table["sha256"] for name, table in late.tables.items()
    }
