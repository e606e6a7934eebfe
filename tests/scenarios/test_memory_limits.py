"""Devices that cannot hold their part of a model are refused, or left out."""

from pathlib import Path
from typing import Any

import pytest

from runs import NEEDS
from scenarios import ScenarioError, load, simulate
from scenarios.run import Result

TINY = Path(__file__).parents[1] / "tiny.yaml"


def limited(**overrides: Any) -> Result:
    changes = {name.replace("__", "."): value for name, value in overrides.items()}
    return simulate(load(TINY, {"learning.executor": "dry", "learning.stop.rounds": 2, **changes}))


@pytest.fixture(scope="module")
def largest() -> dict[int, int]:
    jobs = limited().table("computations").to_pandas().query("node_kind == 'user'")
    return jobs.groupby("user").memory_bytes.max().to_dict()


def test_what_fits_changes_nothing(largest: dict[int, int]) -> None:
    exact = limited(compute__devices__memory_bytes=[largest[user] for user in range(4)])
    assert exact.tables == limited().tables


def test_a_byte_too_few_is_refused_with_both_numbers(largest: dict[int, int]) -> None:
    memory = [largest[user] - (user > 1) for user in range(4)]
    with pytest.raises(ScenarioError) as refused:
        limited(compute__devices__memory_bytes=memory)
    assert str(refused.value) == (
        f"compute.devices.memory_bytes: user 2 has {memory[2]:.15g} bytes, and its largest job takes {largest[2]}; "
        "2 of 4 users have too little; with on_out_of_memory: exclude such users are excluded"
    )


def test_left_out(largest: dict[int, int]) -> None:
    """The others' round is that of a world in which the user never was there."""
    memory = [largest[user] - (user == 2) for user in range(4)]
    result = limited(compute__devices__memory_bytes=memory, compute__devices__on_out_of_memory="exclude")
    assert set(result.table("computations")["user"].to_pylist()) - {None} == {0, 1, 3}
    assert result.table("outages").to_pylist() == [
        {"user": 2, "start_s": 0.0, "end_s": None, "cause": "memory", "site": None}
    ]
    absent = limited(network__faults__outages=[{"user": 2, "from_s": 0.0}])
    assert result.tables["transfers"] == absent.tables["transfers"]


def test_somebody_must_be_left() -> None:
    with pytest.raises(ScenarioError, match="no user is left"):
        limited(compute__devices__memory_bytes=1000, compute__devices__on_out_of_memory="exclude")


DROP = {"compute__devices__on_out_of_memory": "drop"}


def test_dropped_from_each_round_at_the_job_that_does_not_fit(largest: dict[int, int]) -> None:
    """The user receives what a round begins with, computes nothing that does not fit, and uploads no model."""
    scheme = {"learning__scheme": "fedavg"}
    plain = limited(**scheme)
    jobs = plain.table("computations").to_pandas().query("node_kind == 'user'")
    needed = jobs.groupby("user").memory_bytes.max().to_dict()
    memory = [needed[user] - (user == 2) for user in range(4)]
    result = limited(compute__devices__memory_bytes=memory, **DROP, **scheme)
    rounds = result.table("rounds").to_pandas()
    assert rounds.participants.tolist() == [3, 3]
    assert rounds.dropped.tolist() == [1, 1]
    outages = result.table("outages").to_pandas()
    transfers = result.table("transfers").to_pandas()
    received = transfers.query("user == 2 and direction == 'down'")
    assert outages[["user", "cause"]].to_numpy().tolist() == [[2, "memory"]] * 2
    assert outages.start_s.tolist() == outages.end_s.tolist() == received.end_s.tolist()
    assert len(transfers.query("user == 2")) == len(received) == 2
    assert set(result.table("computations").to_pandas().query("node_kind == 'user'")["user"]) == {0, 1, 3}


def test_who_has_memory_enough_is_never_dropped(largest: dict[int, int]) -> None:
    exact = limited(compute__devices__memory_bytes=[largest[user] for user in range(4)], **DROP)
    assert exact.tables == limited().tables


@pytest.mark.parametrize("scheme", ["fedsl_pq", "local", "sfl", "sl", "tsflora"])
def test_every_scheme_goes_on_without_whom_it_drops(scheme: str) -> None:
    needs = {"learning.scheme": scheme, **NEEDS.get(scheme, {})}
    setting = {name.replace(".", "__"): value for name, value in needs.items()}
    jobs = limited(**setting).table("computations").to_pandas().query("node_kind == 'user'")
    needed = jobs.groupby("user").memory_bytes.max().to_dict()
    memory = [needed[user] - (user == 3) for user in range(4)]
    result = limited(compute__devices__memory_bytes=memory, **DROP, **setting)
    assert result.status == "complete"
    outages = result.table("outages").to_pandas()
    assert set(outages.user) == {3}
    assert set(outages.cause) == {"memory"}
    assert result.table("rounds").to_pandas().dropped.min() >= 1


def test_there_must_be_rounds_to_be_dropped_from() -> None:
    with pytest.raises(ScenarioError, match=r"on_out_of_memory: drop needs a policy in rounds"):
        limited(learning__policy="asynchronous", learning__scheme="fedavg", **DROP)
    with pytest.raises(ScenarioError, match="no user is left"):
        limited(compute__devices__memory_bytes=1000, **DROP)
