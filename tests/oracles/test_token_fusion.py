"""Token transmission: schemes that it reduces to, its messages to the bit, its clock by the solver, losses in torch."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from learning import steps
from learning.control.lengths.costs import LengthCosts
from learning.control.observation import observe
from learning.data import Modalities
from learning.models.towers import own
from learning.protocols.token_stages import operators
from learning.reducers import ReducedTower, Strided, TokenReducer, WindowPool
from learning.schemes.token_fusion.sequences import Sequences
from runs import NEEDS, TINY, frame
from scenarios import load, simulate
from scenarios.build import build
from scenarios.errors import ScenarioError

NEEDED = NEEDS["token_fusion"]
TOKENS = {"text": 4, "image": 5}
WIDTH, SAMPLES = 16, 8
STILL = {"network.channel.fading": "none", "compute.stragglers.slowdown": "none"}
"""Nothing that the controller does not know."""
EXACT = {"uplink": "identity", "keep": {}}


def described(changes: dict[str, Any], scheme: dict[str, Any]) -> Any:
    return load(TINY, {**NEEDED, **changes, "learning.scheme": {**NEEDED["learning.scheme"], **scheme}})


def ran(changes: dict[str, Any] | None = None, **scheme: Any) -> Any:
    return simulate(described(changes or {}, scheme))


def ready(changes: dict[str, Any] | None = None, **scheme: Any) -> Any:
    """The world of a run that is about to begin."""
    return build(described(changes or {}, scheme)).process.gi_frame.f_locals["world"]  # type: ignore[union-attr]


def measures(result: Any, metric: str) -> pd.DataFrame:
    return frame(result, "evaluations").query(f"metric == '{metric}'")


def decided(result: Any) -> pd.DataFrame:
    """Decisions by round and user, one column each; of the system the user is -1."""
    rows = frame(result, "decisions").fillna({"user": -1})
    return rows.pivot_table(index=["round", "user"], columns="name", values="value")


# ---------------------------------------------------------------- what it reduces to


def test_with_all_tokens_training_is_that_of_token_communication() -> None:
    """Both stages, quantised, without drawn lengths: the same messages, times and losses, bit for bit."""
    common = {"alignment_rounds": 2, "uplink": "uniform"}
    fused = ran({}, **common, task_rounds=2, elastic=False)
    plain = {**common, "name": "token_comm"}
    sent = simulate(load(TINY, {**NEEDED, "learning.scheme": plain}))
    for table in ("transfers", "computations", "rounds", "evaluations"):
        assert frame(fused, table).equals(frame(sent, table)), table


def test_one_modality_and_all_tokens_is_split_learning() -> None:
    """A single user of images, nothing rounded: the joint step of `sfl`, with the same losses."""
    changes = {
        "network.users.count": 1,
        "learning.holding": {"sets": [["image"]]},
        "learning.towers": {"image": NEEDED["learning.towers"]["image"]},
        "learning.precision": "float64",
    }
    fused = ran(changes, anchor="image", elastic=False, task_rounds=4, uplink="identity")
    plain = simulate(load(TINY, {**NEEDED, **changes, "learning.scheme": "sfl"}))
    losses = [measures(each, "loss").value.to_numpy() for each in (fused, plain)]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-12)
    assert len(set(losses[0])) == 4


# ---------------------------------------------------------------- what is sent, and when


def test_tokens_reports_and_grants_to_the_bit() -> None:
    """q d B l bits and two numbers of a range; three numbers up and down, once for each decision."""
    control = {"latency_weight": 0.3}
    result = ran({"learning.stop.rounds": 7}, task_rounds=2, control=control, reallocate_every=2)
    transfers, granted = frame(result, "transfers"), decided(result)
    requests = transfers[transfers["round"] >= 2]
    for kind in ("report", "allocation"):
        own_rows = requests[requests.kind == kind]
        assert set(own_rows.bits) == {96}
        assert own_rows.groupby("round").size().to_dict() == {2: 4, 4: 4, 6: 4}
    for row in requests[requests.kind == "tokens"].itertuples():
        decision = row.round - row.round % 2
        assert row.bits == 8 * WIDTH * SAMPLES * granted.tokens[decision, row.user] + 64
    assert set(requests.kind) == {"report", "allocation", "tokens"}


@pytest.mark.parametrize("latency", ["max", "sum"])
@pytest.mark.parametrize("server_time", [True, False])
def test_the_clock_is_that_of_the_solver(latency: str, server_time: bool) -> None:
    """A still channel and steady devices: rounds last as long as predicted, the server's time included."""
    control = {"latency": latency, "latency_weight": 0.8, "power_budget_w": 0.2, "server_time": server_time}
    result = ran(STILL, control=control)
    predicted = decided(result).xs(-1, level="user").predicted_latency_s
    passes = frame(result, "computations").query("kind == 'llm_forward'")
    served = passes.groupby("round").agg(start=("start_s", "min"), end=("end_s", "max"))
    extra = 0.0 if server_time else (served.end - served.start).to_numpy()
    found = measures(result, "request_latency_s").value.to_numpy()
    np.testing.assert_allclose(found, predicted + extra, rtol=1e-9)
    assert set(frame(result, "decisions").query("name == 'tokens'").value) != {4.0, 5.0}
    if latency == "max":
        tokens = frame(result, "transfers").query("kind == 'tokens' and round >= 2").groupby("round")
        starts = frame(result, "transfers").query("kind == 'allocation'").groupby("round").end_s.max()
        np.testing.assert_allclose(tokens.end_s.max() - starts + (served.end - served.start), found, rtol=1e-9)


