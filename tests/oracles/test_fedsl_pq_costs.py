"""FedSL-PQ: bits, FLOPs and seconds, counted here from the sizes of the model; its latency budget and its bound."""

from contextlib import suppress
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import simpy
import torch
from watching import NOTHING, watch

from fakes import world
from learning.control.pruning import BoundSetting, LayerStatistics, stationarity_bound
from learning.models import LeNet
from learning.protocols.split import JointPart, ServerPart
from learning.reducers import CubicRamp, Dropout, Pruning
from learning.schemes import FedSLPQ
from learning.schemes.fedsl_pq.device import PrunedDevice

INPUTS, CUT, HIDDEN, CLASSES, BATCH, USERS = 64, 12, 8, 10, 8, 3
LABELS = 4 * BATCH  # ceil(log2 10) bits each
SEED = SCALE = 64
PRUNABLE, FRONT = INPUTS * CUT, INPUTS * CUT + CUT
DEVICE, SERVER, UP, DOWN = 1e6, 1e7, 1e6, 2e6
FORWARD = BACKWARD = 2 * BATCH * INPUTS * CUT
SERVE = 3 * 2 * BATCH * (CUT * HIDDEN + HIDDEN * CLASSES)
SINGLE = {"precision": torch.float32, "flops_per_s": DEVICE, "server_flops_per_s": SERVER}


# 5: bits.


def kept_by_round(watched, rate):
    """How many activations the masks keep, counted from the draws, in the order of the forward passes."""
    return [int((call["u"] >= rate).expand_as(call["result"]).sum()) for call in watched.calls["front"]]


