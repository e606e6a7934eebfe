"""Token communication: its losses in closed form, its rounds in plain torch, its messages to the bit and its stages."""

from math import inf, log
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from learning import steps
from learning.contrastive import contrastive
from learning.data import Modalities
from learning.models.towers import own
from learning.protocols.token_stages.operators import feature
from learning.reducers import reduced_towers
from runs import NEEDS, TINY, frame
from scenarios import load, simulate
from scenarios.build import build
from scenarios.errors import ScenarioError

NEEDED = NEEDS["token_comm"]
BATCH, WIDTH, WORDS = 8, 16, 4
SENT = {"image": 5, "tone": 4, "text": WORDS}
"""Tokens of a sample: four patches and a summary; four strided ones; four words."""
HOLDERS = {"image": (0, 2), "text": (0, 2), "tone": (1, 3)}


def ran(scheme: dict[str, Any] | None = None, **changes: Any) -> Any:
    described = {**NEEDED["learning.scheme"], **(scheme or {})}
    others = {path.replace("__", "."): value for path, value in changes.items()}
    return simulate(load(TINY, {**NEEDED, **others, "learning.scheme": described}))


def ready(**changes: Any) -> Any:
    """The world of a run that is about to begin."""
    others = {path.replace("__", "."): value for path, value in changes.items()}
    return build(load(TINY, {**NEEDED, **others})).process.gi_frame.f_locals["world"]  # type: ignore[union-attr]


# ---------------------------------------------------------------- losses


@pytest.mark.parametrize("temperature", [0.07, 0.5])
def test_contrastive_loss_in_closed_form(temperature: float) -> None:
    """Orthonormal features that agree: log(1 + (B - 1) exp(-1 / tau)). All features equal: log B."""
    orthonormal = torch.eye(6, 9, dtype=torch.float64)
    found = contrastive(orthonormal, orthonormal, temperature)
    assert float(found) == pytest.approx(log(1 + 5 * np.exp(-1 / temperature)), rel=1e-12)
    same = torch.ones(6, 1, dtype=torch.float64)
    assert float(contrastive(same, same, temperature)) == pytest.approx(log(6), rel=1e-12)


def test_contrastive_loss_against_its_definition() -> None:
    draw = torch.Generator().manual_seed(2)
    q, k = (F.normalize(torch.randn(7, 5, generator=draw, dtype=torch.float64), dim=1) for _ in range(2))
    terms = [
        -log(float((q[i] @ k[i] / 0.3).exp() / sum((q[i] @ k[j] / 0.3).exp() for j in range(7)))) for i in range(7)
    ]
    assert float(contrastive(q, k, 0.3)) == pytest.approx(np.mean(terms), rel=1e-12)
    assert float(contrastive(q, q.roll(1, 0), 0.3)) > float(contrastive(q, q, 0.3))
    k.requires_grad_()
    contrastive(q, k, 0.3).backward()
    assert k.grad is not None
    assert k.grad.abs().sum() > 0


def test_limits_of_the_temperature() -> None:
    """Large: log B. Small, in float32: finite, where exp(1 / 0.01) itself is not."""
    draw = torch.Generator().manual_seed(3)
    q, k = (F.normalize(torch.randn(16, 8, generator=draw), dim=1) for _ in range(2))
    assert float(contrastive(q, k, 1e6)) == pytest.approx(log(16), abs=1e-5)
    q.requires_grad_()
    loss = contrastive(q, k, 0.001)
    loss.backward()
    assert torch.tensor(1 / 0.001).exp() == inf
    assert loss.isfinite()
    assert q.grad is not None
    assert q.grad.isfinite().all()


def test_features_are_means_of_summaries() -> None:
    tokens = torch.randn(3, 6, 4, dtype=torch.float64)
    for count, expected in ((1, tokens[:, 0]), (2, (tokens[:, 0] + tokens[:, 1]) / 2), (None, tokens.mean(1))):
        torch.testing.assert_close(feature(tokens, count), expected / expected.norm(dim=1, keepdim=True))


# ---------------------------------------------------------------- what is sent, and when


def test_tokens_and_gradients_to_the_bit() -> None:
    """Digital, two teams of two users: 32 bits an element up; down the same, but nothing for words."""
    result = ran({"uplink": "identity", "average_every": None}, learning__last_batch="drop")
    transfers = frame(result, "transfers")
    up = transfers.query("kind == 'tokens'").groupby("user").bits.unique()
    down = transfers.query("kind == 'gradient'").groupby("user").bits.unique()
    for user, (sent, returned) in enumerate([(("image", "text"), ("image",)), (("tone",), ("tone",))] * 2):
        assert list(up[user]) == [32 * BATCH * WIDTH * sum(SENT[name] for name in sent)]
        assert list(down[user]) == [32 * BATCH * WIDTH * sum(SENT[name] for name in returned)]
    assert set(transfers.kind) == {"tokens", "gradient"}


