"""examples/two_sites.py: a mixture of experts trained through calls is the one that plain torch trains in one place."""

import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import analysis
from learning.models import MODELS
from learning.schemes import SCHEMES
from learning.store import Store
from learning.world import World
from runs import frame
from scenarios import ScenarioError, load, simulate
from scenarios.cost import RunCost, predict
from scenarios.run import Result

EXAMPLES = Path(__file__).parents[1] / "examples"
ROUNDS = 4
WIDTH, EXPERTS = 32, 4


@pytest.fixture(scope="module")
def two_sites() -> Iterator[dict[str, Any]]:
    """The names of the example, whose model and scheme are registered for these tests."""
    yield runpy.run_path(str(EXAMPLES / "two_sites.py"))
    del MODELS["switch_model"], SCHEMES["two_sites"]


def ran(executor: str = "batched", store: Store | None = None, out: Path | None = None, **changes: Any) -> Result:
    settings = {
        "learning.executor": executor,
        "learning.stop.rounds": ROUNDS,
        "learning.evaluate_every": 1,
        "network.users.count": 4,
        **{name.replace("__", "."): value for name, value in changes.items()},
    }
    return simulate(load(EXAMPLES / "two_sites.yaml", settings), out, store=store)


def learned(result: Result) -> list[float]:
    return frame(result, "evaluations")["value"].tolist()


def calls(result: Result) -> pd.DataFrame:
    return frame(result, "expert_calls")


def in_one_place(world: World, rate: float) -> dict[str, Tensor]:
    """Modules with autograd, all users' mini-batches one after the other, all experts on all samples, a mask."""
    start = {name: value.clone() for name, value in world.initial(world.whole).items()}
    trunk, experts = nn.Linear(64, WIDTH + EXPERTS), [nn.Linear(WIDTH, 10) for _ in range(EXPERTS)]
    named = {"0.1": trunk, **{f"1.{e}": each for e, each in enumerate(experts)}}
    for name, module in named.items():
        module.to(world.precision).load_state_dict({kind: start[f"{name}.{kind}"] for kind in ("weight", "bias")})
    for number in range(ROUNDS):
        gradients: dict[str, list[Tensor]] = {}
        for user in world.users:
            x, y = (each.tensor() for each in user.batch(number))
            z = trunk(x.flatten(1))
            scores = z[:, WIDTH:].softmax(-1)
            mask = F.one_hot(scores.argmax(-1), EXPERTS)
            logits = sum(
                mask[:, e, None] * scores[:, e, None] * experts[e](z[:, :WIDTH].relu()) for e in range(EXPERTS)
            )
            for module in named.values():
                module.zero_grad()
            balance = EXPERTS * (mask.to(scores.dtype).mean(0) * scores.mean(0)).sum()
            (F.cross_entropy(logits, y) + 0.05 * balance).backward()
            for name, module in named.items():
                if name == "0.1" or mask[:, int(name[2:])].any():
                    for kind, weight in module.named_parameters():
                        gradients.setdefault(f"{name}.{kind}", []).append(weight.grad.clone())
        with torch.no_grad():
            for name, module in named.items():
                for kind, weight in module.named_parameters():
                    if own := gradients.get(f"{name}.{kind}"):
                        weight -= rate * torch.stack(own).mean(0)
    return {f"{name}.{kind}": w.detach() for name, module in named.items() for kind, w in module.named_parameters()}


