"""FlexP-SFL against unsplit training in plain torch, split federated learning, closed forms, and by its own ledger."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from by_hand import Plain, batch, distance, same_bits
from torch import nn

from fakes import FakeWorld, digits, world
from learning import steps
from learning.control.private_blocks import FixedSplits
from learning.executor.deferred import specification
from learning.models import Mlp
from learning.optimisers import Adam, Sgd
from learning.policies import Asynchronous
from learning.protocols.shared_blocks import SharedBlocks
from learning.schemes import SFL, FlexPSFL, Local
from learning.schemes.flexp_sfl.alignment import Alignment, Proximal
from learning.schemes.flexp_sfl.proxy import Proxy, distilled, mean_predictions
from learning.stop import Stop
from learning.store import Store
from runs import TINY
from scenarios import load, simulate

DEEP = Mlp((12, 10, 9, 8))
"""Five blocks, the head included."""
BLOCKS = 5
WIDTHS = [12, 10, 9, 8, 10]
"""Outputs of the blocks."""
EVERY_SPLIT = [
    (first, last) for first in range(1, BLOCKS) for last in range(BLOCKS - first + 1) if first + last < 5 or last
]
NONE = Alignment(proximal=0)
UNEQUAL = FixedSplits((1, 2, 3), (1, 1, 1))
PULL = Alignment(proximal=0.1, every=2)


def flexp(splits: FixedSplits | tuple[int, int] = UNEQUAL, alignment: Alignment = NONE, **more: Any) -> FlexPSFL:
    """The scheme with one mini-batch in a local round."""
    splits = FixedSplits(splits[:1], splits[1:]) if isinstance(splits, tuple) else splits
    return FlexPSFL(**{"local_steps": 1, "splits": splits, "alignment": alignment, **more})


def ran(scheme: FlexPSFL, **more: Any) -> FakeWorld:
    return world(scheme, **{"model": DEEP, "evaluate_every": 1000, **more})


def spied(monkeypatch: pytest.MonkeyPatch) -> list[SharedBlocks]:
    """The shared blocks of the runs that follow."""
    seen: list[SharedBlocks] = []
    built = SharedBlocks.__init__

    def spy(self: SharedBlocks, *args: Any, **named: Any) -> None:
        built(self, *args, **named)
        seen.append(self)

    monkeypatch.setattr(SharedBlocks, "__init__", spy)
    return seen


def of_blocks(model: dict[str, torch.Tensor], start: int, stop: int) -> dict[str, torch.Tensor]:
    return {name: value for name, value in model.items() if start <= int(name[0]) < stop}


# 1: the shape changes no weights.


@pytest.mark.parametrize("split", EVERY_SPLIT, ids=str)
def test_a_single_user_trains_as_without_a_split(split: tuple[int, int]) -> None:
    sgd = Sgd(0.05, 0.9, 1e-3)
    split_up = ran(flexp(split), users=1, optimiser=sgd, rounds=5)
    plain = Plain(split_up, split_up.whole, sgd)
    for position in range(5):
        plain.step(*batch(split_up, split_up.users[0], position))
    assert same_bits({name: split_up.model[name] for name in plain.weights}, plain.weights)


@pytest.mark.parametrize("optimiser", [Sgd(0.05, 0.9), Adam(0.01)], ids=["sgd", "adam"])
def test_users_with_all_blocks_train_alone(optimiser: Any) -> None:
    alone, local = (world(scheme, model=DEEP, optimiser=optimiser) for scheme in (flexp((3, 2)), Local(local_steps=1)))
    for own, plain in zip(alone.every_model, local.every_model, strict=True):
        assert same_bits({name: own[name] for name in plain}, plain)
    assert {message.kind for message in alone.journal.messages} == {"model"}


@pytest.mark.parametrize("interval", [1, 2])
def test_with_averages_and_joint_steps_it_is_split_federated_learning(interval: int) -> None:
    """In the L shape bit for bit; the U shape averages the head too, which the server has otherwise."""
    setting = {"model": DEEP, "cut": 2, "rounds": 4}
    plain = world(SFL(interval=interval), **setting).model
    same = world(flexp((2, 0), server_mode="joint", average_every=interval), **setting)
    assert all(same_bits({name: model[name] for name in plain}, plain) for model in same.every_model)
    shaped = world(flexp((2, 1), server_mode="joint", average_every=interval), **setting)
    assert all(same_bits(model, shaped.every_model[0]) for model in shaped.every_model)
    if interval == 1:  # SGD with momentum is linear: a mean of steps is a step along the mean
        apart = world(flexp((2, 1), server_mode="joint", average_every=1), optimiser=Sgd(0.05), **setting).every_model[
            0
        ]
        assert distance(apart, {n: world(SFL(), optimiser=Sgd(0.05), **setting).model[n] for n in apart}) < 1e-12


# 2: messages.


@pytest.mark.parametrize("split", [(1, 1), (2, 1), (1, 2), (3, 1), (2, 2)], ids=str)
def test_four_messages_a_step(split: tuple[int, int]) -> None:
    first, last = split
    below, above = WIDTHS[first - 1], WIDTHS[BLOCKS - last - 1]
    for size in (4, 8):
        messages = ran(flexp(split), users=1, rounds=2, batch_size=size, precision=torch.float32).journal.messages
        sent = [(each.direction, each.kind, each.bits) for each in messages if each.kind != "model"]
        assert sent == 2 * [
            ("up", "activation", 32 * size * below),
            ("down", "activation", 32 * size * above),
            ("up", "gradient", 32 * size * above),
            ("down", "gradient", 32 * size * below),
        ]


def test_labels_go_up_in_the_l_shape_alone() -> None:
    (up, down), (model,) = (
        [m.bits for m in ran(flexp((2, 0)), users=1, rounds=1).journal.messages if (m.kind == "model") is first]
        for first in (False, True)
    )
    assert (up, down) == (8 * (64 * WIDTHS[1] + 64), 8 * 64 * WIDTHS[1])
    assert model == 64 * (65 * 12 + 13 * 10)


def test_blocks_move_their_work_with_them() -> None:
    """Whatever is where, the FLOPs of a step are the same; the more last blocks, the more at the user."""
    totals, at_user = [], []
    for last in (1, 2, 3):
        journal = ran(flexp((1, last)), users=1, rounds=1).journal
        totals.append(sum(journal.charged()))
        at_user.append(sum(journal.charged(node=0)))
    assert len(set(totals)) == 1
    assert at_user[0] < at_user[1] < at_user[2]
    assert totals[0] == sum(ran(flexp((4, 1)), users=1, rounds=1).journal.charged())


def test_the_private_blocks_come_down_once() -> None:
    journal = ran(flexp(FixedSplits((1, 2, 3), (1, 2, 1))), rounds=4).journal
    sizes = [65 * 12, 13 * 10, 11 * 9, 10 * 8, 9 * 10]
    assert sorted(journal.sent(kind="model")) == sorted(
        64 * (sum(sizes[:first]) + sum(sizes[BLOCKS - last :])) for first, last in ((1, 1), (2, 2), (3, 1))
    )


# 3: no averages.


def test_private_blocks_are_never_averaged() -> None:
    apart, alike = ran(flexp((2, 1))), ran(flexp((2, 1)), parts=[np.full(24, 5)] * 3)
    for model in apart.every_model[1:]:
        assert distance(of_blocks(model, 0, 2), of_blocks(apart.every_model[0], 0, 2)) > 1e-4
    assert all(same_bits(of_blocks(m, 2, 4), of_blocks(apart.every_model[0], 2, 4)) for m in apart.every_model)
    joint = ran(flexp((2, 1), server_mode="joint"), parts=[np.full(24, 5)] * 3)
    assert all(same_bits(model, joint.every_model[0]) for model in joint.every_model)
    assert {m.kind for m in apart.journal.messages if m.direction == "up"} == {"activation", "gradient"}
    assert alike.journal.sent(kind="reference") == []


def test_references_come_at_their_times_with_the_bits_of_the_aligned_blocks() -> None:
    """Every second step of a user: blocks 1, or 1 and 2, which the first user has at the server."""
    messages = ran(flexp(UNEQUAL, PULL), rounds=7).journal.messages
    references = [(m.direction, m.user, m.round, m.bits) for m in messages if m.kind == "reference"]
    bits = {1: 64 * 13 * 10, 2: 64 * (13 * 10 + 11 * 9)}
    assert sorted(references) == [("down", user, number, bits[user]) for user in (1, 2) for number in (2, 4, 6)]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (Alignment(), [(), (1,), (1, 2)]),
        (Alignment(uppermost=1), [(), (1,), (2,)]),
        (Alignment(uppermost=0), [(), (), ()]),
        (Alignment(blocks=(0, 1)), [(), (1,), (1,)]),
    ],
)
def test_aligned_are_private_blocks_that_others_have_at_the_server(rule: Alignment, expected: Any) -> None:
    spans = [range(1, 4), range(2, 4), range(3, 4)]
    own = [rule.of(range(span.start), [s for s in spans if s is not span]) for span in spans]
    assert own == expected
    assert Alignment(uppermost=1).of(range(2, 5), [range(1, 4)]) == (2,)
    assert Alignment().of(range(2, 5), [range(1, 4)]) == (2, 3)


# 4, 7: who trains what.


def test_a_step_changes_only_what_the_user_has() -> None:
    """One user alone takes a step: blocks of the server below its cut, and those of other users, keep their bits."""

    for mover in range(3):
        scheme = flexp(FixedSplits((1, 2, 3), (1, 2, 1)))
        speeds = [1e3] * 3
        speeds[mover] = 1e9
        moved = ran(scheme, stop=Stop(rounds=1), policy=Asynchronous(), flops_per_s=speeds)
        start = moved.initial(moved.whole)
        first, last = scheme.splits.plan(moved).splits[mover]
        for user, model in enumerate(moved.every_model):
            split = scheme.splits.plan(moved).splits[user]
            changed = {int(name[0]) for name in model if not torch.equal(model[name], start[name])}
            at_server = set(range(split.first, BLOCKS - split.last)) & set(range(first, BLOCKS - last))
            assert changed == (set(range(BLOCKS)) if user == mover else at_server)


@pytest.mark.parametrize("optimiser", [Sgd(0.05, 0.9), Adam()], ids=["sgd", "adam"])
def test_blocks_are_updated_as_often_as_their_users_step(optimiser: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three users with unequal speeds: runs 1, 2 and 3, of which the users with first blocks below have a part."""
    seen = spied(monkeypatch)
    journal = ran(flexp(), optimiser=optimiser, rounds=30, policy=Asynchronous(), flops_per_s=[3e5, 1e6, 3e6]).journal
    counts = Counter(work.user for work in journal.works if work.kind == "server_backward" and work.end_s is not None)
    (blocks,) = seen
    assert [(run.start, run.stop) for run in blocks.runs] == [(1, 2), (2, 3), (3, 4)]
    assert [run.version for run in blocks.runs] == [counts[0], counts[0] + counts[1], sum(counts.values())]
    assert len(set(counts.values())) == 3
    if isinstance(optimiser, Adam):
        done = [float(steps_done) for steps_done in (blocks.world.executor.value(run.state)[0] for run in blocks.runs)]
        assert done == [run.version for run in blocks.runs]


