"""HetLoRA: a plain torch loop, FedAvg where ranks are equal, messages, who can afford which rank."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from by_hand import batch, by_samples, distance, same_bits
from torch.func import functional_call

from fakes import FakeWorld, world
from learning.adapters import Lora
from learning.control.ranks import RankBudgets, RankSettings
from learning.models import Vit
from learning.optimisers import Adam
from learning.schemes import FedAvg, HetLoRA, HSplitLoRA
from learning.schemes.hetlora import mean

WIDTH, DEPTH, STEPS, ROUNDS = 8, 2, 2, 2
SETTING: dict[str, Any] = {
    "model": Vit(4, WIDTH, DEPTH, 2),
    "adapter": Lora(2, 4.0),
    "cut": 2,
    "optimiser": Adam(0.01),
    "batch_size": 4,
    "rounds": ROUNDS,
    "samples": (8, 12, 20),
    "test_samples": 10,
    "precision": torch.float64,
}
FIXED = HSplitLoRA(1, control=RankSettings(importance="uniform", ranks=(1, 2), configuration="fixed"))


def ran(scheme: Any, **changed: Any) -> FakeWorld:
    return world(scheme, **(SETTING | changed))


def trained(run: FakeWorld) -> dict[str, torch.Tensor]:
    _, model = run.executor.value(run._models[0])
    return dict(model)


def job(run: FakeWorld, kind: str) -> int:
    """Memory of the largest job of that kind on a device."""
    return max(work.memory_bytes for work in run.journal.works if work.node is not None and work.kind == kind)


@pytest.fixture(scope="module")
def reference() -> int:
    """What the largest rank everywhere costs on the device part of a split model, as that run writes it down."""
    return job(ran(FIXED, rounds=1), "client_backward")


def affording(*ranks: int) -> list[float]:
    """Bytes of local training with each rank, as runs in which everybody has it write them down."""
    return [job(ran(HetLoRA(STEPS, control=RankBudgets(ranks=(rank,))), rounds=1), "client_training") for rank in ranks]


def charged(*ranks: int) -> list[float]:
    """FLOPs of a round's local training, likewise."""
    return [
        ran(HetLoRA(STEPS, control=RankBudgets(ranks=(rank,))), rounds=1).journal.charged(kind="client_training")[0]
        for rank in ranks
    ]


def split_flops() -> float:
    """Of a mini-batch on the device part of a split model, with the largest rank everywhere."""
    journal = ran(FIXED, rounds=1).journal
    return sum(journal.charged(node=0, kind=kind)[0] for kind in ("client_forward", "client_backward"))


def test_it_is_a_plain_torch_loop(reference: int) -> None:
    """Users of ranks 1, 2 and 2: leading rows down, torch.optim.Adam on them, zeros beside what is shorter, mean."""
    one, two = affording(1, 2)
    budgets = tuple(each / reference for each in (two - 1, two, two + 1))
    assert one < two - 1
    run = ran(HetLoRA(STEPS, control=RankBudgets(ranks=(1, 2), budgets=budgets)))
    whole: Any = run.whole
    segment = whole.adapted.segment
    blocks = segment.architecture.blocks(segment.input_shape, segment.classes)
    module = torch.nn.Sequential(*blocks).to(torch.float64)
    server = {name: value.clone() for name, value in run.initial(whole).items()}
    optimisers: dict[int, Any] = {}
    for number in range(ROUNDS):
        results = []
        for user, rank in zip(run.users, (1, 2, 2), strict=True):
            cut = {
                n: v[:rank] if n.endswith(".down") else v[:, :rank] if n.endswith(".up") else v
                for n, v in server.items()
            }
            mine = {name: value.clone().requires_grad_() for name, value in cut.items()}
            adam = torch.optim.Adam(mine.values(), 0.01)
            if user.number in optimisers:
                adam.load_state_dict(optimisers[user.number])
            for step in range(STEPS):
                x, y = batch(run, user, STEPS * number + step)
                adam.zero_grad()
                F.cross_entropy(functional_call(module, by_hand(whole.frozen, mine), x), y).backward()
                adam.step()
            optimisers[user.number] = adam.state_dict()
            results.append({name: value.detach() for name, value in mine.items()})
        server = {name: torch.zeros_like(value) for name, value in server.items()}
        for tree, share in zip(results, by_samples(run), strict=True):
            for name, value in tree.items():
                server[name][tuple(slice(side) for side in value.shape)] += share * value
    assert distance(trained(run), server) < 1e-12


