"""Users who cannot do their part, for their memory or their budget, are in no round; all others are as if alone."""

from typing import Any

import numpy as np
import pytest

from runs import NEEDS, TINY, frame
from scenarios import ScenarioError, load, simulate
from scenarios.build import build
from scenarios.run import Result


def limited(name: str) -> dict[str, Any]:
    """The tiny scenario, in which user 0 of four cannot do its part."""
    scheme, _, configuration = name.partition(" ")
    if scheme == "memory":
        memory = {"compute.devices.memory_bytes": [1e3, 1e9, 1e9, 1e9], "compute.devices.on_out_of_memory": "exclude"}
        return {"learning.scheme": {"name": "sfl_v1", "local_steps": 1}, **memory}
    chosen = {"configuration": configuration} if configuration else {}
    needed = NEEDS[scheme]["learning.scheme"]
    scarce = {**needed["control"], **chosen, "budgets": [1e-4, 9.0, 9.0, 9.0]}
    return {**NEEDS[scheme], "learning.scheme": {**needed, "control": scarce}}


NAMES = ["memory", "hetlora", "hsplitlora adaptive", "hsplitlora uniform", "hsplitlora fixed"]
limits = pytest.mark.parametrize("name", NAMES)


def ran(overrides: dict[str, Any], **changed: Any) -> Result:
    more = {name.replace("__", "."): value for name, value in changed.items()}
    return simulate(load(TINY, {"learning.executor": "dry", "learning.stop.rounds": 6, **overrides, **more}))


@limits
def test_rounds_are_filled_from_those_who_can_work(name: str) -> None:
    result = ran(limited(name), learning__participants={"name": "round_robin", "count": 1})
    rounds, jobs = frame(result, "rounds"), frame(result, "computations").query("node_kind == 'user'")
    assert list(rounds.participants) == [1] * 6
    assert list(rounds.dropped) == [0] * 6
    assert list(jobs.groupby("round").user.unique().map(list)) == [[1], [2], [3]] * 2
    cause = "memory" if name == "memory" else "budget"
    assert result.table("outages").to_pylist() == [
        {"user": 0, "start_s": 0.0, "end_s": None, "cause": cause, "site": None}
    ]


@limits
def test_policies_count_those_who_can_work(name: str) -> None:
    over = {"name": "over_selection", "extra": 0.5}
    result = ran(limited(name), learning__participants={"name": "random", "count": 2}, learning__policy=over)
    assert list(frame(result, "rounds").participants) == [2] * 6
    assert list(frame(result, "rounds").dropped) == [1] * 6
    everybody = ran(limited(name), learning__policy={"name": "first_k", "k": 3})
    assert list(frame(everybody, "rounds").participants) == [3] * 6


@limits
@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("policy", {"name": "first_k", "k": 4}, "the policy waits for the first 4 users, but there are 3"),
        ("participants", {"name": "by_samples", "count": 4}, "4 users are to take part in a round, but there are 3"),
        ("policy", {"name": "over_selection", "extra": 0.3}, "the policy asks 4 users so that 3 take part in a round"),
    ],
)
def test_more_than_can_work_are_refused(name: str, field: str, value: dict[str, Any], said: str) -> None:
    three = {"learning.participants": {"name": "random", "count": 3}} if "over" in str(value) else {}
    with pytest.raises(ScenarioError, match=rf"learning\.{field}: {said}.*; 1 of 4 users are excluded"):
        build(load(TINY, {**limited(name), **three, f"learning.{field}": value}))


@pytest.mark.parametrize("name", NAMES[1:])
def test_a_budget_that_nobody_can_keep_to_is_refused(name: str) -> None:
    overrides = limited(name)
    overrides["learning.scheme"]["control"]["budgets"] = [1e-4]
    with pytest.raises(ScenarioError, match=r"learning\.scheme: no user's budget is enough"):
        build(load(TINY, overrides))


def test_nobody_is_left_of_those_whose_budget_or_memory_is_too_small() -> None:
    overrides = limited("hetlora")
    overrides["learning.scheme"]["control"]["budgets"] = [1e-4, 1e-4, 9.0, 9.0]
    memory = {"compute.devices.memory_bytes": [1e9, 1e9, 1e3, 1e3], "compute.devices.on_out_of_memory": "exclude"}
    with pytest.raises(ScenarioError, match=r"learning\.scheme: no user is left who can take part"):
        build(load(TINY, {**overrides, **memory}))


def test_memory_is_a_budget_of_its_own() -> None:
    """Where no other is given; who has too little for the least rank is left out, and refused by nobody."""
    overrides = limited("hetlora")
    del overrides["learning.scheme"]["control"]["budgets"]
    result = ran({**overrides, "compute.devices.memory_bytes": [1e3, 1e9, 1e9, 1e9]})
    assert [row["cause"] for row in result.table("outages").to_pylist()] == ["budget"]
    assert list(frame(result, "rounds").participants) == [3] * 6


def test_memory_of_users_that_take_part_later() -> None:
    """All users are looked at, whoever is in the first round."""
    memory = {"compute.devices.memory_bytes": [1e9, 1e9, 1e3, 1e9]}
    one = {"learning.participants": {"name": "round_robin", "count": 1}}
    with pytest.raises(ScenarioError, match="user 2 has 1000 bytes"):
        build(load(TINY, {**memory, **one}))


def test_a_cell_whose_last_user_dies_ends() -> None:
    """All die when the first of them has handed in: nobody who was left out is asked in place of the dead."""
    uploads = frame(ran(limited("hetlora")), "transfers").query("round == 0 and direction == 'up'").end_s
    gone = [{"user": user, "from_s": float(uploads.nsmallest(2).mean())} for user in (1, 2, 3)]
    result = ran(limited("hetlora"), network__faults={"outages": gone})
    assert result.status == "complete"
    assert frame(result, "rounds")[["participants", "dropped"]].to_numpy().tolist() == [[1, 2], [0, 3]]


def test_asynchronous_users_come_from_those_who_can_work() -> None:
    result = ran(
        limited("memory"),
        learning__policy={"name": "asynchronous"},
        learning__participants={"name": "round_robin", "count": 2},
    )
    users = frame(result, "computations").query("node_kind == 'user'").user
    assert set(np.unique(users)) <= {1, 2, 3}
    assert len(frame(result, "rounds").query("participants == 1")) == 6
