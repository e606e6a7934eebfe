"""HSplitLoRA: the plain scheme in the limit, aggregation by hand, messages, budgets, configuration.

Combination of adapters: tests/learning/test_adapters.py; importance, ranks and cuts: test_control_ranks.py.
"""

from typing import Any

import numpy as np
import pytest
import torch
from by_hand import Plain, batch, by_samples

from fakes import FakeWorld, world
from learning import steps
from learning.adapters import Lora, adapt
from learning.adapters.combine import merged
from learning.control.observation import observe
from learning.control.ranks import CutCosts, History, RankSettings, adaptable
from learning.models import Vit
from learning.optimisers import Adam, Sgd
from learning.participation import RandomParticipation
from learning.protocols.split import CutLink
from learning.schemes import HSplitLoRA
from learning.schemes.hsplitlora import operators

WIDTH, DEPTH, LAYER = 8, 3, (("attend.1.inward.q", 16), ("attend.1.inward.v", 16))
SETTING: dict[str, Any] = {
    "model": Vit(4, WIDTH, DEPTH, 2),
    "adapter": Lora(2, 4.0),
    "cut": 2,
    "optimiser": Sgd(0.05),
    "batch_size": 4,
    "rounds": 2,
    "test_samples": 10,
    "precision": torch.float64,
    "executor": "eager",
    "evaluate_every": 2,
}
UNIFORM: dict[str, Any] = {"importance": "uniform", "ranks": (1, 2), "time_weight": 0.0}


def hsplitlora(local_steps: int = 2, aggregation: Any = "stack", draws: Any = "each", **control: Any) -> HSplitLoRA:
    """Ranks 1 and 2, all weights alike and time of no weight, unless `control` says otherwise."""
    return HSplitLoRA(local_steps, control=RankSettings(**UNIFORM | control), aggregation=aggregation, draws=draws)


def ran(scheme: HSplitLoRA, **changed: Any) -> FakeWorld:
    return world(scheme, **(SETTING | changed))


def plain(run: FakeWorld) -> dict[str, torch.Tensor]:
    """The whole model at the end, without adapters: they were merged."""
    bound, head = run.executor.value(run._models[0])
    return {**bound.frozen, **head}


def decided(run: FakeWorld, name: str) -> list[tuple[int, int | None, float]]:
    return [(number, user, value) for number, user, each, value in run.journal.decisions if each == name]


# What is learnt


def test_two_rounds_are_a_plain_loop() -> None:
    """Unequal ranks; adapters and optimisers of every user begin anew in each round, increments are averaged."""
    scheme = hsplitlora(importance="random", budgets=(1.0, 0.985, 2.0), server_budget=0.6)
    run = ran(scheme, samples=(8, 12, 20), optimiser=Adam(0.01))
    whole: Any = run.whole
    model = {**whole.frozen, **{n: v for n, v in run.initial(whole).items() if not whole.adapted.of_adapter(n)}}
    ranks: dict[int | None, dict[str, int]] = {0: {}, 1: {}, 2: {}}
    shares = by_samples(run)
    for number in range(2):
        for each, user, name, value in run.journal.decisions:
            if each == number and name.startswith("rank "):
                ranks[user][name.removeprefix("rank ")] = int(value)
        result = {name: torch.zeros_like(value) for name, value in model.items()}
        for user, share in zip(run.users, shares, strict=True):
            adapted = adapt(whole.adapted.segment, ranks[user.number], 4.0)
            frozen, head = adapted.split(model)
            mine = adapted.adapters(run.streams, user.number, number, dtype=torch.float64) | head
            data = [batch(run, user, 2 * number + step) for step in range(2)]
            xs, ys = (torch.stack(part) for part in zip(*data, strict=True))
            mine, _, _ = steps.train(adapted.bind(frozen), Adam(0.01), mine, Adam(0.01).init(mine), [xs], [ys])
            for name, value in merged(adapted, frozen, mine).items():
                result[name] += share * value
        model = result
    assert len({tuple(sorted(each.items())) for each in ranks.values()}) > 1
    assert {n: v.shape for n, v in plain(run).items()} == {n: v.shape for n, v in model.items()}
    assert max(float((plain(run)[n] - v).abs().max()) for n, v in model.items()) < 1e-12