def by_hand(frozen: dict[str, torch.Tensor], mine: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Plain weights: factors added with the scale of rank 2, whatever the user's own rank."""
    plain = {**frozen, **{name: mine[name] for name in mine if not name.endswith((".down", ".up"))}}
    for layer in range(1, DEPTH + 1):
        name = f"{layer}.attend.1.inward"
        q, v = (4.0 / 2 * mine[f"{name}.{role}.up"] @ mine[f"{name}.{role}.down"] for role in "qv")
        plain[f"{name}.weight"] = frozen[f"{name}.weight"] + torch.cat([q, torch.zeros_like(q), v])
    return plain


def test_equal_ranks_are_federated_averaging() -> None:
    """Bit for bit: where everybody has the adapter's rank, nothing is padded."""
    het, avg = (ran(scheme) for scheme in (HetLoRA(STEPS, control=RankBudgets(ranks=(1, 2))), FedAvg(STEPS)))
    assert same_bits(trained(het), avg.model)


def test_messages(reference: int) -> None:
    """q and v of two layers, 8 x 8, and the head; one user of rank 1, two of rank 2."""
    _, two = affording(1, 2)
    run = ran(HetLoRA(STEPS, control=RankBudgets(ranks=(1, 2), budgets=((two - 1) / reference, 99.0, 99.0))))
    head = 2 * WIDTH + 10 * WIDTH + 10
    small, large = (rank * 2 * WIDTH * 2 * DEPTH + head for rank in (1, 2))
    for direction in ("up", "down"):
        assert run.journal.sent(kind="model", direction=direction, user=0) == [64 * small] * ROUNDS
        assert run.journal.sent(kind="model", direction=direction, user=2) == [64 * large] * ROUNDS
    layer, embedding = 8 * WIDTH**2 + 11 * WIDTH, 16 * WIDTH + WIDTH + 4 * WIDTH
    assert run.journal.sent(kind="backbone") == [64 * (DEPTH * layer + embedding)] * 3
    assert run.journal.charged(kind="aggregation") == [2 * (small + 2 * large)] * ROUNDS


@pytest.mark.parametrize("budget", ["memory", "flops"])
def test_each_user_has_the_largest_rank_that_it_can_afford(budget: Any, reference: int) -> None:
    """By what the runs' own rows say that a rank takes; who cannot afford rank 1 is never heard of."""
    one, two = affording(1, 2) if budget == "memory" else [flops / STEPS for flops in charged(1, 2)]
    whole = reference if budget == "memory" else split_flops()
    budgets = tuple(each / whole for each in (one - 0.5, one + 0.5, two - 0.5, two + 0.5))
    run = ran(HetLoRA(STEPS, control=RankBudgets(ranks=(1, 2), budget=budget, budgets=budgets)), users=4, samples=8)
    ranks = {user: value for _, user, name, value in run.journal.decisions if name == "rank"}
    assert ranks == {1: 1.0, 2: 1.0, 3: 2.0}
    assert {message.user for message in run.journal.messages} == {1, 2, 3}


def test_the_servers_mean() -> None:
    """Weights 1/4 and 3/4: a row that one user lacks counts as zero there; what nobody has room for is lost."""
    one, four = torch.ones(1, 3), torch.full((2, 3), 4.0)
    model = {"a.down": torch.full((3, 3), 9.0), "bias": torch.full((2,), 9.0)}
    trees = [{"a.down": one, "bias": torch.zeros(2)}, {"a.down": four, "bias": torch.ones(2)}]
    found = mean(model, trees, (0.25, 0.75))
    wanted = torch.tensor([[3.25], [3.0], [0.0]]).expand(3, 3)
    assert torch.equal(found["a.down"], wanted)
    assert torch.equal(found["bias"], torch.full((2,), 0.75))


def test_it_is_refused_where_nobody_can_afford_it() -> None:
    with pytest.raises(ValueError, match="no user's budget is enough for the whole model"):
        ran(HetLoRA(STEPS, control=RankBudgets(budgets=(0.01,))))
    with pytest.raises(ValueError, match="do not ascend"):
        RankBudgets(ranks=(2, 1))
    with pytest.raises(ValueError, match=r"give learning\.adapter"):
        ran(HetLoRA(STEPS), rounds=1, adapter=None)