def test_grants_are_what_the_radio_does() -> None:
    """Airtime is bits over Shannon's rate in the share and at the power that were granted; budgets are kept."""
    result = ran(STILL, control={"latency_weight": 0.3, "power_budget_w": 0.2})
    granted, world = decided(result), ready(STILL)
    gains = [user.node.uplink.gain_over_noise_hz_per_w for user in world.users]
    for row in frame(result, "transfers").query("kind == 'tokens' and round >= 2").itertuples():
        share, power_w = granted.share[row.round, row.user], granted.power_w[row.round, row.user]
        rate = share * 1e6 * np.log2(1 + power_w * gains[row.user] / (share * 1e6))
        assert row.airtime_s == pytest.approx(row.bits / rate, rel=1e-9)
    sums = granted.drop(-1, level="user").groupby("round")[["share", "power_w"]].sum()
    np.testing.assert_allclose(sums.share, 1)
    np.testing.assert_allclose(sums.power_w, 0.2)


def test_costs_at_every_length_are_those_of_the_operations() -> None:
    """FLOPs and bits of each length, and the server's time as a polynomial, against shape-only runs of their own."""
    world = ready()
    sequences = Sequences(world, "window_pool", {"image": 1})
    assert sequences.tokens == TOKENS
    costs = LengthCosts(world, sequences.towers, NEEDED_WIRE, world.whole.fusion)
    users = observe(world.users)
    held = {user.number: (sequences.modality(user), TOKENS[sequences.modality(user)]) for user in world.users}
    server = costs.server(users, held, SAMPLES)
    shapes = {name: value.to("meta") for name, value in world.initial(world.whole.fusion).items()}
    x, y = users[0].mini_batch(SAMPLES)
    assert isinstance(x, Modalities)
    for lengths in ([1, 1, 1, 1], [4, 5, 1, 2], [2, 3, 4, 5], [3, 2, 2, 4]):
        flops = 0
        for first in (0, 2):
            sent = [
                {name: torch.empty(SAMPLES, lengths[first + k], WIDTH, device="meta")}
                for k, name in enumerate(("text", "image"))
            ]
            plan = world.executor.plan(operators.answers, world.whole.fusion, shapes, sent, x.present, y)
            flops += world.executor.cost(plan).flops
        assert float(server.seconds(np.array(lengths))) == pytest.approx(flops / 1e9, rel=1e-12)
    image = costs.device(users[1], "image", 5, SAMPLES)
    for length in range(1, 6):
        assert image.bits[length] == 8 * SAMPLES * WIDTH * length + 64
    projected = 2 * 8 * WIDTH * SAMPLES  # of one token, from width 8
    pooled = {length: 0 if length == 5 else WindowPool(length, 1) for length in (1, 2, 3, 4, 5)}
    adds = {n: sum(map(len, pool.windows(5 - 1))) * 8 * SAMPLES if pool else 0 for n, pool in pooled.items()}
    for length in range(1, 5):
        difference = image.flops[length] - image.flops[5]
        assert difference == (length - 5) * projected + adds[length]


NEEDED_WIRE = load(TINY, NEEDED).learning.scheme.uplink  # type: ignore[union-attr, attr-defined]


# ---------------------------------------------------------------- what is learned, and measured