def test_importance_by_hand() -> None:
    """Mean by samples of |W . dL/dW| in the first step of a round, from autograd; mixed as far as the training is.

    Adapters do nothing yet in that step, and all weights cost alike. In the second of two rounds a new score counts
    0.5 (1 - 1/2).
    """
    probing = hsplitlora(importance="rngwp", probe_every=1, history=History(fluctuation=0.0))
    once, twice = (ran(probing, samples=(8, 12, 40), rounds=rounds) for rounds in (1, 2))
    whole: Any = twice.whole
    heads = {name: v for name, v in twice.initial(whole).items() if not whole.adapted.of_adapter(name)}
    wanted: dict[str, list[float]] = {}
    for number, model in enumerate(({**whole.frozen, **heads}, plain(once))):
        by_hand = Plain(twice, whole.adapted.segment, Sgd(0.1))
        for user, share in zip(twice.users, by_samples(twice), strict=True):
            by_hand.load(model)
            x, y = batch(twice, user, 2 * number)
            torch.nn.functional.cross_entropy(by_hand.module(x), y).backward()
            for layer in range(1, DEPTH + 1):
                fused = dict(by_hand.module.named_parameters())[f"{layer}.attend.1.inward.weight"]
                scores = (fused * fused.grad).detach().abs()
                for place, role in ((0, "q"), (2, "v")):
                    seen = wanted.setdefault(f"importance {layer}.attend.1.inward.{role}", [0.0, 0.0])
                    seen[number] += share * float(scores[place * WIDTH : (place + 1) * WIDTH].mean())
            by_hand.optimiser.zero_grad()
    assert len(wanted) == 2 * DEPTH
    for name, (first, second) in wanted.items():
        values = [value for _, _, value in decided(twice, name)]
        assert values == pytest.approx([first, 0.75 * first + 0.25 * second], rel=1e-9)


def test_the_server_has_an_optimiser_of_its_own() -> None:
    """Adam's first step is its learning rate, whatever the gradient; devices go by SGD."""
    run = ran(hsplitlora(1), rounds=1, users=1, server_optimiser=Adam(0.01))
    whole: Any = run.whole
    before = {name: v for name, v in run.initial(whole).items() if not whole.adapted.of_adapter(name)}
    for name, value in before.items():
        torch.testing.assert_close((plain(run)[name] - value).abs(), torch.full_like(value, 0.01), rtol=1e-3, atol=0)


def test_where_a_user_is_cut_does_not_matter() -> None:
    fixed = hsplitlora(configuration="fixed")
    shallow, deep = (plain(ran(fixed, cut=cut)) for cut in (2, 3))
    assert max(float((shallow[n] - deep[n]).abs().max()) for n in shallow) < 1e-12


def test_shared_frozen_inward_factors_make_rules_agree() -> None:
    """After one step from B = 0 the inward factors are still what they were; after two they are not."""

    def after(local_steps: int, aggregation: Any) -> torch.Tensor:
        scheme = hsplitlora(local_steps, aggregation, "together", configuration="fixed", ranks=(1, 2, 4, 8))
        return plain(ran(scheme, rounds=1))["1.attend.1.inward.weight"]

    exact, average, padded = (after(1, rule) for rule in ("stack", "average", "zero_pad"))
    torch.testing.assert_close(average, exact, atol=1e-12, rtol=0)
    torch.testing.assert_close(padded, exact, atol=1e-12, rtol=0)
    assert float((after(6, "average") - after(6, "stack")).abs().max()) > 1e-7


def test_naive_rules_are_noisy() -> None:
    """Three random users of unequal ranks: the mean of padded factors is far from the mean of increments."""
    weight, generator = "1.attend.1.inward.q", torch.Generator().manual_seed(1)
    whole: Any = ran(hsplitlora(), rounds=1).whole
    adapted = [adapt(whole.adapted.segment, {weight: rank}, 4.0) for rank in (1, 2, 4)]
    trees = [
        {
            f"{weight}.down": torch.randn(rank, WIDTH, generator=generator, dtype=torch.float64),
            f"{weight}.up": torch.randn(WIDTH, rank, generator=generator, dtype=torch.float64),
        }
        for rank in (1, 2, 4)
    ]
    shares = (0.5, 0.3, 0.2)
    mean = sum(
        share * 4.0 / rank * tree[f"{weight}.up"] @ tree[f"{weight}.down"]
        for share, rank, tree in zip(shares, (1, 2, 4), trees, strict=True)
    )
    for rule, low, high in (("stack", 0, 1e-12), ("zero_pad", 0.1, 10)):
        found = operators.combined(rule, "all", adapted, trees, shares)  # type: ignore[arg-type]
        error = float((found[f"{weight}.up"] @ found[f"{weight}.down"] - mean).norm() / mean.norm())
        assert low <= error < high


# What travels


