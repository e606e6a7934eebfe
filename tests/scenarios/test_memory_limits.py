"""Devices that cannot hold their part of a model are refused, or left out."""

from pathlib import Path
from typing import Any

import pytest

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
    assert result.table("outages").to_pylist() == [{"user": 2, "start_s": 0.0, "end_s": None, "cause": "memory"}]
    absent = limited(network__faults__outages=[{"user": 2, "from_s": 0.0}])
    assert result.tables["transfers"] == absent.tables["transfers"]


def test_somebody_must_be_left() -> None:
    with pytest.raises(ScenarioError, match="no user is left"):
        limited(compute__devices__memory_bytes=1000, compute__devices__on_out_of_memory="exclude")