def test_a_user_of_words_alone_gets_nothing_back() -> None:
    holding = {"sets": [["text", "caption"], ["image", "tone"]]}
    transfers = frame(ran(learning__holding=holding), "transfers")
    assert set(transfers[transfers.user.isin([0, 2])].kind) == {"tokens"}
    assert set(transfers[transfers.user.isin([1, 3])].kind) == {"tokens", "gradient", "model"}


def test_the_first_stage_does_not_touch_the_foundation_model() -> None:
    jobs = frame(ran(), "computations").query("node_kind == 'server'")
    assert set(jobs[jobs["round"] < 2].kind) <= {"server_align", "aggregation"}
    assert set(jobs[jobs["round"] >= 2].kind) <= {"llm_step", "aggregation"}
    align, answer = (jobs[jobs.kind == kind].flops.max() for kind in ("server_align", "llm_step"))
    assert 0 < align < answer


def test_without_alignment_there_is_one_stage() -> None:
    jobs = frame(ran({"alignment_rounds": 0}), "computations")
    assert "server_align" not in set(jobs.kind)


FIXED = {"network__sharing__uplink__scheduler": "fixed", "network__channel__fading": "none"}


def test_analogue_time_depends_on_tokens_and_bandwidth_and_not_on_the_link() -> None:
    """B L d / (2 W) seconds, W a quarter of the band."""
    for megahertz, dbm in ((1, 20), (1, -10), (4, 20)):
        changes = {"network__sharing__uplink__bandwidth_mhz": megahertz, "network__users__tx_power_dbm": dbm}
        result = ran(**FIXED, **changes, learning__last_batch="drop")
        for user, own_s in frame(result, "transfers").query("kind == 'tokens'").groupby("user").airtime_s:
            tokens = SENT["tone"] if int(user) % 2 else SENT["image"] + SENT["text"]
            np.testing.assert_allclose(own_s, BATCH * tokens * WIDTH / (2 * megahertz * 1e6 / 4), rtol=1e-9)


def test_digital_time_falls_with_the_signal() -> None:
    """Bits over Shannon's rate at the SNR of the table."""
    seconds = []
    for dbm in (20, 0):
        changes = {"network__users__tx_power_dbm": dbm, "network__sharing__uplink__bandwidth_mhz": 1}
        transfers = frame(ran({"uplink": "uniform"}, **FIXED, **changes), "transfers").query("kind == 'tokens'")
        rate = 0.25e6 * np.log1p(10 ** (transfers.mean_snr_db / 10)) / np.log(2)
        np.testing.assert_allclose(transfers.airtime_s, transfers.bits / rate, rtol=1e-9)
        seconds.append(transfers.airtime_s.sum())
    assert seconds[0] < seconds[1]


# ---------------------------------------------------------------- what is learned


def test_without_noise_and_receivers_the_model_reads_what_the_encoders_say() -> None:
    """All tokens sent, no noise, no receivers: bit for bit the projections of the encoders, one after another."""
    model = {**NEEDED["learning.model"], "receiver": None}
    world = ready(learning__model=model)
    whole, weights = world.whole, world.initial(world.whole)
    x, _ = (each for each in world.users[0].batch(0))
    x = Modalities(
        {name: world.dataset.train.x.values[name][:5] for name in SENT}, {n: torch.ones(5).bool() for n in SENT}
    )
    tokens = whole.towers(own(whole.towers, weights), x)
    read = whole.fusion.cut(1)[0]({}, tokens)
    parts = [own(tower, weights) for tower in whole.towers.towers]
    direct = [tower(p, x.values[tower.name]) for tower, p in zip(whole.towers.towers, parts, strict=True)]
    assert torch.equal(read, torch.cat(direct, 1))


def frozen(world: Any) -> list[dict[str, torch.Tensor]]:
    return [{name: value.clone() for name, value in part.frozen.items()} for part in world.whole.parts]


