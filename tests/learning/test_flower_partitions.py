"""Partitions by the partitioners of Flower Datasets."""

import sys
from typing import Any

import numpy as np
import pytest
from named_streams import NamedStreams

from learning.data.flower_partition import FlowerPartition
from runs import TINY
from scenarios import load, simulate

pytestmark = pytest.mark.filterwarnings("ignore:Specifying null_placement:FutureWarning")  # of datasets on new pyarrow
LABELS = np.random.Generator(np.random.Philox(key=0)).integers(0, 10, 1000)


def test_without_the_library_there_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "flwr_datasets.partitioner", None)
    with pytest.raises(ValueError, match=r"pip install 'netsim-learning\[flower-datasets\]'"):
        FlowerPartition("IidPartitioner").split(LABELS, 4, NamedStreams(1))


@pytest.fixture
def library() -> Any:
    return pytest.importorskip("flwr_datasets.partitioner", reason="the extra flower-datasets is not installed")


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize(
    ("partitioner", "settings"),
    [
        ("IidPartitioner", {}),
        ("DirichletPartitioner", {"alpha": 0.5}),
        ("ShardPartitioner", {"num_shards_per_partition": 2}),
        ("SquarePartitioner", {}),
    ],
)
def test_every_sample_has_one_owner(partitioner: str, settings: dict[str, Any]) -> None:
    law = FlowerPartition(partitioner, settings)
    parts = law.split(LABELS, 5, NamedStreams(1))
    assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(1000))
    assert all(np.array_equal(part, np.sort(part)) for part in parts)
    again = law.split(LABELS, 5, NamedStreams(1))
    assert all(np.array_equal(one, other) for one, other in zip(parts, again, strict=True))


@pytest.mark.usefixtures("library")
@pytest.mark.filterwarnings("ignore:Classes. .* will NOT be used:UserWarning")
def test_classes_are_those_of_the_partitioner_and_change_with_the_seed() -> None:
    law = FlowerPartition("PathologicalPartitioner", {"num_classes_per_partition": 2})
    parts = law.split(LABELS, 5, NamedStreams(1))
    assert [len(np.unique(LABELS[part])) for part in parts] == [2] * 5
    assert any(
        not np.array_equal(one, other) for one, other in zip(parts, law.split(LABELS, 5, NamedStreams(2)), strict=True)
    )
    given = FlowerPartition("PathologicalPartitioner", {"num_classes_per_partition": 2, "seed": 7})
    first, second = (given.split(LABELS, 5, NamedStreams(seed)) for seed in (1, 2))
    assert all(np.array_equal(one, other) for one, other in zip(first, second, strict=True))


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize(
    ("partitioner", "settings", "sentence"),
    [
        ("Dirichlet", {}, r"has no Dirichlet; did you mean DirichletPartitioner\?"),
        ("Partitioner", {}, r"has no Partitioner; did you mean"),
        ("DirichletPartitioner", {"alpah": 1.0}, r"has no argument alpah; did you mean alpha\?"),
        ("DirichletPartitioner", {"alpha": -1.0}, r"DirichletPartitioner \w+ .*[Aa]lpha"),
        ("DirichletPartitioner", {}, r"refuses its arguments: .*alpha"),
        ("NaturalIdPartitioner", {}, r"makes 10 partitions for 4 users"),
        ("IidPartitioner", {"num_partitions": 5}, r"makes 5 partitions for 4 users"),
    ],
)
def test_what_cannot_be_is_a_sentence(partitioner: str, settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        FlowerPartition(partitioner, settings).split(LABELS, 4, NamedStreams(1))


@pytest.mark.usefixtures("library")
def test_a_scenario_names_it() -> None:
    law = {"name": "flower", "partitioner": "DirichletPartitioner", "settings": {"alpha": 1.0, "min_partition_size": 5}}
    result = simulate(load(TINY, {"learning.partition": law, "learning.stop.rounds": 1}))
    assert result.status == "complete"