def test_messages_of_a_round() -> None:
    """q and v of each layer, 8 x 8, rank 2 everywhere, cut after the first layer: all from the formulas, in 64 bit."""
    run = ran(hsplitlora(importance="rngwp", probe_every=2), rounds=3, users=2)
    sent, bits = run.journal.sent, 64
    tokens, factors = 4, 2 * (WIDTH + WIDTH) * len(LAYER)
    assert sent(kind="activation") == [4 * tokens * WIDTH * bits + 4 * 32] * 12
    assert sent(kind="gradient") == [4 * tokens * WIDTH * bits] * 12
    assert sent(kind="model", direction="up") == [factors * bits] * 6
    assert sent(kind="importance") == [32 * len(LAYER)] * 4  # rounds 0 and 2
    assert sent(kind="configuration") == [8 * 3] * 2
    layer = 12 * WIDTH**2 + 13 * WIDTH - 4 * WIDTH**2 - 2 * WIDTH  # an MLP of twice the width
    embedding = 16 * WIDTH + WIDTH + tokens * WIDTH
    assert sent(kind="backbone") == [(layer + embedding) * bits] * 2
    # two users of rank 2: 4 (8 + 8) numbers are as many as 8 x 8
    assert sent(kind="model", direction="down") == [len(LAYER) * 64 * bits] * 4
    assert run.journal.charged(kind="merge") == [len(LAYER) * 2 * 4 * 64] * 4
    assert run.journal.charged(kind="aggregation") == [DEPTH * len(LAYER) * 2 * 4 * 64] * 3
    below, above = (2 * 64 * len(LAYER) * 4 * tokens * layers for layers in (1, 2))
    assert sorted(run.journal.charged(kind="probe")) == [below] * 4 + [above] * 4


def test_increments_are_full_matrices_where_factors_are_larger() -> None:
    run = ran(hsplitlora(), users=3)
    assert run.journal.sent(kind="model", direction="down") == [len(LAYER) * WIDTH**2 * 64] * 3  # 6 (8 + 8) > 8 x 8
    assert run.journal.charged(kind="merge") == [0] * 3


def test_activations_do_not_depend_on_the_cut() -> None:
    fixed = hsplitlora(configuration="fixed")
    shallow, deep = (ran(fixed, cut=cut) for cut in (2, 3))
    assert shallow.journal.sent(kind="activation") == deep.journal.sent(kind="activation")
    assert shallow.journal.sent(kind="model", direction="up") < deep.journal.sent(kind="model", direction="up")


def test_who_was_absent_gets_all_increments_that_it_missed() -> None:
    """Two of four users take part in each round; whoever returns pays for what was merged since."""
    run = ran(hsplitlora(), users=4, rounds=6, participation=RandomParticipation(2), model=Vit(4, 16, DEPTH, 2))
    seen: dict[int | None, int] = {}
    expected = []
    for number in range(6):
        for user in sorted({m.user for m in run.journal.messages if m.round == number}, key=str):
            if user in seen:
                missed = 2 * 2 * (number - seen[user])  # two users of rank 2 in each round missed
                expected.append((number, user, len(LAYER) * min(missed * 32, 256) * 64.0))
            seen[user] = number
    found = [(m.round, m.user, m.bits) for m in run.journal.messages if (m.kind, m.direction) == ("model", "down")]
    assert sorted(found, key=str) == sorted(expected, key=str)


# Budgets and configuration


@pytest.mark.parametrize("budget", ["memory", "flops"])
def test_configurations_cost_no_more_than_the_budget(budget: Any) -> None:
    scheme = hsplitlora(budget=budget, budgets=(0.97, 1.0, 1.3), server_budget=0.3)
    run = ran(scheme)
    budgets = {user: value for _, user, value in decided(run, "budget")}
    costs = decided(run, "cost")
    assert costs
    assert all(value <= budgets[user] for _, user, value in costs)


@pytest.mark.parametrize("budget", ["memory", "flops"])
def test_a_user_with_small_mini_batches_pays_for_those(budget: Any) -> None:
    """In fours, user 0 with 3 samples has a mini-batch of its own; every cost is what the journal has of the user."""
    scheme = hsplitlora(budget=budget, budgets=(9.0,))
    run = ran(scheme, samples=(3, 8, 10), rounds=1)
    costs = {user: value for _, user, value in decided(run, "cost")}
    for user in range(3):
        kinds = ("client_forward", "client_backward")
        jobs = [[work for work in run.journal.works if (work.node, work.kind) == (user, kind)] for kind in kinds]
        largest = [max(work.flops for work in same) for same in jobs]
        found = max(work.memory_bytes for work in jobs[1]) if budget == "memory" else sum(largest)
        assert costs[user] == found
    assert costs[0] < costs[1] == costs[2]


def test_a_user_with_small_mini_batches_can_afford_more() -> None:
    """The budget is a part of the largest rank in a mini-batch of four, and less than that; with three it is enough."""
    run = ran(hsplitlora(configuration="fixed", budgets=(0.999,)), samples=(3, 8, 10), rounds=1)
    assert {message.user for message in run.journal.messages} == {0}