def test_encoders_table_and_foundation_model_are_frozen() -> None:
    """After both stages; projections, receivers, the head and two adapters in each layer train, which begin as zero."""
    simulation = build(load(TINY, NEEDED))
    world = simulation.process.gi_frame.f_locals["world"]  # type: ignore[union-attr]
    before, start = frozen(world), world.initial(world.whole)
    plain = set(world.whole.fusion.adapted.segment.parameters())
    simulation.env.run(simulation.env.process(simulation.process))
    for then, part in zip(before, world.whole.parts, strict=True):
        assert all(torch.equal(then[name], value) for name, value in part.frozen.items())
    trained = set(start)
    assert {name.partition(".")[0] for name in trained} == {"image", "tone", "fusion"}
    inside = {name for name in trained if name.startswith("fusion.")}
    assert set(inside & plain) == {name for name in plain if name.startswith(("fusion.0.", "fusion.2."))}
    assert {name.rsplit(".", 2)[-2] for name in inside - plain} == {"q", "v"}
    assert all(not start[name].any() for name in inside if name.endswith(".up"))


def by_hand(world: Any, number: int, weights: dict[str, torch.Tensor], team: int, model: Any) -> torch.Tensor:
    """The loss of a team's mini-batch by autograd, in the stage of its round."""
    x, y = world.users[team].batch(number)
    rows = {**x.values, **world.users[team + 1].batch(number)[0].values}
    values = {name: each.tensor() for name, each in rows.items()}
    if number < 2:
        values["text"] = values["caption"]
    tokens = {tower.name: tower(own(tower, weights), values[tower.name]) for tower in model.towers.towers}
    receivers = {
        name: {k.removeprefix(f"fusion.0.of.{name}."): v for k, v in weights.items() if f".of.{name}." in k}
        for name in tokens
    }
    heard = {
        name: F.linear(F.gelu(F.linear(z, w["0.weight"], w["0.bias"])), w["2.weight"], w["2.bias"])
        for (name, z), w in zip(tokens.items(), receivers.values(), strict=True)
    }
    if number >= 2:
        sequence = torch.cat([heard[name] for name in ("image", "tone", "text")], 1)
        decoder = model.fusion.cut(1)[1]
        return F.cross_entropy(decoder(own(decoder, weights), sequence), y.tensor())
    pooled = {"image": heard["image"][:, 0], "tone": heard["tone"][:, :2].mean(1), "text": heard["text"].mean(1)}
    z = {name: F.normalize(each, dim=1) for name, each in pooled.items()}
    loss = (tokens["text"] - heard["text"]).square().mean()
    for name in ("image", "tone"):
        similar = z[name] @ z["text"].T / 0.07
        loss = loss - (similar.diagonal() - similar.logsumexp(1)).mean()
    return loss


def test_rounds_of_both_stages_are_a_plain_loop_of_torch() -> None:
    """Two teams, private projections, no noise, plain gradient descent: four rounds by autograd on the joint graph."""
    changes = {
        "learning.optimiser": {"name": "sgd", "learning_rate": 0.05},
        "learning.precision": "float64",
        "learning.executor": "eager",
        "learning.scheme": {
            **NEEDED["learning.scheme"],
            "uplink": {"name": "analogue", "snr_db": "noiseless"},
            "average_every": None,
        },
    }
    scenario = load(TINY, {**NEEDED, **changes})
    world = build(scenario).process.gi_frame.f_locals["world"]  # type: ignore[union-attr]
    assert scenario.learning is not None
    model = reduced_towers(world.whole, scenario.learning.scheme.tokens)  # type: ignore[attr-defined]
    start = world.initial(world.whole)
    common = {name: value for name, value in start.items() if name.startswith("fusion.")}
    private = {team: {n: v for n, v in start.items() if not n.startswith("fusion.")} for team in (0, 2)}
    shares = {team: world.users[team].samples / 160 for team in (0, 2)}
    for number in range(4):
        gradients = {}
        for team in (0, 2):
            leaves = {n: v.clone().requires_grad_() for n, v in {**private[team], **common}.items()}
            loss = by_hand(world, number, leaves, team, model)
            found = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True)
            gradients[team] = {n: g for n, g in zip(leaves, found, strict=True) if g is not None}
        for team in (0, 2):
            private[team] = {n: v - 0.05 * gradients[team][n] for n, v in private[team].items()}
        for name in common:
            mean = sum(shares[team] * gradients[team].get(name, torch.zeros_like(common[name])) for team in (0, 2))
            common[name] = common[name] - 0.05 * mean
    test = world.dataset.test
    x = Modalities({name: test.x.values[name] for name in SENT}, {name: test.x.present[name] for name in SENT})
    losses = [float(steps.mean_loss(model({**private[team], **common}, x), test.y)) for team in (0, 2)]
    evaluations = frame(simulate(scenario), "evaluations").query("metric == 'loss' and split == 'test'")
    assert evaluations.value.iloc[-1] == pytest.approx(np.mean(losses), rel=1e-9)
    assert abs(losses[0] - losses[1]) > 1e-6