def test_a_joint_step_is_along_the_mean_of_those_who_have_the_block_at_the_server() -> None:
    """Block 1 is the first user's alone, block 3 all users'; each alone takes the step of its own gradient."""
    setting = {"rounds": 1, "optimiser": Sgd(0.1), "batch_size": 24}
    joint = ran(flexp(server_mode="joint"), **setting)
    start, rows = joint.initial(joint.whole), [np.arange(24) + 24 * user for user in range(3)]
    alone = [
        ran(flexp((first, 1)), users=1, parts=[own], **setting).model
        for first, own in zip((1, 2, 3), rows, strict=True)
    ]
    trained = joint.every_model[0]
    for block, users in ((1, alone[:1]), (2, alone[:2]), (3, alone)):
        names = of_blocks(start, block, block + 1)
        expected = {name: sum(each[name] for each in users) / len(users) for name in names}
        assert distance({name: trained[name] for name in names}, expected) < 1e-12 < 1e-4 < distance(expected, names)


# 5, 6: alignment.


@pytest.mark.parametrize("executor", ["eager", "batched"])
@pytest.mark.parametrize("policy", [None, Asynchronous()], ids=["rounds", "asynchronous"])
def test_without_effect_alignment_changes_no_bits(policy: Any, executor: str) -> None:
    setting = {"rounds": 6, "policy": policy, "executor": executor}
    unequal = [ran(flexp(UNEQUAL, rule), **setting) for rule in (NONE, Alignment(proximal=0, every=1))]
    equal = [ran(flexp((2, 1), rule), **setting) for rule in (NONE, Alignment(0.5, 0.5, 1))]
    for plain, other in (unequal, equal):
        assert all(same_bits(a, b) for a, b in zip(plain.every_model, other.every_model, strict=True))
        assert [m.bits for m in plain.journal.messages] == [m.bits for m in other.journal.messages]
    pulled = ran(flexp(UNEQUAL, Alignment(0.5, 0, 1)), **setting)
    assert not same_bits(pulled.every_model[1], unequal[0].every_model[1])