@pytest.mark.parametrize("precision", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("dropout", [Dropout(0.4), Dropout(0.4, "channel")], ids=lambda d: d.granularity)
@pytest.mark.parametrize("coding", ["seed", "bitmap"])
def test_bits_of_smashed_data(precision, dropout, coding, monkeypatch):
    """Exactly the activations kept, the labels, and the seed or a bit for each activation."""
    scheme = FedSLPQ(dropout=dropout, mask_coding=coding)
    watched = watch(monkeypatch, scheme, model=LeNet(), precision=precision, rounds=4)
    kept, journal = kept_by_round(watched, 0.4), watched.ran.journal
    assert len(set(kept)) > 3
    q, each = 8 * precision.itemsize, 6 * 4 * 4  # LeNet: six maps of half the side
    side = SEED if coding == "seed" else BATCH * each
    assert journal.sent(kind="activation", direction="up") == [q * count + LABELS + side for count in kept]
    assert sorted(journal.sent(kind="gradient", direction="down")) == sorted(q * count for count in kept)
    if dropout.granularity == "channel":
        assert all(count % 16 == 0 for count in kept)


def test_bits_of_quantised_cut_gradients(monkeypatch):
    """b for each kept position, and scale and offset; the same users' uplink tells how many."""
    scheme = FedSLPQ(quantise_cut_gradient=True, gradient_bits=5, dropout=Dropout(0.4))
    ran = watch(monkeypatch, scheme, **SINGLE).ran
    for user in range(USERS):
        up = ran.journal.sent(user=user, kind="activation")
        down = ran.journal.sent(user=user, kind="gradient")
        assert down == [5 * (bits - LABELS - SEED) / 32 + SCALE for bits in up]


@pytest.mark.parametrize("bits", [8, 32])
def test_bits_without_dropout(bits):
    """Nothing tells what was dropped; 32 bits are no quantiser and have no scale."""
    journal = world(FedSLPQ(**NOTHING | {"gradient_bits": bits}, quantise_cut_gradient=True), **SINGLE).journal
    assert set(journal.sent(kind="activation")) == {32 * BATCH * CUT + LABELS}
    assert set(journal.sent(kind="gradient")) == {bits * BATCH * CUT + (SCALE if bits < 32 else 0)}


@pytest.mark.parametrize("rate", [0.0, 0.3, 0.75])
@pytest.mark.parametrize("masks_at", ["device", "server"])
def test_bits_of_models(rate, masks_at):
    """Down dense to all at once, or pruned to each; up what is kept, with a bitmap if anything is not."""
    scheme = FedSLPQ(interval=2, pruning_rate=CubicRamp(final=rate), masks_at=masks_at)
    journal = world(scheme, rounds=5, **SINGLE).journal
    removed = int(np.floor(rate * PRUNABLE))
    pruned = 32 * (FRONT - removed) + (FRONT if removed else 0)
    models = sorted((m.round, m.direction, m.bits) for m in journal.messages if m.kind == "model")
    up = [(number, "up", pruned) for number in (1, 3)] * USERS
    if masks_at == "device":
        down = [(number, "broadcast", 32 * FRONT) for number in (0, 2, 4)]
    else:
        down = [(number, "down", pruned) for number in (0, 2, 4)] * USERS
    assert models == sorted(up + down)


def test_bits_of_channels(monkeypatch):
    """Whole filters: floor(rate x channels) of each layer."""
    scheme = FedSLPQ(interval=1, pruning=Pruning(granularity="channel"), pruning_rate=CubicRamp(final=0.5))
    watched = watch(monkeypatch, scheme, model=LeNet(), cut=2, rounds=1, precision=torch.float32)
    parameters = (6 * 25 + 6) + (16 * 6 * 25 + 16)
    removed = 3 * 25 + 8 * 6 * 25
    assert watched.ran.journal.sent(kind="model", direction="up") == [32 * (parameters - removed) + parameters] * 3
    for call in watched.calls["pruned"]:
        assert sum(int((~mask).sum()) for mask in call["result"][1].values()) == removed


def test_a_schedule_of_rates():
    """rho_end + (rho_0 - rho_end)(1 - t / T)^3, looked at where masks are made."""
    ramp = CubicRamp(initial=0.1, final=0.7, rounds=4)
    journal = world(FedSLPQ(interval=1, pruning_rate=ramp), rounds=6, **SINGLE).journal
    rates = [0.7 + (0.1 - 0.7) * (1 - t / 4) ** 3 if t < 4 else 0.7 for t in range(6)]
    for user in range(USERS):
        decided = [
            (number, rate) for number, of, name, rate in journal.decisions if (of, name) == (user, "pruning_rate")
        ]
        assert [number for number, _ in decided] == list(range(6))
        assert [rate for _, rate in decided] == pytest.approx(rates)
        up = journal.sent(user=user, kind="model", direction="up")
        assert up == [32 * (FRONT - int(rate * PRUNABLE)) + FRONT for rate in rates]


@pytest.mark.parametrize(("every", "when"), [(None, [0, 4]), (1, list(range(8))), (2, [0, 2, 4, 6]), (3, [0, 3, 4, 7])])
@pytest.mark.parametrize("masks_at", ["device", "server"])
def test_masks_are_made_anew(every, when, masks_at):
    """At boundaries, and every so many rounds within an interval; each costs a comparison for each weight."""
    scheme = FedSLPQ(interval=4, prune_every=every, masks_at=masks_at, pruning_rate=CubicRamp(0.0, 0.8, 6))
    journal = world(scheme, rounds=8, **SINGLE).journal
    for user in range(USERS):
        node, of = (user, None) if masks_at == "device" else (None, user)
        works = [work for work in journal.works if work.kind == "pruning" and (work.node, work.user) == (node, of)]
        assert [work.round for work in works] == when
        assert {work.flops for work in works} == {FRONT}


# 7: time.


@pytest.mark.parametrize("slots", [1, USERS])
@pytest.mark.parametrize("rate", [0.0, 0.25, 0.75])
@pytest.mark.parametrize("interval", [1, 3])
def test_time_of_equal_users(slots, rate, interval):
    """All arrive together; with one slot the last one's gradient leaves the server after N services."""
    scheme = FedSLPQ(interval=interval, **NOTHING | {"pruning_rate": CubicRamp(final=rate)})
    ran = world(scheme, rounds=interval, slots=slots, uplink_bps=UP, downlink_bps=DOWN, **SINGLE)
    removed = int(rate * PRUNABLE)
    first = 32 * FRONT / DOWN + FRONT / DEVICE
    last = (32 * (FRONT - removed) + (FRONT if removed else 0)) / UP + USERS * FRONT / SERVER
    each = (
        (1 - rate) * FORWARD / DEVICE
        + (32 * BATCH * CUT + LABELS) / UP
        + USERS / slots * SERVE / SERVER
        + 32 * BATCH * CUT / DOWN
        + (1 - rate) * BACKWARD / DEVICE
    )
    assert ran.env.now == pytest.approx(first + interval * each + last, rel=1e-9)


@pytest.mark.parametrize("rate", [0.0, 0.25, 0.75])
def test_pruned_passes_cost_their_share(rate):
    journal = world(FedSLPQ(pruning_rate=CubicRamp(final=rate)), **SINGLE).journal
    assert journal.charged(kind="client_forward") == pytest.approx([FORWARD * (1 - rate)] * 9)
    assert journal.charged(kind="client_backward") == pytest.approx([BACKWARD * (1 - rate)] * 9)
    assert journal.charged(kind="server_step") == [SERVE] * 9


def test_backward_time_may_follow_the_bits():
    scheme = FedSLPQ(backward_time_follows_bits=True, gradient_bits=8, pruning_rate=CubicRamp(final=0.5))
    journal = world(scheme, **SINGLE).journal
    assert journal.charged(kind="client_backward") == pytest.approx([BACKWARD * 0.5 * 8 / 32] * 9)
    assert journal.charged(kind="client_forward") == pytest.approx([FORWARD * 0.5] * 9)


def test_averaging_costs_an_addition_for_each_weight():
    journal = world(FedSLPQ(interval=2), rounds=4, **SINGLE).journal
    assert [(work.round, work.flops) for work in journal.works if work.kind == "aggregation"] == [
        (1, USERS * FRONT),
        (3, USERS * FRONT),
    ]


def test_a_latency_budget():
    """rho = clip(1 - (budget - other time) / dense compute time): a round takes a device this long, if it can."""
    speeds = [4e6, 2e5, 1e3]
    setting = {**SINGLE, "flops_per_s": speeds, "slots": USERS}
    dense = [(FORWARD + BACKWARD) / speed for speed in speeds]
    other = (32 * BATCH * CUT + LABELS) / UP + SERVE / SERVER + 32 * BATCH * CUT / DOWN
    budget = other + 0.6 * dense[1]
    assert dense[0] < budget - other < dense[1]
    scheme = FedSLPQ(interval=1, latency_budget_s=budget, max_rate=0.8, **NOTHING)
    journal = world(scheme, rounds=3, **setting).journal
    rates = {(number, user): rate for number, user, _, rate in journal.decisions}
    for number in range(3):
        assert [rates[number, user] for user in range(USERS)] == pytest.approx(
            [0, 0, 0] if number == 0 else [0, 0.4, 0.8]
        )
    starts = [w.start_s for w in journal.works if (w.node, w.kind) == (1, "client_forward")]
    ends = [w.end_s for w in journal.works if (w.node, w.kind) == (1, "client_backward")]
    assert [end - start for start, end in zip(starts, ends, strict=True)] == pytest.approx(
        [other + dense[1], budget, budget]
    )


@pytest.mark.parametrize("passed", [0.5, 1.1, 1.6], ids=["forward pass", "upload", "backward pass"])
def test_a_round_that_was_broken_off_leaves_the_times_of_the_one_before(passed):
    """A latency budget goes by the times of one round: not by a part of this one and a part of another."""
    scheme = FedSLPQ(latency_budget_s=1.0, **NOTHING)
    ran = world(scheme, rounds=1, **SINGLE)
    user, front, joint = ran.users[0], ran.initial(ran.front), JointPart(ran, ran.initial(ran.back), ())
    device = PrunedDevice(ran, user, front, ran.optimiser.init(front), ServerPart(ran, joint.weights, ()))
    device.mask = {name: torch.ones_like(value, dtype=torch.bool) for name, value in front.items()}
    device.compute_s, device.other_s = 4.0, 0.2

    def broken_off():
        with suppress(simpy.Interrupt):
            yield from scheme.user(ran, user, 1, device, joint, None)

    process = ran.env.process(broken_off())
    ran.env.run(until=ran.env.now + passed * FORWARD / DEVICE)
    process.interrupt()
    ran.env.run()
    assert (device.compute_s, device.other_s) == (4.0, 0.2)


def test_settings_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match="gradient_bits is 20"):
        FedSLPQ(gradient_bits=20)
    with pytest.raises(ValueError, match="taylor needs the devices' own gradients"):
        FedSLPQ(masks_at="server", pruning=Pruning("taylor"))
    assert FedSLPQ(gradient_bits=16).gradient_bits == 16


