"""A small model learns and a large one is charged: row by row, what the scheme does with the large one itself."""

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from learning import charge
from learning.data import Dataset, Digits
from learning.schemes import SCHEMES
from runs import MULTIMODAL, NEEDS, TINY, TRAINED, frame
from scenarios import load, simulate
from scenarios.run import Result

SMALL = {"name": "vit", "class_token": True, "patch": 2, "width": 16, "depth": 2, "heads": 2, "expansion": 2}
LARGE = {"name": "vit", "class_token": True, "patch": 4, "width": 32, "depth": 4, "heads": 4, "expansion": 3}
EXPERTS = {"small": {"count": 3, "top_k": 1}, "large": {"count": 5, "top_k": 2}}
"""Of the models of schemes that need some."""
CUTS = {"small": 2, "large": 3}
"""Behind half of the layers."""
DECIDED: dict[str, dict[str, Any]] = {
    "hsplitlora": {"control": {"configuration": "fixed", "budgets": [9.0]}},
    "hetlora": {"control": {"budgets": [9.0]}},
    "hfedmoe": {"selection": "all", "tau": 0},
    "fedsl_pq": {"interval": 2, "dropout": {"rate": 0.4, "granularity": "channel"}},
}
"""What makes decisions about either model the same, and the same tokens drop out."""
SCALARS = {"aggregation", "scalars", "seeds"}
ALIKE = {
    "genfl": {"histogram", "generation"},
    "st_sflora": {"allocation", "importance"},
    "ho_sfl": SCALARS,
    "zo_sfl": SCALARS,
}
"""Kinds of messages and jobs that are as large for any model of as many tokens."""
VARIANTS: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in TRAINED if name not in MULTIMODAL),
    ("fedsl_pq", {"masks_at": "server", "pruning": {"granularity": "channel"}}),
    ("fedsl_pq", {"quantise_cut_gradient": True, "mask_coding": "bitmap", "server_mode": "per_client"}),
    ("hsplitlora", {"control": {"configuration": "uniform", "budgets": [9.0], "importance": "uniform"}}),
    ("sfl", {"interval": 2, "link": {"activations": "uniform"}}),
    ("sflam", {"control": {"solver": "joint", "ranges": "equal"}}),
    ("st_sflora", {"delivers_model": True, "control": {"dwell_time": {}}}),
    ("tsflora", {"average": "product"}),
    ("fedalign_moe", {"similarity": "anchors", "gates": "local", "experts": "personal"}),
    ("fedalign_moe", {"similarity": "parameters", "consistency": "marginal"}),
]


@dataclass(frozen=True)
class Coloured:
    """Labels of the digits, and images in three colours: only their shapes are looked at."""

    side: int

    def load(self, folder: Path | None, dtype: torch.dtype) -> Dataset:
        digits, shape = Digits(train_samples=160, test_samples=20).load(folder, dtype), (3, self.side, self.side)
        train, test = (replace(some, x=torch.zeros(len(some.x), *shape)) for some in (digits.train, digits.test))
        return replace(digits, train=train, test=test)


@pytest.fixture(autouse=True)
def large_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """Models that can be charged, and run dry in no time: one of them has experts."""
    sizes = {"family": "vit", **{name: LARGE[name] for name in ("width", "depth", "heads", "expansion", "patch")}}
    monkeypatch.setitem(charge.SIZES, "vit_s16", sizes)
    monkeypatch.setitem(charge.SIZES, "vit_b16", {**sizes, "experts": EXPERTS["large"]})


def ran(name: str, scheme: dict[str, Any], *, size: str = "small", charged: bool = False, **more: Any) -> Result:
    needs = {field: value for field, value in NEEDS.get(name, {}).items() if field != "learning.model"}
    few = {field.name: 1 for field in fields(SCHEMES[name]) if field.name == "local_steps"}
    model = {**(LARGE if size == "large" else SMALL)}
    with_experts = "experts" in NEEDS.get(name, {}).get("learning.model", {})
    if with_experts:
        model["experts"] = EXPERTS[size]
    described = {"name": name, **needs.get("learning.scheme", {}), **few, **DECIDED.get(name, {}), **scheme}
    changes = {
        "learning.partition": "iid",
        **needs,
        "learning.model": model,
        "learning.cut": CUTS[size],
        "learning.scheme": described,
        "learning.executor": "dry",
        "learning.stop.rounds": 2,
        **more,
    }
    scenario = load(
        TINY, changes | ({"learning.charge_as": "vit_b16" if with_experts else "vit_s16"} if charged else {})
    )
    data = Coloured(16 if size == "large" else 8)
    assert scenario.learning is not None
    return simulate(replace(scenario, learning=replace(scenario.learning, data=data)))