def test_a_strong_pull_holds_private_blocks_at_the_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps of 1e-5 and a weight of 5e4: each step halves the distance to the reference."""
    seen = spied(monkeypatch)
    scheme = flexp(UNEQUAL, Alignment(proximal=5e4, every=1))
    held = ran(scheme, rounds=200, optimiser=Sgd(1e-5), server_optimiser=Sgd(0.01))
    free = ran(flexp(), rounds=200, optimiser=Sgd(0.01), server_optimiser=Sgd(0.01))
    (blocks, other) = seen
    for user, stop in ((1, 2), (2, 3)):
        copies = held.executor.value(blocks.copies(range(1, stop)))
        assert distance(of_blocks(held.every_model[user], 1, stop), copies) < 1e-3
        copies = free.executor.value(other.copies(range(1, stop)))
        assert distance(of_blocks(free.every_model[user], 1, stop), copies) > 1e-2


def test_mixing_all_replaces_private_blocks_by_the_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Device steps are too small to change a bit, so that blocks stay as they were mixed last."""
    copies, copied = [], SharedBlocks.copies
    monkeypatch.setattr(SharedBlocks, "copies", lambda self, which: copies.append(copied(self, which)) or copies[-1])
    setting = {"rounds": 4, "optimiser": Sgd(1e-300), "server_optimiser": Sgd(0.05)}
    mixed = ran(flexp(UNEQUAL, Alignment(0, 1.0, 3)), **setting)
    sent = [mixed.executor.value(each) for each in copies if specification(each).leaves]
    assert len(sent) == 2  # to the second and third user, before their fourth step
    for user, tree in zip((1, 2), sent, strict=True):
        assert same_bits({name: mixed.every_model[user][name] for name in tree}, tree)
    start = mixed.initial(mixed.whole)
    half = ran(flexp(UNEQUAL, Alignment(0, 0.5, 3)), **setting).every_model[1]
    assert distance({n: half[n] for n in sent[0]}, {n: (start[n] + w) / 2 for n, w in sent[0].items()}) < 1e-15