# 8: the bound.

LAYERS = [LayerStatistics(1.0, 2.0, 100, 0.5), LayerStatistics(0.5, 1.0, 50, 0.25), LayerStatistics(0.2, 0.7, 20, 1.0)]
SETTING = BoundSetting(
    interval=3,
    cut=2,
    pruning_rate=0.5,
    gradient_bits=4,
    dropout_rate=0.2,
    rounds=100,
    users=5,
    learning_rate=0.1,
    smoothness=2.0,
    initial_gap=1.5,
    weight_square=3.0,
    activation_square=4.0,
)


@pytest.mark.parametrize(
    ("knob", "values", "sign"),
    [
        ("interval", [1, 2, 5, 10], 1),
        ("cut", [1, 2, 3], 1),
        ("pruning_rate", [0.0, 0.3, 0.9], 1),
        ("dropout_rate", [0.0, 0.2, 0.5], 1),
        ("gradient_bits", [2, 4, 8, 16, 32], -1),
        ("rounds", [10, 100, 1000], -1),
        ("users", [1, 5, 50], -1),
    ],
)
def test_the_bound_is_monotone(knob, values, sign):
    values = [stationarity_bound(replace(SETTING, **{knob: value}), LAYERS) for value in values]
    assert all(sign * (b - a) > 0 for a, b in pairwise(values))


def test_the_bound_by_hand():
    start, noise = 2 * 1.5 / (0.1 * 100), 2.0 * 0.1 / 5 * (1.0 + 0.5 + 0.2)
    drift = 4 * 2.0**2 * 0.1**2 * 3**2 * (2.0 + 1.0)
    pruning = 2.0**2 * 0.5 * 3.0
    rounding = 2.0 * 0.1 / 5 * (100 * 0.5**2 + 50 * 0.25**2) / (4 * 15**2)
    dropping = 2.0 * 0.1 / 5 * 0.25 * 4.0
    assert stationarity_bound(SETTING, LAYERS) == pytest.approx(start + noise + drift + pruning + rounding + dropping)
    weighted = start + noise + drift + 2 * pruning + 3 * rounding + 4 * dropping
    assert stationarity_bound(SETTING, LAYERS, 2, 3, 4) == pytest.approx(weighted)
    bare = replace(SETTING, interval=1, pruning_rate=0.0, gradient_bits=32, dropout_rate=0.0)
    assert stationarity_bound(bare, LAYERS) == pytest.approx(start + noise)