def test_seconds_are_those_of_the_users_mean_mini_batch() -> None:
    """In fours, 3 samples are one mini-batch, 8 are two, 10 are three; devices and channels are alike."""
    run = ran(hsplitlora(), samples=(3, 8, 10), rounds=1)
    costs = CutCosts(run, adaptable(run), CutLink(), "memory")
    seconds = np.array([costs.seconds(user) for user in observe(run.users)])
    np.testing.assert_allclose(seconds / np.array([[3], [4], [10 / 3]]), np.tile(seconds[1] / 4, (3, 1)), rtol=1e-12)


def test_a_homogeneous_configuration_drops_exactly_who_cannot_afford_it() -> None:
    """The reference is the cost of the largest rank, 2, which is the adapter's: budgets below one are too small."""
    scheme = hsplitlora(configuration="fixed", budgets=(0.999, 1.0, 1.001))
    run = ran(scheme)
    assert {message.user for message in run.journal.messages} == {1, 2}
    assert [user for _, user, _ in decided(run, "cut")] == [1, 2]
    adaptive = ran(hsplitlora(budgets=(0.999, 1.0, 1.001)))
    assert {message.user for message in adaptive.journal.messages} == {0, 1, 2}


def test_nobody_left_is_refused() -> None:
    with pytest.raises(ValueError, match="no user's budget is enough"):
        ran(hsplitlora(budgets=(0.01,)))


def test_seconds_of_a_mini_batch_are_those_of_its_jobs_and_messages() -> None:
    """Alone, on half of the band by Shannon's law: what the journal has of each user's only mini-batch, at each cut."""
    speeds = [1e6, 3e6]
    for cut in (2, 3):
        scheme = hsplitlora(1, configuration="fixed", ranks=(1,))
        run = ran(scheme, users=2, flops_per_s=speeds, cut=cut, adapter=Lora(1, 4.0), rounds=1, executor="dry")
        model = adaptable(run)
        seconds = [CutCosts(run, model, scheme.link, "memory").seconds(user) for user in observe(run.users)]
        up, down = (0.5e6 * np.log2(1 + power_w * 1e8 / 0.5e6) for power_w in (0.2, 0.5))
        for user, speed in enumerate(speeds):
            own, sent = ({"user": user, "kind": kind} for kind in ("server_step", "activation"))
            flops = [run.journal.charged(node=user, kind=f"client_{way}") for way in ("forward", "backward")]
            (server,), (activation,) = run.journal.charged(**own), run.journal.sent(**sent)
            (gradient,) = run.journal.sent(user=user, kind="gradient")
            assert all(len(each) == 1 and each[0] > 0 for each in flops)
            device_s = (flops[0][0] + flops[1][0]) / speed
            expected = device_s + activation / up + server / 1e7 + gradient / down
            assert seconds[user][model.cuts.index(cut)] == pytest.approx(expected, rel=1e-12)


def test_constant_importance_splits_once() -> None:
    assert [number for number, _, _ in decided(ran(hsplitlora(), rounds=5), "cut")] == [0, 0, 0]


def test_without_limits_every_weight_has_the_largest_rank() -> None:
    ranks = [v for _, _, name, v in ran(hsplitlora(), rounds=1).journal.decisions if name.startswith("rank ")]
    assert ranks == [2.0] * (3 * DEPTH * len(LAYER))


def test_a_deeper_cut_brings_the_blocks_that_are_missing() -> None:
    scheme = hsplitlora(1, importance="random", probe_every=1, threshold=0.0, server_budget=0.6, budgets=(1.63,))
    run = ran(scheme, rounds=8)
    cuts = {(number, user): int(value) for number, user, value in decided(run, "cut")}
    layer, moved, held = run.journal.sent(kind="backbone"), [], dict.fromkeys(range(3), 0)
    for number in range(8):
        for user in range(3):
            cut = cuts.get((number, user), held[user])
            if 0 < held[user] < cut:
                moved.append((number, user))
            held[user] = cut
    found = [(m.round, m.user) for m in run.journal.messages if m.kind == "migration"]
    assert sorted(found, key=str) == sorted(moved, key=str)
    assert moved
    assert set(run.journal.sent(kind="migration")) == {(8 * WIDTH**2 + 11 * WIDTH) * 64.0}
    assert len(layer) == 3


def test_it_is_refused_without_adapters_or_layers() -> None:
    with pytest.raises(ValueError, match="needs equal ranks"):
        HSplitLoRA(aggregation="average")
    with pytest.raises(ValueError, match="do not ascend"):
        RankSettings(ranks=(4, 2))
    with pytest.raises(ValueError, match=r"give learning\.adapter"):
        ran(hsplitlora(), rounds=1, adapter=None)
    with pytest.raises(ValueError, match="give the model two layers"):
        ran(hsplitlora(), rounds=1, model=Vit(4, WIDTH, 1, 2), cut=1)