def test_the_proximal_gradient_is_that_of_autograd() -> None:
    generator = torch.Generator().manual_seed(0)
    weights, reference = ({n: torch.randn(3, 4, generator=generator).double() for n in "ab"} for _ in range(2))
    x, strength = torch.randn(5, 3, generator=generator).double(), 0.7
    leaves = {name: value.clone().requires_grad_() for name, value in weights.items()}
    loss = sum((x @ value).tanh().sum() for value in leaves.values())
    pulled = loss + strength / 2 * ((leaves["a"] - reference["a"]) ** 2).sum()
    plain = dict(zip("ab", torch.autograd.grad(loss, list(leaves.values()), retain_graph=True), strict=True))
    expected = torch.autograd.grad(pulled, list(leaves.values()))
    optimiser = Proximal(Sgd(1.0), strength, {"a": reference["a"]})
    moved, _ = optimiser.step(weights, plain, ())
    for name, gradient in zip("ab", expected, strict=True):
        assert torch.allclose(weights[name] - moved[name], gradient, rtol=0, atol=1e-10)


def test_the_pull_is_charged_two_flops_a_weight() -> None:
    free, pulled = (ran(flexp(UNEQUAL, rule), rounds=1).journal for rule in (NONE, PULL))
    more = [
        sum(pulled.charged(user=None, kind=kind, node=2)) - sum(free.charged(user=None, kind=kind, node=2))
        for kind in ("client_backward", "client_tail")
    ]
    assert more == [2 * (13 * 10 + 11 * 9), 0]


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_the_gradient_of_the_divergence_is_that_of_its_closed_form(temperature: float) -> None:
    """weight * temperature * (softmax(logits / temperature) - mean) / samples."""
    generator = torch.Generator().manual_seed(0)
    logits, others = (torch.randn(5, 4, generator=generator).double() for _ in range(2))
    (mean,) = mean_predictions(temperature, [logits, others])
    own, theirs = ((each / temperature).softmax(-1) for each in (logits, others))
    assert torch.allclose(mean, (own + theirs) / 2, rtol=1e-12)
    rule = Proxy(temperature=temperature, weight=0.7)
    moved, _ = distilled(lambda parameters, z: parameters["w"], Sgd(1.0), rule, {"w": logits}, (), None, [mean])
    assert torch.allclose(logits - moved["w"], 0.7 * temperature * (own - mean) / 5, rtol=1e-9, atol=1e-12)


