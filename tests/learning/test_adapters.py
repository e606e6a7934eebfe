"""Low-rank adapters on segments, and what a server makes of several users' adapters."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from named_streams import NamedStreams

from learning import steps
from learning.adapters import Lora, adapt, weights
from learning.adapters.combine import (
    absorb,
    increments,
    mean_by_product,
    mean_product,
    merged,
    padded_mean,
    stacked,
    thinner,
    truncated,
)
from learning.aggregators import weighted_mean
from learning.executor import Batched, Dry, Eager
from learning.models import Mlp, Segment, Vit
from learning.optimisers import Sgd

STREAMS = NamedStreams()
WIDTH, TOKENS, BATCH = 16, 4, 3
WHOLE = Segment(Vit(4, WIDTH, 2, 2), (1, 8, 8), 10, 0, 4)
DOUBLE = torch.float64


def on(ranks, alpha=8.0, **options):
    return adapt(WHOLE, ranks, alpha, **options)


def trained(adapted, number):
    """Adapters as training leaves them: no factor is zero."""
    generator = torch.Generator().manual_seed(number)
    names = [name for name in adapted.parameters() if adapted.of_adapter(name)]
    return {name: torch.randn(adapted.parameters()[name].shape, generator=generator, dtype=DOUBLE) for name in names}


def data(number=0):
    generator = torch.Generator().manual_seed(number)
    return torch.randn(BATCH, 1, 8, 8, generator=generator, dtype=DOUBLE), torch.arange(BATCH) % 10


def backbone():
    return WHOLE.initial(STREAMS, DOUBLE)


def test_weights_that_an_adapter_can_have():
    layer = {
        "1.attend.1.inward.q": (WIDTH, WIDTH),
        "1.attend.1.inward.k": (WIDTH, WIDTH),
        "1.attend.1.inward.v": (WIDTH, WIDTH),
        "1.attend.1.outward.proj": (WIDTH, WIDTH),
        "1.feed.1.fc1": (2 * WIDTH, WIDTH),
        "1.feed.3.fc2": (WIDTH, 2 * WIDTH),
    }
    assert {name: sides for name, sides in weights(WHOLE).items() if name.startswith("1.")} == layer
    assert weights(WHOLE, "qkv")["2.attend.1.inward.qkv"] == (3 * WIDTH, WIDTH)


@pytest.mark.parametrize(
    ("targets", "count"),
    [
        (("q", "v"), lambda r, d: 4 * r * d),
        (("qkv", "proj", "fc1", "fc2"), lambda r, d: r * (4 * d + 2 * d + 2 * 3 * d)),
    ],
)
def test_counts_of_parameters(targets, count):
    """The formulas of split LoRA papers for one layer, with an MLP of twice the width."""
    assert Lora(4, 8.0, targets, head=False).on(WHOLE).parameter_count == 2 * count(4, WIDTH)


def test_fresh_adapters_change_nothing():
    adapted = Lora(3).on(WHOLE)
    frozen, head = adapted.split(backbone())
    x, _ = data()
    fresh = adapted.adapters(STREAMS, "user", 1, dtype=DOUBLE)
    assert torch.equal(adapted.bind(frozen)(fresh | head, x), WHOLE(backbone(), x))
    assert all(
        value.count_nonzero() == (value.numel() if name.endswith("down") else 0) for name, value in fresh.items()
    )


@pytest.mark.parametrize(("scaling", "scale"), [("rank", 6 / 4), ("root", 6 / 2), ("none", 6)])
def test_scale_of_an_adapter(scaling, scale):
    """Rank 4 and alpha 6, in what the segment computes and in what is made of the factors."""
    name = "1.feed.1.fc1"
    adapted = Lora(4, 6.0, ("fc1",), head=False, scaling=scaling).on(WHOLE).with_ranks({name: 4})
    frozen, factors, (x, _) = adapted.split(backbone())[0], trained(adapted, 1), data()
    added = scale * factors[f"{name}.up"] @ factors[f"{name}.down"]
    by_hand = {**backbone(), "1.feed.1.weight": backbone()["1.feed.1.weight"] + added}
    torch.testing.assert_close(adapted.bind(frozen)(factors, x), WHOLE(by_hand, x), atol=1e-10, rtol=0)
    for tree in (factors, mean_product([adapted], [factors], (1.0,), adapted)):
        torch.testing.assert_close(increments(adapted, tree)[name], added, atol=1e-10, rtol=0)


@pytest.mark.parametrize(("law", "variance"), [("gaussian", 1 / 16), ("kaiming", 1 / (3 * 64))])
def test_law_of_the_inward_factors(law, variance):
    """Mean and variance to five standard errors; another entity, another draw."""
    wide = Segment(Vit(4, 64, 2, 2), (1, 8, 8), 10, 0, 4)
    adapted = adapt(wide, dict.fromkeys(weights(wide, "q", "v"), 16), 8.0, law=law)
    fresh = adapted.adapters(STREAMS, 0, dtype=DOUBLE)
    drawn = torch.cat([value.flatten() for name, value in fresh.items() if name.endswith("down")])
    n = len(drawn)
    assert abs(drawn.mean()) < 5 * (variance / n) ** 0.5
    kurtosis = 3 if law == "gaussian" else 1.8
    assert abs(drawn.var() - variance) < 5 * variance * ((kurtosis - 1) / n) ** 0.5
    other = adapted.adapters(STREAMS, 1, dtype=DOUBLE)
    assert not torch.equal(other["1.attend.1.inward.q.down"], fresh["1.attend.1.inward.q.down"])


def test_output_is_that_of_the_merged_weights():
    """Against plain torch: W + (alpha / r) B A put into the fused matrix by hand."""
    adapted = on({"1.attend.1.inward.v": 2, "1.attend.1.inward.q": 3, "2.feed.1.fc1": 1}, alpha=5.0)
    frozen, head = adapted.split(backbone())
    factors, (x, _) = trained(adapted, 1), data()
    by_hand = backbone()
    for name, rank, first in (("q", 3, 0), ("v", 2, 2 * WIDTH)):
        full = f"1.attend.1.inward.{name}"
        rows = by_hand["1.attend.1.inward.weight"][first : first + WIDTH]
        rows += 5.0 / rank * factors[f"{full}.up"] @ factors[f"{full}.down"]
    by_hand["2.feed.1.weight"] += 5.0 * factors["2.feed.1.fc1.up"] @ factors["2.feed.1.fc1.down"]
    out = adapted.bind(frozen)(factors | head, x)
    torch.testing.assert_close(out, WHOLE(by_hand, x), atol=1e-10, rtol=0)
    in_one = merged(adapted, frozen, factors | head)
    assert in_one.keys() == by_hand.keys()
    for name, value in by_hand.items():
        torch.testing.assert_close(in_one[name], value, atol=1e-12, rtol=0)


def test_only_adapters_and_head_train():
    adapted = Lora(2).on(WHOLE)
    frozen, head = adapted.split(backbone())
    before = {name: value.clone() for name, value in frozen.items()}
    x, y = data()
    start = adapted.adapters(STREAMS, dtype=DOUBLE) | head
    after, _, _ = steps.train(adapted.bind(frozen), Sgd(0.5), start, (), [torch.stack([x, x])], [torch.stack([y, y])])
    assert all(torch.equal(frozen[name], before[name]) for name in frozen)
    assert after.keys() == adapted.parameters().keys()
    moved = {name for name in after if not torch.equal(after[name], start[name])}
    assert moved == set(after)


def test_split_training_equals_whole_training():
    """Front and back of an adapted model, cut anywhere, make the step that the whole makes."""
    adapted = Lora(2, targets=("q", "v", "fc2")).on(WHOLE)
    full = backbone()
    frozen, head = adapted.split(full)
    start, (x, y) = trained(adapted, 3) | head, data()
    expected, _, _ = steps.train(adapted.bind(frozen), Sgd(0.1), start, (), [x[None]], [y[None]])
    for at in (1, 2, 3):
        parts = [(part, part.bind(part.split(full)[0])) for part in adapted.cut(at)]
        (front, lower), (back, upper) = parts
        mine, theirs = ({n: start[n] for n in part.parameters()} for part in (front, back))
        z = steps.front(lower, mine, x)
        theirs, _, dz, _ = steps.back(upper, Sgd(0.1), theirs, (), z, y)
        if mine:
            mine, _ = steps.update_front(lower, Sgd(0.1), mine, (), x, dz)
        for name, value in (mine | theirs).items():
            torch.testing.assert_close(value, expected[name], atol=1e-12, rtol=0)


def test_flops_of_frozen_weights():
    """Forward as always plus the adapters; backward without gradients of frozen weights.

    Counted by hand for a back part of one layer and the head, adapters on all four weights, in multiply-adds.
    """
    _, back = Lora(2, targets=("qkv", "proj", "fc1", "fc2"), head=False).on(WHOLE).cut(2)
    executor, d, n, r = Dry(), WIDTH, BATCH * TOKENS, 2
    frozen = back.split({name: value for name, value in backbone().items() if name in back.segment.parameters()})[0]
    parameters, z, y = trained(back, 0), torch.zeros(BATCH, TOKENS, d, dtype=DOUBLE), torch.arange(BATCH)
    dense, attention, adapters = n * 8 * d * d, 2 * BATCH * TOKENS**2 * d, n * r * 12 * d
    forward = dense + attention + adapters + BATCH * d * 10
    assert executor.plan(steps.front, back.bind(frozen), parameters, z).profile.flops == 2 * forward
    pulled = dense + 2 * attention + 2 * adapters + BATCH * d * 10
    plan = executor.plan(steps.back, back.bind(frozen), Sgd(0.1), parameters, (), z, y)
    assert plan.profile.flops == 2 * (forward + pulled)


def test_no_gradient_flows_below_the_lowest_adapter():
    """Training with an adapter on the last weight alone costs the forward pass, the head and that adapter."""
    adapted = on({"2.feed.3.fc2": 2})
    frozen, head = adapted.split(backbone())
    executor, (x, y), parameters = Dry(), data(), trained(adapted, 0) | head
    bound, n, d, r = adapted.bind(frozen), BATCH * TOKENS, WIDTH, 2
    forward = executor.plan(steps.front, bound, parameters, x).profile.flops
    of_head = 2 * BATCH * d * 10
    of_adapter = 2 * n * r * 3 * d - n * r * 2 * d  # its input needs no gradient
    training = executor.plan(steps.train, bound, Sgd(0.1), parameters, (), [x[None]], [y[None]]).profile.flops
    assert training == forward + 2 * (of_head + of_adapter)


@pytest.mark.parametrize("kind", [Eager, Batched])
def test_executors_take_bound_segments(kind):
    """Users of one frozen backbone, plain or deferred, run together and get what plain calls give."""
    adapted = Lora(2).on(WHOLE)
    executor, full = kind(), backbone()
    frozen, head = adapted.split(full)
    promised = executor.submit(absorb, WHOLE, full, {})
    deferred_frozen, _ = executor.submit(split, adapted, promised)
    batches = [data(user) for user in range(4)]
    for backing in (frozen, deferred_frozen):
        work = [
            executor.submit(
                steps.train, adapted.bind(backing), Sgd(0.1), trained(adapted, u) | head, (), [x[None]], [y[None]]
            )
            for u, (x, y) in enumerate(batches)
        ]
        results = [executor.value(model) for model, _, _ in work]
        for u, (x, y) in enumerate(batches):
            expected, _, _ = steps.train(
                adapted.bind(frozen), Sgd(0.1), trained(adapted, u) | head, (), [x[None]], [y[None]]
            )
            for name, value in expected.items():
                torch.testing.assert_close(results[u][name], value, atol=1e-12, rtol=0)
    if kind is Batched:
        assert executor.groups["train", 4] == 2


def split(adapted, weights):
    return adapted.split(weights)


UNEQUAL = [
    {"1.attend.1.inward.q": 1, "2.feed.1.fc1": 4},
    {"1.attend.1.inward.q": 3},
    {"2.feed.1.fc1": 2, "1.feed.3.fc2": 5},
]
SHARES = (0.5, 0.2, 0.3)


def users(ranks=UNEQUAL, alpha=8.0):
    adapted = [on(each, alpha, tuned=False) for each in ranks]
    return adapted, [trained(each, number) for number, each in enumerate(adapted)]


def exact_mean(adapted, trees, shares):
    mean = {}
    for each, tree, share in zip(adapted, trees, shares, strict=True):
        for weight, rank in each.ranks:
            product = share * each.alpha / rank * np.einsum("or,ri->oi", tree[f"{weight}.up"], tree[f"{weight}.down"])
            mean[weight] = mean.get(weight, 0) + product
    return mean


def products(message):
    names = {name.rpartition(".")[0] for name in message}
    return {name: message[f"{name}.up"] @ message[f"{name}.down"] for name in names}


def error(found, exact):
    return max(float(np.linalg.norm(found[w].numpy() - exact[w]) / np.linalg.norm(exact[w])) for w in exact)


def test_stacking_is_the_exact_mean_of_increments():
    adapted, trees = users()
    message = stacked(adapted, trees, SHARES)
    exact = exact_mean(adapted, trees, SHARES)
    assert products(message).keys() == exact.keys()
    assert error(products(message), exact) < 1e-12
    full, (x, _) = backbone(), data()
    by_hand = {name: value.clone() for name, value in full.items()}
    by_hand["1.attend.1.inward.weight"][:WIDTH] += torch.from_numpy(exact["1.attend.1.inward.q"])
    by_hand["2.feed.1.weight"] += torch.from_numpy(exact["2.feed.1.fc1"])
    by_hand["1.feed.3.weight"] += torch.from_numpy(exact["1.feed.3.fc2"])
    absorbed = absorb(WHOLE, full, message)
    torch.testing.assert_close(WHOLE(absorbed, x), WHOLE(by_hand, x), atol=1e-10, rtol=0)
    again = on(UNEQUAL[0])
    frozen, head = again.split(absorbed)
    fresh = again.adapters(STREAMS, "next", dtype=DOUBLE)
    assert torch.equal(again.bind(frozen)(fresh | head, x), WHOLE(absorbed, x))


def test_stacking_in_any_order():
    adapted, trees = users()
    order = [2, 0, 1]
    turned = stacked([adapted[k] for k in order], [trees[k] for k in order], tuple(SHARES[k] for k in order))
    assert error(products(turned), exact_mean(adapted, trees, SHARES)) < 1e-12


def test_stacking_over_the_participants_of_each_weight():
    adapted, trees = users()
    message = products(stacked(adapted, trees, SHARES, "participants"))
    everybody = products(stacked(adapted, trees, SHARES))
    for weight, present in (("1.attend.1.inward.q", 0.7), ("2.feed.1.fc1", 0.8), ("1.feed.3.fc2", 0.3)):
        torch.testing.assert_close(message[weight] * present, everybody[weight], atol=1e-12, rtol=0)


def test_one_user_and_identical_users():
    adapted, trees = users(UNEQUAL[:1])
    alone = products(stacked(adapted, trees, (1.0,)))
    own = increments(adapted[0], trees[0])
    thrice = products(stacked(adapted * 3, trees * 3, (1.0, 1.0, 1.0)))
    for weight in own:
        torch.testing.assert_close(alone[weight], own[weight], atol=1e-12, rtol=0)
        torch.testing.assert_close(thrice[weight], own[weight], atol=1e-12, rtol=0)


def test_means_of_factors_are_not_means_of_increments():
    """Unless all users share an inward factor."""
    equal = [{"1.attend.1.inward.q": 3}] * 3
    adapted, trees = users(equal)
    exact = exact_mean(adapted, trees, SHARES)

    def averaged(trees, mean):
        return increments(adapted[0], mean(trees, SHARES))

    assert error(averaged(trees, weighted_mean), exact) > 0.1
    assert error(averaged(trees, padded_mean), exact) > 0.1
    down = trees[0]["1.attend.1.inward.q.down"]
    alike = [tree | {"1.attend.1.inward.q.down": down} for tree in trees]
    exact = exact_mean(adapted, alike, SHARES)
    assert error(averaged(alike, weighted_mean), exact) < 1e-12
    assert error(averaged(alike, padded_mean), exact) < 1e-12


def test_padding_and_truncation():
    """Means row by row, with zeros where a user has no such row."""
    adapted, trees = users()
    mean, name = padded_mean(trees, SHARES), "1.attend.1.inward.q.down"
    first, second = trees[0][name], trees[1][name]
    assert mean[name].shape == (3, WIDTH)
    torch.testing.assert_close(mean[name][0], 0.5 * first[0] + 0.2 * second[0], atol=1e-15, rtol=0)
    torch.testing.assert_close(mean[name][1:], 0.2 * second[1:], atol=1e-15, rtol=0)
    for each in adapted:
        mine = truncated(each, mean)
        assert {n: v.shape for n, v in mine.items()} == {n: v.shape for n, v in trained(each, 0).items()}
        assert all(torch.equal(value, mean[n][tuple(map(slice, value.shape))]) for n, value in mine.items())


def test_rank_of_the_mean_and_when_it_is_sent_full():
    adapted, trees = users([{"1.attend.1.inward.q": 3}, {"1.attend.1.inward.q": 4}])
    message = stacked(adapted, trees, (1.0, 1.0))
    assert int(torch.linalg.matrix_rank(products(message)["1.attend.1.inward.q"])) == 7
    assert thinner(message).keys() == message.keys()  # 7 (16 + 16) < 16 16
    eight = stacked(
        [*adapted, on({"1.attend.1.inward.q": 1})], [*trees, trained(on({"1.attend.1.inward.q": 1}), 9)], (1.0,) * 3
    )
    assert thinner(eight).keys() == eight.keys()  # 8 (16 + 16) is 16 16
    nine = stacked(
        [*adapted, on({"1.attend.1.inward.q": 2})], [*trees, trained(on({"1.attend.1.inward.q": 2}), 9)], (1.0,) * 3
    )
    assert set(thinner(nine)) == {"1.attend.1.inward.q"}
    full = backbone()
    dense, thin = absorb(WHOLE, full, thinner(nine)), absorb(WHOLE, full, nine)
    torch.testing.assert_close(dense["1.attend.1.inward.weight"], thin["1.attend.1.inward.weight"], atol=1e-12, rtol=0)


def test_mean_product_is_the_best_approximation():
    """Its error is the norm of the singular values left out (Eckart and Young); none where the rank suffices."""
    adapted, trees = users([{"2.feed.1.fc1": 2}, {"2.feed.1.fc1": 3}])
    exact = torch.from_numpy(exact_mean(adapted, trees, (0.5, 0.5))["2.feed.1.fc1"])
    for rank in (1, 3, 5):
        target = on({"2.feed.1.fc1": rank}, alpha=6.0)
        mean = mean_product(adapted, trees, (1.0, 1.0), target)
        found = increments(target, mean)["2.feed.1.fc1"]
        left_out = torch.linalg.svdvals(exact)[rank:].square().sum().sqrt()
        torch.testing.assert_close((found - exact).norm(), left_out, atol=1e-10, rtol=0)


def test_what_adapters_do_is_averaged_and_cut_back_to_their_rank():
    """By numpy: the best approximation of the mean increment; the head is averaged; alike adapters stay."""
    like = on({"1.attend.1.inward.q": 2, "2.feed.1.fc1": 3}, alpha=6.0)
    trees = [trained(like, seed) for seed in (1, 2)]
    mean = mean_by_product(like, trees, (0.25, 0.75))
    assert mean.keys() == trees[0].keys()
    for weight, wanted in exact_mean([like, like], trees, (0.25, 0.75)).items():
        u, s, vh = np.linalg.svd(wanted)
        rank = dict(like.ranks)[weight]
        best = torch.from_numpy((u[:, :rank] * s[:rank]) @ vh[:rank])
        torch.testing.assert_close(increments(like, mean)[weight], best, atol=1e-10, rtol=0)
    for name in set(mean) - {name for name in mean if like.of_adapter(name)}:
        torch.testing.assert_close(mean[name], 0.25 * trees[0][name] + 0.75 * trees[1][name])
    same = mean_by_product(like, [trees[0]] * 3, (0.2, 0.3, 0.5))
    for weight, value in increments(like, trees[0]).items():
        torch.testing.assert_close(increments(like, same)[weight], value, atol=1e-10, rtol=0)


def test_first_step_in_closed_form():
    """From B = 0 and a shared A one step moves only B, so that dW = -rate s^2 mean(G) A^T A."""
    weight = "2.feed.1.fc1"
    adapted = on({weight: 2}, alpha=6.0, tuned=False)
    full, rate, scale = backbone(), 0.1, 3.0
    frozen, _ = adapted.split(full)
    start = adapted.adapters(STREAMS, dtype=DOUBLE)
    after, gradients = [], []
    for user in range(3):
        x, y = data(user)
        moved, _, _ = steps.train(adapted.bind(frozen), Sgd(rate), start, (), [x[None]], [y[None]])
        assert torch.equal(moved[f"{weight}.down"], start[f"{weight}.down"])
        after.append(moved)
        plain = full["2.feed.1.weight"].clone().requires_grad_()
        F.cross_entropy(WHOLE(full | {"2.feed.1.weight": plain}, x), y).backward()
        gradients.append(plain.grad)
    found = products(stacked([adapted] * 3, after, (1.0,) * 3))[weight]
    inward = start[f"{weight}.down"]
    expected = -rate * scale**2 * sum(gradients) / 3 @ inward.T @ inward
    torch.testing.assert_close(found, expected, atol=1e-13, rtol=1e-10)


def test_what_is_refused():
    with pytest.raises(ValueError, match="is not a weight of the segment"):
        on({"1.attend.1.inward": 2})
    with pytest.raises(ValueError, match="rank 17 is not between 0 and 16"):
        on({"1.feed.1.fc1": 17})
    with pytest.raises(ValueError, match="no weight of the model is a q"):
        Lora().on(Segment(Mlp((8,)), (1, 8, 8), 10, 0, 2))
    assert on({"1.feed.1.fc1": 0}).ranks == ()