@pytest.mark.parametrize("rule", ["window_pool", "strided"])
def test_measured_losses_are_those_of_models_that_send_fewer_tokens(rule: str) -> None:
    """The base station shortens what it has: as if users had done so before they projected and sent, in plain torch."""
    loss = {"curve": "power_law", "lengths": [1, 3]}
    changes = {"learning.precision": "float64", "learning.stop.rounds": 1}
    result = ran(changes, task_rounds=0, reducer=rule, loss=loss, **EXACT)
    rows = frame(result, "decisions").set_index(["user", "name"]).value
    world = ready(changes)
    weights, public = world.initial(world.whole), torch.from_numpy(world.public.indices)
    train = world.dataset.train
    values = {name: train.x.values[name][public] for name in TOKENS}
    reducers: dict[str, type[TokenReducer]] = {"window_pool": WindowPool, "strided": Strided}

    def lost(**lengths: int) -> float:
        tokens = {}
        for tower in world.whole.towers.towers:
            n = lengths.get(tower.name)
            shorter = tower if n is None else ReducedTower(tower, reducers[rule](n))
            tokens[tower.name] = shorter(own(tower, weights), values[tower.name])
        present = {name: torch.ones(len(public)).bool() for name in TOKENS}
        logits = world.whole.fusion(own(world.whole.fusion, weights), Modalities(tokens, present))
        return float(steps.mean_loss(logits, train.y[public]))

    for user, name in enumerate(["text", "image"] * 2):
        assert rows[user, f"loss_at_{TOKENS[name]}"] == pytest.approx(lost(), rel=1e-9)
        for length in (1, 3):
            assert rows[user, f"loss_at_{length}"] == pytest.approx(lost(**{name: length}), rel=1e-9)
    alone = [lost(text=1) - lost(), lost(image=1) - lost()]
    assert rows[0, "loss_coupling"] == pytest.approx(lost(text=1, image=1) - lost() - sum(alone), abs=1e-9)


def test_a_request_is_answered_with_the_granted_tokens() -> None:
    """The loss of the first request and the test loss after it, by the model before any training, in plain torch."""
    changes = {**STILL, "learning.precision": "float64", "learning.stop.rounds": 1}
    control = {"token_share": 0.5, "latency_weight": 0.25}
    result = ran(changes, task_rounds=0, control=control, **EXACT)
    world = ready(changes)
    weights, test = world.initial(world.whole), world.dataset.test
    pools = {"text": WindowPool(2), "image": WindowPool(2)}
    lost = []

    def logits(rows: torch.Tensor) -> torch.Tensor:
        tokens = {
            tower.name: ReducedTower(tower, pools[tower.name])(own(tower, weights), test.x.values[tower.name][rows])
            for tower in world.whole.towers.towers
        }
        present = {name: torch.ones(len(rows)).bool() for name in TOKENS}
        return world.whole.fusion(own(world.whole.fusion, weights), Modalities(tokens, present))

    for team in (0, 2):
        rows = torch.from_numpy(world.users[team].held_out.run(range(SAMPLES))[1].indices)
        lost += [float(steps.mean_loss(logits(rows), test.y[rows]))]
    assert measures(result, "request_loss").value.iloc[0] == pytest.approx(np.mean(lost), rel=1e-9)
    whole = float(steps.mean_loss(logits(torch.arange(len(test.y))), test.y))
    assert measures(result, "loss").value.iloc[0] == pytest.approx(whole, rel=1e-9)
    latency = measures(result, "request_latency_s").value.iloc[0]
    predicted = decided(result).xs(-1, level="user").iloc[0]
    unit_s, full = units(ready(changes), control)
    assert measures(result, "weighted_sum").value.iloc[0] == pytest.approx(
        0.25 * latency / unit_s + 0.75 * np.mean(lost) / full, rel=1e-9
    )
    assert latency == pytest.approx(predicted.predicted_latency_s, rel=1e-9)


def units(world: Any, control: dict[str, Any]) -> tuple[float, float]:
    """Latency and assumed loss of all tokens over equal shares, written out."""
    speeds = [user.node.flops_per_s for user in world.users]
    sequences = Sequences(world, "window_pool", {})
    costs = LengthCosts(
        world,
        sequences.towers,
        load(TINY, NEEDED | {"learning.scheme": {**NEEDED["learning.scheme"], **EXACT}}).learning.scheme.uplink,
        world.whole.fusion,
    )  # type: ignore[union-attr, attr-defined]
    users = observe(world.users)
    held = {user.number: (sequences.modality(user), TOKENS[sequences.modality(user)]) for user in world.users}
    ends = []
    for user, speed in zip(users, speeds, strict=True):
        tokens = held[user.user.number][1]
        cost = costs.device(user, *held[user.user.number], SAMPLES)
        width, power = 1e6 / 4, user.uplink.max_power_w
        rate = width * np.log2(1 + power * user.uplink.gain_hz_per_w / width)
        ends.append(cost.flops[tokens] / speed + cost.bits[tokens] / rate)
    lengths = np.array([held[user.user.number][1] for user in users])
    return max(ends) + float(costs.server(users, held, SAMPLES).seconds(lengths)), (1 / 4 + 1 / 5)