def test_public_samples_bring_predictions_together() -> None:
    """With equal cuts, where copies have no effect; by one more forward pass, and a step of the head alone.

    Users have one class each, so that their predictions differ by much more than half.
    """
    labels = digits(torch.float64, 40).train.y
    classes = [np.flatnonzero(labels == label)[:24] for label in range(3)]
    rule = Alignment(proximal=0, every=2, proxy=Proxy(samples=16, weight=2.0))
    setting = {"parts": classes, "rounds": 9, "model": Mlp((24, 16)), "optimiser": Sgd(0.2, 0.5)}
    plain, aligned = (ran(flexp((1, 1), each), **setting) for each in (NONE, rule))
    x = aligned.dataset.train.x[::40]

    def spread(each: FakeWorld) -> float:
        predictions = torch.stack([each.whole(model, x).softmax(-1) for model in each.every_model])
        return float(predictions.std(0).mean())

    assert spread(aligned) < 0.9 * spread(plain)
    messages = [(m.direction, m.round, m.bits) for m in aligned.journal.messages if m.kind in ("logits", "reference")]
    assert sorted(messages) == sorted(
        (way, number, 64 * 16 * 10) for way in ("up", "down") for number in (2, 4, 6, 8) for _ in range(3)
    )
    more = len(aligned.journal.sent(kind="activation")) - len(plain.journal.sent(kind="activation"))
    assert more == 2 * 4 * 3
    assert aligned.journal.sent(kind="gradient") == plain.journal.sent(kind="gradient")


def test_a_user_that_agrees_with_itself_is_not_moved_by_public_samples() -> None:
    rule = Alignment(proximal=0, every=1, proxy=Proxy(weight=10.0))
    plain, alone = (ran(flexp((2, 1), each), users=1, rounds=6, optimiser=Sgd(0.05)) for each in (NONE, rule))
    assert distance(plain.model, alone.model) < 1e-14


def test_public_samples_need_last_blocks_on_devices() -> None:
    scheme = flexp((2, 0), Alignment(proxy=Proxy()))
    with pytest.raises(ValueError, match=r"let splits\.last be at least 1"):
        scheme.check(ran(flexp((2, 1)), rounds=1))


@pytest.mark.slow
def test_a_stronger_pull_trades_personal_for_global_accuracy() -> None:
    """Over weights of 0, 0.01, 0.1 and 1, up to one standard deviation over seeds."""
    found = np.array([[traded(weight, seed) for seed in range(3)] for weight in (0.0, 0.01, 0.1, 1.0)])
    means, slack = found.mean(1), found.std(1, ddof=1).max(0)
    assert (np.diff(means[:, 0]) <= slack[0]).all()
    assert (np.diff(means[:, 1]) >= -slack[1]).all()