@pytest.mark.parametrize("executor", ["eager", "batched"])
def test_what_is_learned_through_calls_is_what_plain_torch_learns_in_one_place(
    two_sites: dict[str, Any], executor: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In float64 to 1e-12: plain torch works on all samples at once, an expert at its site on its own samples alone."""
    seen: list[Any] = []
    report = World.models

    def models(world: World, *reported: Any) -> None:
        seen[:] = [world, {k: v for part in world.executor.value(list(reported[0])) for k, v in part.items()}]
        report(world, *reported)

    monkeypatch.setattr(World, "models", models)
    ran(executor, learning__precision="float64", compute__sites__edge__storage_bytes=None)
    world, weights = seen
    plain = in_one_place(world, rate=0.3)
    assert weights.keys() == plain.keys()
    assert max(float((weights[name] - plain[name]).abs().max()) for name in plain) < 1e-12


ELSEWHERE: dict[str, Any] = {
    "learning__scheme__at_edge": [2],
    "compute__sites__cloud__delay_s": 0.3,
    "compute__sites__edge__flops_per_s": 1e6,
    "compute__stragglers__slowdown": {"name": "pareto", "alpha": 1.5},
    "network__channel__fading": "none",
}


@pytest.mark.usefixtures("two_sites")
def test_no_value_depends_on_where_experts_are_or_whose_answer_is_first(tmp_path: Path) -> None:
    """Bit for bit; and where there is a store, another placement in another network runs no operation again."""
    store = Store(tmp_path)
    here, there = ran(store=store), ran(store=store, **ELSEWHERE)
    store.close()
    assert learned(here) == learned(there) == learned(ran(**ELSEWHERE))
    assert there.operations["run"] == 0 < here.operations["run"]
    routing = ["round", "user", "layer", "expert", "kind", "pairs"]
    first, second = (calls(result).sort_values(routing).reset_index(drop=True) for result in (here, there))
    pd.testing.assert_frame_equal(first[routing], second[routing])
    assert ((first.node == "edge") == (first.expert < 2)).all()
    assert ((second.node == "edge") == (second.expert == 2)).all()
    assert (first.node != second.node).any()
    order = [calls(result).sort_values("end_s", kind="stable")["expert"].tolist() for result in (here, there)]
    assert order[0] != order[1]


@pytest.mark.usefixtures("two_sites")
@pytest.mark.parametrize("executor", ["batched", "dry"])
def test_every_sample_goes_to_one_expert_and_back_in_both_passes(executor: str) -> None:
    result = ran(executor)
    rows = calls(result)
    pairs = rows.groupby(["round", "user", "kind"]).pairs.sum()
    assert pairs.tolist() == [32] * ROUNDS * 4 * 2
    # Features there and logits back, or their gradients; a name of 2 bits for each sample; and headers.
    per_sample = {"expert_forward": ((WIDTH + EXPERTS) * 32 + 2, 10 * 32), "expert_backward": (10 * 32, 36 * 32)}
    for kind, (up, down) in per_sample.items():
        messages = rows[rows.kind == kind].groupby("call")[["pairs", "bits_up", "bits_down"]].sum()
        assert messages.bits_up.tolist() == pytest.approx((messages.pairs * up + 128).tolist())
        assert messages.bits_down.tolist() == pytest.approx((messages.pairs * down + 128).tolist())
    assert (rows.node == rows.expert.map(lambda expert: "edge" if expert < 2 else "cloud")).all()
    assert (rows.hit == (rows.node == "edge")).all()
    jobs = frame(result, "computations").query("kind in ['expert_forward', 'expert_backward']")
    assert sorted(jobs.service_s) == pytest.approx(sorted(rows.groupby("call").service_s.sum()))
    messages = frame(result, "transfers").query("kind == 'token' and direction == 'up'")
    assert messages.bits.sum() == pytest.approx(rows.bits_up.sum())


@pytest.mark.usefixtures("two_sites")
def test_the_time_of_a_round_is_messages_work_and_queues_and_a_site_is_busy_by_its_slots(tmp_path: Path) -> None:
    """Nothing passes unaccounted for on the critical paths, on which the calls of the slowest user are."""
    result = ran(compute__sites__cloud={"flops_per_s": 1e6, "slots": 3, "delay_s": 0.02}, out=tmp_path)
    path, rounds, jobs = (frame(result, table) for table in ("critical_path", "rounds", "computations"))
    assert set(path.cause) == {"airtime", "compute", "queue"}
    assert path.groupby("round").duration_s.sum().tolist() == pytest.approx(rounds.latency_s.tolist())
    assert {"expert_forward", "expert_backward"} <= set(path.kind)
    used = analysis.load(tmp_path).utilisation().droplevel("node_kind")["utilisation"]
    assert used["cloud"] == pytest.approx(jobs[jobs.node == "cloud"].service_s.sum() / 3 / rounds.end_s.max())


@pytest.mark.usefixtures("two_sites")
def test_it_learns() -> None:
    """A tenth is chance; without experts that are really called nothing would be learned (their logits would be 0)."""
    assert learned(ran(learning__stop__rounds=60))[-2] > 0.8


@pytest.mark.usefixtures("two_sites")
def test_a_dry_run_draws_its_routing_and_check_says_so() -> None:
    first, again = ran("dry"), ran("dry")
    assert first.tables == again.tables
    assert first.tables != ran("dry", seed=6).tables
    assert calls(first).expert.nunique() == EXPERTS
    predicted = predict(load(EXAMPLES / "two_sites.yaml"))
    assert isinstance(predicted, RunCost)
    assert predicted.stand_in == "routing distribution"


@pytest.mark.usefixtures("two_sites")
def test_a_deadline_drops_users_whose_calls_are_under_way_and_the_others_go_on() -> None:
    busy = {"compute.sites.cloud.flops_per_s": 1e6, "compute.sites.cloud.slots": 1}
    uploads = frame(ran(**busy), "transfers").query("kind == 'gradient' and round == 0")
    ends_s = uploads.groupby("user").end_s.max().sort_values().tolist()
    late = ran(**busy, learning__policy={"name": "deadline", "deadline_s": (ends_s[1] + ends_s[2]) / 2})
    rounds, rows = frame(late, "rounds"), calls(late)
    assert (rounds.dropped > 0).any()
    assert (rounds.participants > 0).any()
    assert rows.interrupted.any()
    assert rows.end_s[rows.interrupted].isin(rounds.end_s).all()


@pytest.mark.usefixtures("two_sites")
def test_an_expert_too_many_for_a_site_is_told() -> None:
    with pytest.raises(Exception, match="expert 2 of layer 0 of 1320 bytes does not fit into edge, which has 0 of 26"):
        ran(learning__scheme__at_edge=[0, 1, 2])


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"compute.sites": {}}, "experts are at the sites edge and cloud; give both in compute.sites"),
        ({"learning.scheme.at_edge": [0, 1, 2]}, "expert 2 of layer 0 of 1320 bytes does not fit into edge"),
        ({"compute.sites.cloud.storage_bytes": 1320}, "expert 3 of layer 0 of 1320 bytes does not fit into cloud"),
    ],
)
def test_sites_that_are_missing_or_too_small_are_told_before_the_run(
    two_sites: dict[str, Any], changes: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ScenarioError, match=rf"learning\.scheme: {sentence}"):
        simulate(load(EXAMPLES / "two_sites.yaml", changes))


@pytest.mark.parametrize("discipline", ["fifo", {"name": "batching", "window_s": 5.0}])
def test_a_site_bound_by_memory_reads_the_experts_of_a_job_once(two_sites: dict[str, Any], discipline: Any) -> None:
    """A call of n experts takes n x 1320 bytes over 1e4 byte/s; a batch of calls of both experts as long as one."""
    edge = {"compute__sites__edge__memory_bandwidth_bytes_per_s": 1e4, "compute__sites__edge__discipline": discipline}
    result = ran("dry", **edge)
    jobs, calls = (frame(result, table).query("node == 'edge'") for table in ("computations", "expert_calls"))
    if discipline == "fifo":
        experts = calls[calls.kind == "expert_forward"].groupby("call").expert.nunique()
        assert sorted(jobs[jobs.kind == "expert_forward"].service_s) == pytest.approx(sorted(experts * 0.132))
    else:
        batches = jobs[jobs.kind == "expert_forward"].groupby("end_s").service_s
        assert (batches.size() > 1).any()
        assert batches.sum().tolist() == pytest.approx([2 * 0.132] * batches.ngroups)
