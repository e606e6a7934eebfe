"""Seeds of single sources of randomness: each changes its own draws and no others."""

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from learning.store import Store
from scenarios import ScenarioError, load, simulate
from scenarios.result import Result


def ran(small: Path, **seeds: int) -> Result:
    """A run without fading, in which positions alone tell the network's seed."""
    changes: dict[str, Any] = {"learning.partition": {"name": "dirichlet", "alpha": 0.5}, "seed": seeds.pop("seed", 3)}
    return simulate(load(small, {**changes, **{f"seeds.{name}": value for name, value in seeds.items()}}))


def seen(result: Result) -> dict[str, Any]:
    """What tells the draws of each source: who has how many samples, where users are, and the first training loss."""
    users = result.frame("users")
    return {
        "partition": users["samples"].tolist(),
        "network": users["x_m"].tolist(),
        "learning": result.frame("evaluations")["value"].tolist(),
    }


@pytest.fixture(scope="module")
def seven(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("scenario") / "seven.yaml"
    file.write_text(
        "network: {users: {count: 3}}\n"
        "learning: {data: {name: digits, train_samples: 96, test_samples: 40}, batch_size: 16,"
        " scheme: {name: fedavg, local_steps: 1}, stop: {rounds: 1}}\n"
    )
    return file


def test_a_seed_for_each_source_is_the_seed_for_all(seven: Path) -> None:
    """And what they leave out follows `seed`, which nothing here draws from."""
    every = dict.fromkeys(("partition", "weights", "network", "batches"), 3)
    assert ran(seven, seed=8, **every).tables == ran(seven).tables


def test_the_seed_of_the_partition_moves_samples_only(seven: Path) -> None:
    before, after = seen(ran(seven)), seen(ran(seven, partition=4))
    assert before["partition"] != after["partition"]
    assert before["network"] == after["network"]
    assert seen(ran(seven, seed=4))["partition"] == after["partition"]


def test_the_seed_of_the_network_moves_users_and_leaves_learning_alone(seven: Path, tmp_path: Path) -> None:
    before, after = seen(ran(seven)), seen(ran(seven, network=4))
    assert before["network"] != after["network"]
    assert {**before, "network": None} == {**after, "network": None}
    assert seen(ran(seven, seed=4))["network"] == after["network"]


@pytest.mark.parametrize("source", ["weights", "batches"])
def test_the_seeds_of_weights_and_batches_change_learning_only(source: str, seven: Path) -> None:
    before, after = seen(ran(seven)), seen(ran(seven, **{source: 4}))
    assert before["learning"] != after["learning"]
    assert {**before, "learning": None} == {**after, "learning": None}


def test_weights_and_batches_are_held_still_apart(seven: Path) -> None:
    """With both seeds changed the run is neither of those with one of them changed."""
    values = [
        seen(ran(seven, **seeds))["learning"]
        for seeds in ({"weights": 4}, {"batches": 4}, {"weights": 4, "batches": 4})
    ]
    assert values[0] != values[1] != values[2] != values[0]


def test_another_network_executes_no_operation_again(seven: Path, tmp_path: Path) -> None:
    scenario = {"seed": 3, "learning.scheme": {"name": "fedavg", "local_steps": 1}}
    with closing(Store(tmp_path / "store")) as store:
        first = simulate(load(seven, scenario), store=store)
        again = simulate(load(seven, {**scenario, "seeds.network": 4}), store=store)
    assert first.operations["run"] > 0
    assert again.operations["run"] == 0


def test_adapters_are_drawn_by_the_seed_of_the_weights(seven: Path) -> None:
    def loss(**seeds: int) -> list[float]:
        changes = {
            "learning.model": {"name": "vit", "width": 8, "depth": 1, "heads": 2},
            "learning.adapter": {"rank": 2},
            **{f"seeds.{name}": seed for name, seed in seeds.items()},
        }
        return simulate(load(seven, {"seed": 3, **changes})).frame("evaluations")["value"].tolist()

    assert loss(weights=4) != loss()
    assert loss(weights=3) == loss()


def test_a_seed_is_a_whole_number_and_sources_are_known(seven: Path) -> None:
    with pytest.raises(ScenarioError, match=r"found -1; a whole number >= 0, or null is allowed"):
        load(seven, {"seeds.weights": -1})
    with pytest.raises(ScenarioError, match=r'unknown field "wieghts"; nearest is "weights"'):
        load(seven, {"seeds.wieghts": 1})