def traded(weight: float, seed: int) -> tuple[float, float]:
    """Personal and global accuracy of four users, each with 60 samples of two classes and 6 of the others."""
    y, rng = digits(torch.float64, 400).train.y.numpy(), np.random.default_rng(seed)
    own = [np.isin(y, (2 * user, 2 * user + 1)) for user in range(4)]
    parts = [
        np.concatenate([rng.permutation(np.flatnonzero(is_own == one))[:n] for one, n in ((1, 60), (0, 6))])
        for is_own in own
    ]
    scheme = flexp(FixedSplits((1, 2, 2, 3)), Alignment(weight, every=5), local_steps=5)
    done = world(
        scheme, users=4, parts=parts, rounds=20, model=Mlp((24, 20, 16, 16)), test_samples=400, seed=seed,
        evaluate_every=20, executor="batched",
    )  # fmt: skip
    x, labels = done.dataset.test.x, done.dataset.test.y
    personal, common = [], []
    for user, model in enumerate(done.every_model):
        right = (done.whole(model, x).argmax(-1) == labels).double()
        mine = (labels == 2 * user) | (labels == 2 * user + 1)
        personal.append((60 * float(right[mine].mean()) + 6 * float(right[~mine].mean())) / 66)
        common.append(float(right.mean()))
    return float(np.mean(personal)), float(np.mean(common))


def test_joint_steps_run_no_torch_operation_again_under_another_network(tmp_path: Path) -> None:
    """Unlike sequential ones, which depend on the order in which mini-batches arrive."""
    store = Store(tmp_path)
    try:
        described = {"name": "flexp_sfl", "local_steps": 2, "server_mode": "joint", "average_every": 2}
        setting = {"learning.scheme": described}
        simulate(load(TINY, setting), store=store)
        moved = simulate(load(TINY, setting | {"network.sharing.uplink.bandwidth_mhz": 3}), store=store)
    finally:
        store.close()
    assert moved.operations["run"] == 0 < moved.operations["asked"]