def test_lengths_of_training_are_drawn_anew_for_each_round() -> None:
    """Of both stages, within the bounds, of each modality by itself; without them all tokens are sent."""
    changes = {"learning.stop.rounds": 30, "learning.executor": "dry", "learning.last_batch": "drop"}
    rows = frame(ran(changes, task_rounds=30, uplink="identity", control={"min_tokens": 2}), "transfers")
    sent = (
        rows.query("kind == 'tokens'").assign(length=rows.bits / (32 * WIDTH * 8)).set_index(["round", "user"]).length
    )
    for user, name in enumerate(["text", "image"] * 2):
        assert set(sent.xs(user, level="user")) == set(map(float, range(2, TOKENS[name] + 1)))
    assert (sent.xs(0, level="user") == sent.xs(2, level="user")).all()
    assert len(set(zip(sent.xs(0, level="user"), sent.xs(1, level="user"), strict=True))) > 5


def test_requests_are_about_new_samples_and_train_nothing() -> None:
    result = ran({"learning.stop.rounds": 6}, task_rounds=2)
    losses = measures(result, "loss").value.to_numpy()
    assert len(set(losses[2:])) == 1
    assert len(set(losses)) == 3
    assert measures(result, "request_loss").value.nunique() == 4
    rare = ran({"learning.stop.rounds": 6, "learning.evaluate_every": 4}, task_rounds=2)
    assert measures(rare, "loss")["round"].tolist() == [3, 5]
    each = [measures(found, "request_loss").reset_index(drop=True) for found in (rare, result)]
    pd.testing.assert_frame_equal(*each)


# ---------------------------------------------------------------- what is lost


def test_a_modality_that_is_late_changes_the_answers_and_nothing_crashes() -> None:
    """User 1 is away: the requests of its team are answered by the words alone; with both away there is no answer."""
    deadline = {"learning.policy": {"name": "deadline", "deadline_s": 5.0}, **STILL}
    losses = {}
    for name, away in (("none", []), ("image", [1]), ("team", [0, 1])):
        outages = [{"user": user, "from_s": 0.0} for user in away]
        result = ran({**deadline, "network.faults": {"outages": outages}}, task_rounds=0)
        losses[name] = measures(result, "request_loss").value.iloc[0]
        answered = frame(result, "computations").query("kind == 'llm_forward'").groupby("round").size()
        assert set(answered) == {1 if name == "team" else 2}
    assert len(set(losses.values())) == 3
    assert np.isfinite(list(losses.values())).all()


@pytest.mark.parametrize(
    ("changes", "scheme", "message"),
    [
        ({"learning.adapter": None}, {}, "the scheme needs a model with learning.towers and learning.adapter"),
        ({"learning.holding": {"sets": [["text", "caption", "image"]]}}, {}, "each user sends one modality"),
        ({"network.sharing.uplink.scheduler": "equal"}, {}, "only where the band's scheduling policy is controlled"),
        ({"learning.public_fraction": 0}, {"loss": {}}, "set learning.public_fraction, or loss.curve: assumed"),
        ({}, {"uplink": "analogue"}, "the controller needs a digital uplink"),
        ({}, {"keep": {"smell": 1}}, "keep names smell, of which there is no tower"),
        ({}, {"control": {"solver": "coupling"}}, "coupled"),
        (
            {
                "learning.towers": {
                    **NEEDED["learning.towers"],
                    "image": {"model": {"name": "token_encoder", "patch": 1}, "features": 16},
                }
            },
            {"control": {"solver": "brute"}},
            "combinations of lengths, more than the 2000 that brute force tries; take another solver",
        ),
    ],
)
def test_what_does_not_fit_is_said(changes: dict[str, Any], scheme: dict[str, Any], message: str) -> None:
    with pytest.raises(ScenarioError, match=message):
        ran(changes, **scheme)