def test_it_learns_to_answer() -> None:
    """A foundation model that was not pretrained, but for its head: the loss falls by a fifth in 33 rounds."""
    losses = frame(ran(learning__stop__rounds=35), "evaluations").query("metric == 'loss'").set_index("round").value
    assert losses[34] < 0.85 * losses[1]


def test_averaged_projections_are_the_mean_over_users() -> None:
    """After every second round they come down anew: one message up and one down of each projection."""
    transfers = frame(ran(learning__stop__rounds=5), "transfers").query("kind == 'model'")
    assert sorted(transfers[transfers.direction == "up"]["round"].unique()) == [1, 3]
    assert sorted(transfers[transfers.direction == "down"]["round"].unique()) == [2, 4]
    assert set(transfers.bits) == {32 * (8 * WIDTH + WIDTH)}
    assert set(transfers.user) == {0, 1, 2, 3}


# ---------------------------------------------------------------- what is lost


def late(user: int, **changes: Any) -> Any:
    """A run in which one user's tokens never arrive in time."""
    outage = [{"user": user, "from_s": 0.0}]
    return ran(network__faults={"outages": outage}, learning__policy={"name": "deadline", "deadline_s": 5.0}, **changes)


def test_a_lost_modality_is_left_out_and_changes_what_is_learned() -> None:
    """The decoder of team 0 reads the tokens that there are; nothing crashes, and learning differs."""
    complete = ran(learning__policy={"name": "deadline", "deadline_s": 5.0})
    result = late(1)
    jobs = frame(result, "computations").query("kind == 'llm_step'")
    assert jobs.flops.nunique() > 1
    both = [frame(each, "evaluations").query("metric == 'loss'").value.iloc[-1] for each in (complete, result)]
    assert both[0] != both[1]
    assert np.isfinite(both).all()


def test_without_its_anchor_a_team_is_not_aligned() -> None:
    result = late(0)
    jobs = frame(result, "computations")
    assert (jobs.query("kind == 'server_align'").groupby("round").size() == 1).all()
    assert (jobs.query("kind == 'llm_step'").groupby("round").size() == 2).all()


def test_the_prediction_without_any_tokens_but_words_ignores_the_others() -> None:
    """Absent modalities have no influence: the same logits whatever their arrays hold."""
    world = ready()
    weights, split = world.initial(world.whole), world.dataset.test
    present = {name: torch.ones(5).bool() for name in SENT}
    words = {"text": split.x.values["text"][:5]}
    alone = world.whole(weights, Modalities(words, present))
    everything = {name: split.x.values[name][:5] for name in SENT}
    absent = {**present, "image": ~present["image"]}
    one = world.whole(weights, Modalities(everything, absent))
    other = world.whole(weights, Modalities({**everything, "image": everything["image"] + 3}, absent))
    assert torch.equal(one, other)
    assert not torch.equal(one, alone)


# ---------------------------------------------------------------- accuracy over the SNR


def test_models_are_evaluated_at_each_signal_to_noise_ratio() -> None:
    result = ran({"test_snr_db": [-20, 60], "uplink": {"name": "analogue", "snr_db": "noiseless"}})
    losses = frame(result, "evaluations").query("metric == 'loss'").groupby("split").value.last()
    assert set(losses.index) == {"test", "test_-20_db", "test_60_db"}
    assert losses["test_60_db"] == pytest.approx(losses["test"], rel=1e-2)
    assert abs(losses["test_-20_db"] - losses["test"]) > abs(losses["test_60_db"] - losses["test"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"learning.adapter": None}, "the scheme needs a model with learning.towers and learning.adapter"),
        ({"learning.scheme": {"name": "token_comm", "anchor": "smell"}}, "there is no tower of smell"),
        ({"learning.holding": {"sets": [["text", "image"], ["tone"]]}}, "users that hold text need caption"),
        (
            {"learning.scheme": {"name": "token_comm", "tokens": {"smell": "strided"}}},
            "there is no tower of smell whose tokens could be reduced",
        ),
        (
            {"learning.scheme": {"name": "token_comm", "tokens": {"image": "selected"}}},
            "the tokens of image are reduced by a rule on positions",
        ),
        ({"learning.scheme": {"name": "token_comm", "downlink": "analogue"}}, "gradients go to the user"),
        ({"network.sharing.uplink.fidelity": "slot"}, "analogue messages need the fidelity flow"),
    ],
)
def test_what_does_not_fit_is_said(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ScenarioError, match=message):
        simulate(load(TINY, {**NEEDED, **changes}))