@pytest.mark.parametrize(("name", "scheme"), VARIANTS, ids=str)
def test_every_row_is_that_of_the_large_model(name: str, scheme: dict[str, Any]) -> None:
    """FLOPs and memory of each job, bits of each message, and all that follows, bit for bit."""
    charged, direct = ran(name, scheme, charged=True), ran(name, scheme, size="large")
    for table in ("transfers", "computations", "rounds", "energy"):
        assert frame(charged, table).equals(frame(direct, table)), table
    assert_larger(charged, ran(name, scheme), ALIKE.get(name, set()))


def assert_larger(charged: Result, small: Result, alike: set[str]) -> None:
    """Each kind of job has more FLOPs and memory than that of the small model, each kind of message more bits."""
    for table, measures in (("computations", ["flops", "memory_bytes"]), ("transfers", ["bits"])):
        few, many = (frame(some, table).groupby("kind")[measures].sum() for some in (small, charged))
        assert list(few.index) == list(many.index)
        larger = (many > few).all(axis=1)
        assert set(larger.index[~larger]) == alike & set(few.index), table


@pytest.mark.parametrize("name", ["fedavg", "sfl_v1", "sfl_v2", "psl"])
def test_what_is_merged_on_arrival_is_the_large_model(name: str) -> None:
    buffered = {"learning.policy": {"name": "buffered", "size": 2}}
    charged, direct = (ran(name, {}, **buffered, **kind) for kind in ({"charged": True}, {"size": "large"}))
    for table in ("transfers", "computations", "rounds"):
        assert frame(charged, table).equals(frame(direct, table)), table


@pytest.mark.parametrize("budget", ["memory", "flops"])
def test_ranks_cost_what_they_cost_in_the_large_model(budget: str) -> None:
    """What a controller says of each device is what its jobs take, to the byte and FLOP, and within its budget."""
    control = {"importance": "random", "ranks": [1, 2, 4], "budget": budget, "budgets": [0.98, 0.99, 1.0, 9.0]}
    charged = ran("hsplitlora", {"control": control}, charged=True)
    decided = frame(charged, "decisions").query("round == 0").pivot_table(index="user", columns="name", values="value")
    jobs = frame(charged, "computations").query("node_kind == 'user' and kind.str.startswith('client')")
    if budget == "memory":
        taken = jobs.groupby("user").memory_bytes.max()
    else:
        taken = jobs.groupby(["user", "kind"]).flops.max().groupby("user").sum()
    assert (
        decided.filter(like="rank 1.").min(axis=1) > 0
    ).all()  # a device with fewer adapters takes less than is said
    assert decided.cost.nunique() == 3
    assert (decided.cost <= decided.budget).all()
    assert (taken == decided.cost).all()


@pytest.mark.parametrize("name", ["fedavg", "sfl_v1"])
def test_what_edge_servers_average_and_forward_is_the_large_model(name: str) -> None:
    two_cells = {
        "network.stations": {"placement": {"positions_m": [[0, 0], [500, 0]]}},
        "network.users.placement": {"name": "list", "positions_m": [[10, 0], [0, 10], [490, 0], [500, 10]]},
        "network.backhaul": {"rate_bps": 1e7},
        "compute.edge_servers": {"flops_per_s": 1e9},
        "learning.servers": "nearest",
    }
    small, charged, direct = (ran(name, {}, **two_cells, **kind) for kind in ({}, {"charged": True}, {"size": "large"}))
    for table in ("transfers", "computations", "rounds"):
        assert frame(charged, table).equals(frame(direct, table)), table
    assert_larger(charged, small, set())
    assert set(frame(charged, "transfers").direction) >= {"up", "down", "backhaul"}
    assert (frame(charged, "computations").kind == "aggregation").sum() == 2 * (2 + 1) * (2 if name == "sfl_v1" else 1)


def test_dropped_activations_are_as_large_a_share() -> None:
    """A draw decides about the small model's elements; in the large one's place each stands for as many."""
    drop = {"dropout": {"rate": 0.3}}
    small, charged = (frame(ran("fedsl_pq", drop, charged=each), "transfers") for each in (False, True))
    beside = {"activation": 8 * 4 + 64, "gradient": 0}
    for kind, bits in beside.items():
        few, many = (some[some.kind == kind].sort_values(["round", "user"]).bits for some in (small, charged))
        kept = (few.to_numpy() - bits) / 32
        assert (kept / (8 * 17 * 16) > 0.6).all()
        assert (kept / (8 * 17 * 16) < 0.8).all()
        assert ((many.to_numpy() - bits) / 32 == kept * 2).all()