@pytest.mark.parametrize(
    ("scheme", "says"),
    [
        (flexp((4, 2)), "are more than the 5 blocks of the model"),
        (flexp(FixedSplits((1, 2))), "splits.first has 2 numbers; give one for all, or one for each of 3 users"),
        (flexp(server_mode="joint", server_weighting="inverse_rate"), "set server_weighting to none"),
    ],
)
def test_what_does_not_fit_is_rejected(scheme: FlexPSFL, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        scheme.check(ran(flexp((2, 1)), rounds=1))


# 8: no user waits for another.


def steps_of(journal: Any, until_s: float) -> Counter[int]:
    """Steps of each user whose gradient the server has had by an instant."""
    done = [w for w in journal.works if w.kind in ("server_backward", "server_step") and w.end_s is not None]
    return Counter(work.user for work in done if work.end_s <= until_s)


def test_a_slow_user_delays_no_other() -> None:
    """Ten times slower; in split federated learning all users then take fewer steps."""
    slow, time_s = [1e5, 1e6, 1e6], 2.0
    setting = {"stop": Stop(time_s=time_s), "server_flops_per_s": 1e12, "evaluate_every": 10_000}
    even, uneven = (
        steps_of(ran(flexp((2, 1)), policy=Asynchronous(), flops_per_s=speeds, **setting).journal, time_s)
        for speeds in (1e6, slow)
    )
    assert even[0] == even[1] == even[2] > 15
    assert uneven[1] == uneven[2] == even[1]
    assert uneven[0] < even[0] / 2
    waiting, delayed = (
        steps_of(world(SFL(), model=DEEP, cut=2, flops_per_s=speeds, **setting).journal, time_s)
        for speeds in (1e6, slow)
    )
    assert max(delayed.values()) < 0.6 * min(waiting.values())


def test_a_saturated_server_works_at_its_speed() -> None:
    time_s, speed = 3.0, 2e5
    setting = {"stop": Stop(time_s=time_s), "server_flops_per_s": speed, "evaluate_every": 10_000}
    journal = ran(flexp((1, 1)), users=6, policy=Asynchronous(), **setting).journal
    served = [work for work in journal.works if work.node is None and work.end_s is not None]
    begun_s, ended_s = served[0].start_s, served[-1].end_s
    assert sum(work.flops for work in served) == pytest.approx(speed * (ended_s - begun_s), rel=0.02)
    assert ended_s > 0.95 * time_s


def test_the_lag_is_the_number_of_updates_since_the_forward_pass() -> None:
    """A user alone has none; two users of equal speed take turns, so that each has one update in between."""
    alone, two = (
        [
            value
            for *_, name, value in ran(flexp((2, 1)), users=users, rounds=6).journal.decisions
            if name == "version_lag"
        ]
        for users in (1, 2)
    )
    assert alone == [0] * 6
    assert two == [0, 1] * 6


@pytest.mark.parametrize("stale", ["stash", "latest"])
def test_a_stale_gradient_is_of_the_weights_of_its_forward_pass_or_of_the_latest(stale: Any) -> None:
    """Two users, one step each: the second one's backward pass comes after the first one's step."""
    sgd = Sgd(0.1)
    both = ran(flexp((1, 1), stale=stale), users=2, rounds=1, optimiser=sgd, flops_per_s=[1e6, 9e5])
    first, second = (Plain(both, both.whole, sgd) for _ in range(2))
    for plain, user in zip((first, second), both.users, strict=True):
        plain.step(*batch(both, user, 0))
    start = both.initial(both.whole)
    moved = of_blocks(first.weights, 1, 4)
    if stale == "stash":
        expected = {name: value + second.weights[name] - start[name] for name, value in moved.items()}
    else:
        expected = latest_by_hand(both, start, moved, sgd)
    assert distance(of_blocks(both.every_model[0], 1, 4), expected) < 1e-15


def latest_by_hand(ran: FakeWorld, start: Any, moved: Any, sgd: Sgd) -> dict[str, torch.Tensor]:
    """The second user's gradient, which its tail computed on old activations, pulled back through the new weights."""
    x, y = batch(ran, ran.users[1], 0)
    below, rest = ran.whole.cut(1)
    middle, tail = rest.cut(4)
    z = below(of_blocks(start, 0, 1), x)
    out = middle(of_blocks(start, 1, 4), z).requires_grad_()
    (arrived,) = torch.autograd.grad(nn.functional.cross_entropy(tail(of_blocks(start, 4, 5), out), y), out)
    weights = {name: value.clone().requires_grad_() for name, value in moved.items()}
    gradients = torch.autograd.grad(middle(weights, z), list(weights.values()), arrived)
    return {name: moved[name] - sgd.learning_rate * g for name, g in zip(moved, gradients, strict=True)}


def test_by_the_inverse_rate_fast_users_count_as_much_as_slow_ones() -> None:
    """Of two users one takes both first steps: the first at full size, the second at (2 + 1) / 2 / 2 of it."""
    sgd = Sgd(0.1)
    setting = {"users": 2, "optimiser": sgd, "policy": Asynchronous(), "flops_per_s": [1e9, 1e2]}
    one, two = (ran(flexp((1, 1), server_weighting="inverse_rate"), rounds=n, **setting) for n in (1, 2))
    plain = [ran(flexp((1, 1)), rounds=n, **setting) for n in (1, 2)]
    start = of_blocks(one.initial(one.whole), 1, 4)
    assert same_bits(one.every_model[0], plain[0].every_model[0])
    whole, half = (of_blocks(each.every_model[0], 1, 4) for each in (plain[1], two))
    before = of_blocks(plain[0].every_model[0], 1, 4)
    for name in start:
        step = whole[name] - before[name]
        assert torch.allclose(half[name] - before[name], 0.75 * step, rtol=1e-9, atol=1e-16)


def test_the_server_keeps_activations_between_its_two_jobs() -> None:
    """Its memory at each job is that of the job, plus the outputs of its blocks of all others that wait."""
    together = ran(flexp((1, 1)), rounds=2)
    works, executor = together.journal.works, together.executor
    forward = [work.memory_bytes for work in works if work.kind == "server_forward"]
    middle, z, dz = together.whole.cut(1)[1].cut(4)[0], *(torch.zeros(8, wide).double() for wide in (12, 8))
    weights = middle.initial(together.streams, torch.float64)
    one = executor.cost(executor.plan(steps.front, middle, weights, z)).memory_bytes
    kept = 8 * 8 * sum(WIDTHS[1:4])
    assert forward == 2 * [one, one + kept, one + 2 * kept]
    backward = [work.memory_bytes for work in works if work.kind == "server_backward"]
    last = executor.cost(executor.plan(steps.middle_gradients, middle, weights, z, dz)).memory_bytes
    assert backward[:3] == 3 * [last + 2 * kept]  # the first is not over yet when the others arrive


# 10: what is personal.


def accuracies(ran: FakeWorld, labels: Any) -> tuple[float, float]:
    """Means over users of the accuracy on samples of the user's own class, and on the common test set."""
    x, y = ran.dataset.test.x, ran.dataset.test.y
    right = [(ran.whole(model, x).argmax(-1) == y).double() for model in ran.every_model]
    personal = [float(each[y == label].mean()) for each, label in zip(right, labels, strict=True)]
    return float(np.mean(personal)), float(np.mean([float(each.mean()) for each in right]))


def test_users_with_one_class_each_know_it_and_no_other() -> None:
    y = world(flexp((1, 1)), rounds=1).dataset.train.y
    classes = [np.flatnonzero(y == label)[:40] for label in range(4)]
    shared = world(
        flexp((1, 1)), users=4, parts=classes, rounds=60, test_samples=300, evaluate_every=60, model=Mlp((24, 16))
    )
    personal, common = accuracies(shared, range(4))
    share = np.mean([float((shared.dataset.test.y == label).double().mean()) for label in range(4)])
    assert personal == 1.0
    assert common == pytest.approx(share, abs=0.01)


def test_with_equal_data_users_know_as_much_of_all_as_of_their_own() -> None:
    """Own test samples, a third of 360 each; four standard deviations of a share of 360 draws."""
    equal = world(
        flexp((1, 1), local_steps=10),
        samples=440,
        rounds=15,
        batch_size=32,
        test_samples=360,
        evaluate_every=15,
        model=Mlp((24, 16)),
        executor="batched",
    )
    x, y = equal.dataset.test.x, equal.dataset.test.y
    right = torch.stack([(equal.whole(model, x).argmax(-1) == y).double() for model in equal.every_model])
    common, personal = float(right.mean()), float(torch.cat([right[n, n::3] for n in range(3)]).mean())
    assert common > 0.85
    assert abs(personal - common) < 4 * np.sqrt(common * (1 - common) / 360)


# 12: latency.


@pytest.mark.parametrize(("first", "last"), [(2, 1), (1, 1), (3, 1), (1, 2)])
def test_a_step_takes_the_sum_of_its_nine_stages(first: int, last: int) -> None:
    b, device, server, up, down = 8, 1e6, 1e7, 1e6, 2e6
    sizes = [2 * b * wide * out for wide, out in zip([64, *WIDTHS], WIDTHS, strict=False)]
    below, above = 64 * b * WIDTHS[first - 1], 64 * b * WIDTHS[BLOCKS - last - 1]
    middle, tail = sizes[first : BLOCKS - last], sizes[BLOCKS - last :]
    stages = [
        sum(sizes[:first]) / device,
        below / up,
        sum(middle) / server,
        above / down,
        3 * sum(tail) / device,
        above / up,
        2 * sum(middle) / server,
        below / down,
        (2 * sum(sizes[:first]) - sizes[0]) / device,
    ]
    shaped = ran(flexp((first, last)), users=1, rounds=1)
    model_s = shaped.journal.sent(kind="model")[0] / down
    assert shaped.env.now - model_s == pytest.approx(sum(stages), rel=1e-12)
    labels_up = ran(flexp((first, 0)), users=1, rounds=1)
    flat_s = labels_up.env.now - labels_up.journal.sent(kind="model")[0] / down
    assert above / up + above / down > 64 * b / up
    assert shaped.env.now - model_s > flat_s
