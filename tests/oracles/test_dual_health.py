"""Detection by uncertainty: its losses by their definitions, its training in plain torch, its messages to the bit, and
what late, lost and missing modalities change."""

from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from learning.contrastive import contrastive
from learning.data import Modalities
from learning.data.health import SENSORS
from learning.draws import standard_normal
from learning.models.towers import own
from learning.models.uncertainty.architecture import stages
from learning.schemes.dual_health import DualHealth
from learning.schemes.dual_health.losses import Example, Losses, first_stage, mismatch, remaining, whole_loss
from learning.schemes.dual_health.operators import answer
from learning.schemes.dual_health.training import Training
from runs import NEEDS, TINY, frame
from scenarios import load, simulate
from scenarios.build import build
from scenarios.errors import ScenarioError
from scenarios.run import Result

NEEDED = NEEDS["dual_health"]
D, WINDOWS = 8, 3
ORDER = list(SENSORS)


def settings(scheme: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    described = {**NEEDED["learning.scheme"], **(scheme or {})}
    others = {path.replace("__", "."): value for path, value in changes.items()}
    return {**NEEDED, **others, "learning.scheme": described}


def ran(scheme: dict[str, Any] | None = None, **changes: Any) -> Result:
    return simulate(load(TINY, settings(scheme, **changes)))


def ready(**changes: Any) -> Any:
    """The world of a run that is about to begin."""
    return build(load(TINY, settings(**changes))).process.gi_frame.f_locals["scheme"].gi_frame.f_locals["world"]  # type: ignore[union-attr]


# ---------------------------------------------------------------- losses


def test_uncertainty_that_equals_errors_up_to_a_constant_is_calibrated() -> None:
    draw = torch.Generator().manual_seed(1)
    errors = torch.rand(9, 3, generator=draw, dtype=torch.float64)
    present = torch.rand(9, 3, generator=draw) < 0.7
    for temperature in (0.5, 1.0):
        assert float(mismatch(errors, errors + 3, present, temperature)) == pytest.approx(0, abs=1e-12)
        assert float(mismatch(errors, -errors, present, temperature)) > 1e-3
        assert float(mismatch(errors, 2 * errors, present, temperature)) > 1e-5


def test_mismatch_by_its_definition() -> None:
    """Sums of p log(p / q) over the modalities that are there, and over the samples that have a modality."""
    draw = torch.Generator().manual_seed(2)
    errors, level = (torch.rand(6, 3, generator=draw, dtype=torch.float64) for _ in range(2))
    present = torch.tensor([[1, 1, 1], [1, 0, 1], [0, 0, 0], [0, 1, 0], [1, 1, 0], [1, 1, 1]], dtype=torch.bool)

    def divergence(e: np.ndarray, u: np.ndarray) -> float:
        p, q = (np.exp(each / 0.5) / np.exp(each / 0.5).sum() for each in (e, u))
        return float((p * np.log(p / q)).sum())

    e, u, mask = errors.numpy(), level.numpy(), present.numpy()
    rows = [divergence(e[i, mask[i]], u[i, mask[i]]) if mask[i].any() else 0.0 for i in range(6)]
    columns = [divergence(e[mask[:, m], m], u[mask[:, m], m]) for m in range(3)]
    assert float(mismatch(errors, level, present, 0.5)) == pytest.approx(np.mean(rows) + np.mean(columns), rel=1e-9)


def test_absent_samples_have_no_part_in_the_contrastive_loss() -> None:
    draw = torch.Generator().manual_seed(3)
    q, k = (F.normalize(torch.randn(7, 5, generator=draw, dtype=torch.float64), dim=1) for _ in range(2))
    present = torch.tensor([True, False, True, True, False, True, True])
    torch.testing.assert_close(contrastive(q, k, 0.2, present), contrastive(q[present], k[present], 0.2))
    assert float(contrastive(q, k, 0.2, torch.zeros(7, dtype=torch.bool))) == 0
    torch.testing.assert_close(contrastive(q, k, 0.2, torch.ones(7, dtype=torch.bool)), contrastive(q, k, 0.2))


def test_dropout_leaves_one_modality_of_those_that_are_there() -> None:
    draw = torch.Generator().manual_seed(4)
    uniform, present = torch.rand(20_000, 3, generator=draw), torch.rand(20_000, 3, generator=draw) < 0.6
    kept = remaining(present, uniform, 0.3)
    assert not (kept & ~present).any()
    assert torch.equal(kept.any(1), present.any(1))
    several = present.sum(1) > 1
    share = float(kept[several][present[several]].double().mean())
    count = present[several].sum(1).double()  # all would be dropped with probability 0.3^n, and then one remains
    assert share == pytest.approx(float((count * 0.7 + 0.3**count).sum() / count.sum()), abs=0.01)
    assert torch.equal(remaining(present, uniform, 0.0), present)


def example(world: Any, samples: int = 7) -> tuple[Example, Tensor, dict[str, Tensor]]:
    """Samples of which some lack modalities, draws, and drawn weights of the whole model."""
    train, draw = world.dataset.train, torch.Generator().manual_seed(5)
    values = {name: train.x.values[name][:samples] for name in ORDER}
    present = {name: torch.rand(samples, generator=draw) < 0.8 for name in ORDER}
    noise = torch.rand(samples, 3, D, generator=draw, dtype=torch.float64)
    left = torch.rand(samples, 3, generator=draw, dtype=torch.float64)
    weights = {
        name: 0.3 * torch.randn(each.shape, generator=draw, dtype=torch.float64)
        for name, each in world.whole.parameters().items()
    }
    return Example(Modalities(values, present), noise, left), train.y[:samples], weights


def by_hand(model: Any, weights: dict[str, Tensor], given: Example, y: Tensor, losses: Losses) -> dict[str, Tensor]:
    """The terms of the loss, sample by sample and modality by modality, from what the blocks of the model return."""
    estimate, judge, recover, fuse = stages(model.fusion)
    features = {tower.name: tower(own(tower, weights), given.x.values[tower.name]) for tower in model.towers.towers}
    known = estimate(own(estimate, weights), Modalities(features, given.x.present))
    latent = known.mean + known.log_variance.exp().sqrt() * standard_normal(given.noise)
    judged = judge(own(judge, weights), known._replace(latent=latent))
    present = torch.stack([given.x.present[name] for name in ORDER], 1)
    kept = present & (given.dropout >= losses.dropout)
    for i in range(len(y)):
        if present[i].any() and not kept[i].any():
            kept[i, max((m for m in range(3) if present[i, m]), key=lambda m: float(given.dropout[i, m]))] = True
    changed = judged._replace(estimates=judged.estimates._replace(present=kept))
    done = recover(own(recover, weights), changed)
    one_by_one = [(i, m) for i in range(len(y)) for m in range(3) if present[i, m]]
    cross = torch.stack([F.cross_entropy(judged.logits[:, m], y, reduction="none") for m in range(3)], 1)
    unimodal = sum(torch.stack([cross[i, m] for i, k in one_by_one if k == m]).mean() for m in range(3))
    mu, s2 = known.mean, known.log_variance.exp()
    prior = torch.stack([0.5 * (s2[i, m] + mu[i, m] ** 2 - 1 - s2[i, m].log()).sum() for i, m in one_by_one]).mean()
    nu, r2 = known.expected
    temporal = torch.stack(
        [0.5 * ((mu[i, m] - nu[i, m]) ** 2 / (r2[i, m] + 1e-6) + (r2[i, m] + 1e-6).log()).sum() for i, m in one_by_one]
    ).mean()
    a, s = done.projected
    level = known.uncertainty
    pairs = []
    for m, n in combinations(range(3), 2):
        both = [i for i in range(len(y)) if present[i, m] and present[i, n]]
        distances = [
            ((a[i, m] - a[i, n]) ** 2).sum() + (((s[i, m] + 1e-6).sqrt() - (s[i, n] + 1e-6).sqrt()) ** 2).sum()
            for i in both
        ]
        weighted = [d * (-level[i, m] - level[i, n]).exp() for d, i in zip(distances, both, strict=True)]
        z = [F.normalize(a[both, k], dim=1) for k in (m, n)]
        similar = z[0] @ z[1].T / losses.contrast_temperature
        rows = -similar.log_softmax(1).diagonal().mean() - similar.log_softmax(0).diagonal().mean()
        pairs.append(torch.stack(weighted).mean() + rows / 2)
    dropped = [(i, m) for i, m in one_by_one if not kept[i, m]]
    assert dropped
    b, t2 = done.decoded
    recovery = torch.stack(
        [
            ((b[i, m] - mu[i, m]) ** 2).sum() * (1 + (-level[i, m]).exp())
            + (((t2[i, m] + 1e-6).sqrt() - (s2[i, m] + 1e-6).sqrt()) ** 2).sum()
            + (done.typical[m] - level[i, m]) ** 2
            for i, m in dropped
        ]
    ).mean()
    return {
        "fused": F.cross_entropy(fuse(own(fuse, weights), done), y),
        "unimodal": unimodal,  # type: ignore[dict-item]
        "calibration": mismatch(cross, level, present, losses.calibration_temperature),
        "temporal": temporal,
        "prior": prior,
        "alignment": torch.stack(pairs).mean(),
        "recovery": recovery,
    }


def test_the_loss_is_the_weighted_sum_of_its_terms() -> None:
    world = ready(learning__precision="float64")
    given, y, weights = example(world)
    losses = Losses(dropout=0.5)
    terms = by_hand(world.whole, weights, given, y, losses)
    total = terms["fused"] + sum(getattr(losses, name) * each for name, each in terms.items() if name != "fused")
    torch.testing.assert_close(whole_loss(world.whole, losses, weights, given, y), total, rtol=1e-9, atol=0)
    first = losses.unimodal * terms["unimodal"] + losses.prior * terms["prior"]
    torch.testing.assert_close(first_stage(world.whole, losses, weights, given, y), first, rtol=1e-9, atol=0)


def test_what_is_told_does_not_move_by_its_own_loss() -> None:
    """Predictions of the next window do not change features; errors do not follow uncertainties; a target is fixed."""
    world = ready(learning__precision="float64")
    given, y, weights = example(world)

    def moved(term: str) -> set[str]:
        only = dict.fromkeys(("unimodal", "calibration", "temporal", "prior", "alignment", "recovery"), 0.0)
        with_it, without = (Losses(**{**only, **more}) for more in ({term: 1.0}, {}))
        leaves = {name: each.clone().requires_grad_() for name, each in weights.items()}
        difference = whole_loss(world.whole, with_it, leaves, given, y) - whole_loss(
            world.whole, without, leaves, given, y
        )
        found = torch.autograd.grad(difference, list(leaves.values()), allow_unused=True)
        return {
            name.partition(".")[0] if not name.startswith("fusion") else ".".join(name.split(".")[1:3])
            for name, each in zip(leaves, found, strict=True)
            if each is not None and float(each.abs().max()) > 1e-12
        }

    assert moved("temporal") == {"0.predict"}
    calibrated = moved("calibration")
    assert {"0.calibrate", "0.spread"} <= calibrated
    assert not {"0.predict", "1.classify", "4.classify"} & calibrated
    assert {"2.decode", "2.project", "2.typical"} <= moved("recovery")
    assert not {"0.calibrate", "0.predict", "1.classify"} & moved("recovery")
    assert not {"0.calibrate", "0.spread", "0.predict"} - {"0.spread"} & moved("alignment")


# ---------------------------------------------------------------- training


def test_one_modality_without_noise_is_plain_training() -> None:
    """Late fusion of one modality, no term but its loss: Adam of torch on the tower and a linear classifier."""
    losses = {**dict.fromkeys(("unimodal", "calibration", "temporal", "prior", "alignment", "recovery"), 0.0)}
    scheme = {"losses": {**losses, "dropout": 0.0, "sampling": False}, "steps": 7, "first_stage_steps": 0}
    tower = {"face": NEEDED["learning.towers"]["face"]}
    fusion = {"name": "uncertainty_fusion", "fusion": "late", "common": 4}
    world = ready(learning__towers=tower, learning__model=fusion, learning__executor="eager")
    start = world.initial(world.whole)
    described: Any = load(TINY, settings(scheme)).learning
    training = Training(world, world.whole, described.scheme.losses, 0)
    training.before(7)
    hidden, outward = torch.nn.Linear(8 * 8, 12), torch.nn.Linear(12, D)
    classify = torch.nn.Linear(D, 3)
    names = {"face.0.1": hidden, "face.1.0": outward, "fusion.4.classify": classify}
    for name, layer in names.items():
        layer.weight.data, layer.bias.data = start[f"{name}.weight"].clone(), start[f"{name}.bias"].clone()
    optimiser = torch.optim.Adam([p for layer in names.values() for p in layer.parameters()], lr=0.01)
    for number in range(7):
        x, y = training.batches.at(number)
        present = x.values["face"].tensor()[:, -1].flatten(1)  # type: ignore[union-attr]
        loss = F.cross_entropy(classify(outward(F.relu(hidden(present)))), y.tensor())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    trained = world.executor.value(training.weights)
    for name, layer in names.items():
        torch.testing.assert_close(trained[f"{name}.weight"], layer.weight.data, rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(trained[f"{name}.bias"], layer.bias.data, rtol=1e-4, atol=1e-6)
    others = [name for name in start if not name.startswith(tuple(names))]
    assert all(torch.equal(trained[name], start[name]) for name in others if not name.endswith("prior.value"))


def test_the_first_steps_are_without_fusion() -> None:
    """Two of five: they leave recovery and fusion as they are, and the prior is that of the labels."""
    world = ready(learning__executor="eager")
    start = world.initial(world.whole)
    training = Training(world, world.whole, Losses(), 2)
    for count, fused in ((2, False), (3, True)):
        training.before(count)
        weights = world.executor.value(training.weights)
        for name in ("fusion.2.project.weight", "fusion.3.first.weight", "fusion.4.classify.weight"):
            assert torch.equal(weights[name], start[name]) != fused
        assert not torch.equal(weights["fusion.1.classify.weight"], start["fusion.1.classify.weight"])
    labels = torch.bincount(world.dataset.train.y, minlength=3) + 1.0
    torch.testing.assert_close(weights["fusion.4.prior.value"], (labels / labels.sum()).log())


# ---------------------------------------------------------------- messages and deadlines

SLOW: dict[str, Any] = {
    "network__channel__fading": "none",
    "network__sharing__uplink": {"bandwidth_mhz": 0.02, "scheduler": "fixed"},
    "learning__executor": "dry",
    "compute__stragglers": {},
}
"""A radio without fading and with fixed shares of the band, over which features take 2 to 5 ms."""
AT_SERVER = dict.fromkeys(ORDER, "server")


def sent(result: Result) -> pd.DataFrame:
    transfers = frame(result, "transfers")
    return transfers[transfers.kind.isin(ORDER)]


@pytest.mark.parametrize("placed", ["user", "server"])
def test_features_and_windows_to_the_bit(placed: str) -> None:
    """32 bits for each of d features, or for each number in the present window alone; the result has 32 bits."""
    result = ran(learning__placement=AT_SERVER if placed == "server" else {})
    uplink = sent(result)
    for kind, (samples, channels) in SENSORS.items():
        own_bits = uplink[uplink.kind == kind].bits.unique().tolist()
        assert own_bits == [32 * (samples * channels if placed == "server" else D)]
    transfers, jobs = frame(result, "transfers"), frame(result, "computations")
    assert transfers[transfers.kind == "result"].bits.unique().tolist() == [32]
    assert set(jobs[jobs.kind == "tower"].node_kind) == {placed}
    assert set(jobs[jobs.kind == "fusion"].node_kind) == {"server"}


def test_the_device_computes_the_present_window_alone() -> None:
    """Two matrix products of one window, at two FLOPs a product."""
    jobs = frame(ran(), "computations")
    found = set(jobs[jobs.kind == "tower"].flops)
    assert found == {2 * (samples * channels * 12 + 12 * D) for samples, channels in SENSORS.values()}


def test_the_answer_is_at_the_deadline_or_when_all_is_in() -> None:
    """Without anything missing: when the last message is in. Otherwise at the deadline, to the rounding."""
    for deadline_s, late in ((5.0, False), (0.012, True)):
        result = ran({"deadline_s": deadline_s}, **SLOW)
        transfers, jobs, requests = (frame(result, table) for table in ("transfers", "computations", "requests"))
        fused = jobs[jobs.kind == "fusion"]
        assert len(fused)
        for _, request in requests.iterrows():
            own_rows = sent(result)
            own_rows = own_rows[
                (own_rows.user == request.user) & (own_rows.start_s.between(request.arrival_s, request.arrival_s + 0.2))
            ]
            begun = fused[(fused.user == request.user) & (fused.start_s >= request.arrival_s)].start_s.min()
            whole = own_rows[own_rows.lost == 0]
            if len(whole) == 3:
                assert begun == pytest.approx(whole.end_s.max(), abs=1e-9)
            elif len(whole):
                assert begun == pytest.approx(request.arrival_s + deadline_s, abs=1e-9)
        assert bool((sent(result).lost > 0).any()) == late
        assert (
            transfers.end_s[transfers.kind.isin(ORDER)]
            <= transfers.start_s[transfers.kind.isin(ORDER)] + deadline_s + 1e-9
        ).all()


def evaluations(result: Result, metric: str) -> pd.Series:
    rows = frame(result, "evaluations")
    return rows[(rows.split == "answers") & (rows.metric == metric)].value


def test_with_everything_late_the_answer_is_the_prior() -> None:
    """No fusion is computed, nothing crashes, and all answers are the commonest class of the training samples."""
    result = ran({"deadline_s": 1e-5}, learning__executor="batched")
    assert "fusion" not in set(frame(result, "computations").kind)
    assert (evaluations(result, "empty") == 1).all()
    assert (evaluations(result, "missing") == 3).all()
    data = ready().dataset
    common = int(torch.bincount(data.train.y, minlength=3).argmax())
    rows = frame(result, "evaluations")
    for name, each in rows[rows.metric.str.startswith("recall_")].groupby("metric"):
        assert set(each.value) == {float(str(name) == f"recall_{common}")}
    shares = (torch.bincount(data.train.y, minlength=3) + 1).double()
    assert evaluations(result, "loss").notna().all()
    assert float(evaluations(result, "loss").max()) <= float(-(shares / shares.sum()).log().min()) + 1e-6
    assert set(frame(result, "requests").outcome) == {"served"}


def test_what_is_late_changes_the_answer_and_what_comes_later_is_not_used() -> None:
    """All in time, and a deadline that some miss: other losses; nothing that is later than the deadline has arrived."""
    whole, cut = (ran({"deadline_s": each}, **{**SLOW, "learning__executor": "batched"}) for each in (5.0, 0.012))
    assert (evaluations(whole, "missing") == 0).all()
    assert 0 < evaluations(cut, "missing").mean() < 3
    assert not np.allclose(evaluations(whole, "loss").mean(), evaluations(cut, "loss").mean(), rtol=1e-6)
    missed = (sent(cut).lost > 0).sum()
    assert missed > 0


def test_a_modality_without_a_sensor_is_always_missing() -> None:
    holding = {"sets": [["physiology", "face"], ["physiology", "face", "vehicle"]], "samples": "own"}
    result = ran({"deadline_s": 5.0}, learning__holding=holding)
    kinds = sent(result).groupby("user").kind.unique()
    assert set(kinds[0]) == {"physiology", "face"}
    assert set(kinds[1]) == set(ORDER)
    assert evaluations(result, "missing").between(0.3, 0.7).all()


def test_gaps_of_sensors_wait_for_the_deadline() -> None:
    """A window without a record is not sent; the server, which does not know, waits. Windows are asked for in order."""
    data = {**NEEDED["learning.data"], "missing": 0.5}
    result = ran({"deadline_s": 0.2}, **SLOW, learning__data=data)
    present = torch.stack(list(ready(learning__data=data).dataset.test.x.present.values()))
    requests, rows = frame(result, "requests"), frame(result, "evaluations").query("metric == 'missing'")
    in_time = requests[requests.end_s < frame(result, "rounds").end_s.max()]
    lacking = [3 - int(present[:, 12 * each.user + each.number % 12].sum()) for each in requests.itertuples()]
    assert (rows.value * rows.samples).sum() == pytest.approx(sum(lacking[each] for each in in_time.index))
    assert ((requests.latency_s >= 0.2) == (np.array(lacking) > 0)).all()
    assert len(sent(result)) == 3 * len(requests) - sum(lacking)


def test_a_failing_link_loses_a_modality_and_no_answer() -> None:
    """Transport blocks fail for good: the modality is missing, and the next one is sent."""
    fidelity = {"name": "slot", "max_retransmissions": 0}
    changes = {
        "network__channel__rate": "adaptive_modulation",
        "network__users__tx_power_dbm": -15,
        "network__sharing__uplink": {"bandwidth_mhz": 5, "scheduler": "equal", "fidelity": fidelity},
        "network__sharing__downlink": {"bandwidth_mhz": 5, "scheduler": "equal", "fidelity": "slot"},
    }
    result = ran({"deadline_s": None}, learning__placement=AT_SERVER, traffic__duration_s=1.5, **changes)
    outages, requests = frame(result, "outages"), frame(result, "requests")
    failed = outages[outages.cause == "radio_link"]
    assert 0 < len(failed) == (sent(result).lost > 0).sum() < len(sent(result))
    assert len(sent(result)) == 3 * len(requests)
    assert set(requests.outcome) == {"served"}
    rows = frame(result, "evaluations").query("metric == 'missing'")
    assert (rows.value * rows.samples).sum() == pytest.approx(len(failed))


def test_devices_that_leave_lose_their_requests_only() -> None:
    faults = {"outages": [{"user": 1, "from_s": 0.3, "until_s": 1.0}, {"user": 2, "from_s": 0.6}]}
    result = ran(network__faults=faults)
    requests = frame(result, "requests")
    assert set(requests[requests.outcome == "lost"].user) <= {1, 2}
    assert (requests[~requests.user.isin([1, 2])].outcome == "served").all()


# ---------------------------------------------------------------- order, memory of earlier windows, training beside


def test_the_least_uncertain_modality_is_sent_first() -> None:
    """After the first window the order of messages is that of the uncertainties in the answer before."""
    result = ran({"order": "confidence", "deadline_s": 5.0, "steps": 6}, learning__executor="eager")
    uplink = sent(result).sort_values(["user", "start_s", "end_s"])
    orders = {tuple(each.kind) for _, each in uplink.groupby(["user", uplink.groupby("user").cumcount() // 3])}
    assert len(orders) > 1
    assert all(set(order) == set(ORDER) for order in orders)
    transfers = frame(result, "transfers")
    assert transfers[transfers.kind == "result"].bits.unique().tolist() == [32 * (1 + 3)]
    dry = frame(ran({"order": "confidence", "deadline_s": 5.0}, learning__executor="dry"), "transfers")
    assert len(dry)
    assert DualHealth(order="confidence").stand_in
    assert DualHealth().stand_in is None


def test_holding_the_last_value_recovers_nothing() -> None:
    data = {**NEEDED["learning.data"], "missing": 0.5}
    held, recovered = (ran({"hold": each, "steps": 6}, learning__data=data) for each in (True, False))
    assert evaluations(held, "empty").mean() < evaluations(recovered, "empty").mean()
    assert (evaluations(held, "missing") == evaluations(recovered, "missing")).all()
    assert not np.allclose(evaluations(held, "loss"), evaluations(recovered, "loss"))


def test_training_beside_answers_waits_in_the_same_queue() -> None:
    """The same server trains: answers wait longer, and there are as many steps as are asked for."""
    alone, beside = (
        ran({"steps_per_period": each}, compute__servers={"flops_per_s": 2e7}, learning__batch_size=16)
        for each in (0, 3)
    )
    jobs = frame(beside, "computations")
    assert (jobs.kind == "server_training").sum() == 3 * 4
    assert "server_training" not in set(frame(alone, "computations").kind)
    waits = [frame(each, "computations").query("kind == 'fusion'").wait_s.mean() for each in (alone, beside)]
    assert waits[0] < waits[1]


# ---------------------------------------------------------------- answers


def test_answers_are_those_of_the_whole_model() -> None:
    """With nothing missing, once the server has heard as many windows as a sample has: the same loss."""
    steps = {"deadline_s": 5.0, "steps": 3, "first_stage_steps": 1, "steps_per_period": 0}
    result = ran(steps, learning__precision="float64")
    world = ready(learning__precision="float64")
    training = Training(world, world.whole, Losses(), 1)
    training.before(3)
    weights, test = world.executor.value(training.weights), world.dataset.test
    losses = F.cross_entropy(world.whole(weights, test.x), test.y, reduction="none")
    requests, found = frame(result, "requests"), evaluations(result, "loss").tolist()
    for number, end_s in enumerate(frame(result, "rounds").end_s):
        own_rows = requests[(requests.end_s <= end_s) & (requests.end_s > end_s - 0.5)]
        if (own_rows.number >= WINDOWS - 1).all():
            asked = [12 * each.user + each.number for each in own_rows.itertuples()]
            assert found[number] == pytest.approx(float(losses[asked].mean()), rel=1e-9)
    assert (own_rows.number >= WINDOWS - 1).all()


def test_the_server_remembers_what_it_has_recovered() -> None:
    """The oldest window is forgotten; what arrived, or what recovery has made of it, is the newest."""
    world, draw = ready(learning__precision="float64"), torch.Generator().manual_seed(6)
    _, _, weights = example(world)
    fusion = world.whole.fusion
    own_weights = own(fusion, weights)
    before = {name: torch.randn(1, WINDOWS - 1, D, generator=draw, dtype=torch.float64) for name in ORDER}
    arrived = {name: torch.randn(1, D, generator=draw, dtype=torch.float64) for name in ("vehicle", "physiology")}
    logits, best, uncertainty, following = answer(fusion, own_weights, arrived, before)
    gone = torch.zeros(1, D, dtype=torch.float64)
    windows = {name: torch.cat([before[name], arrived.get(name, gone)[:, None]], 1) for name in ORDER}
    x = Modalities(windows, {name: torch.tensor([name in arrived]) for name in ORDER})
    estimate, judge, recover, _ = stages(fusion)
    done = recover(own(recover, weights), judge(own(judge, weights), estimate(own(estimate, weights), x)))
    torch.testing.assert_close(logits, fusion(own_weights, x))
    assert torch.equal(best, logits.argmax(-1))
    torch.testing.assert_close(uncertainty, done.uncertainty)
    for place, name in enumerate(ORDER):
        assert torch.equal(following[name][:, :-1], before[name][:, 1:])
        torch.testing.assert_close(following[name][:, -1], arrived.get(name, done.latent[:, place]))
    assert bool(following["face"][:, -1].any())


# ---------------------------------------------------------------- what cannot be

DECODER = {"name": "decoder", "width": 16, "depth": 1, "heads": 2}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"learning__model": DECODER}, "the scheme needs the model uncertainty_fusion"),
        ({"learning__model": DECODER, "learning__adapter": {"rank": 2}}, r"no learning\.adapter"),
        ({"learning__model": {"name": "mlp", "hidden": [8]}}, "sequences of features, which this fusion network does"),
        ({"learning__placement": {"fusion": "user"}}, "the scheme fuses at a server"),
        (
            {
                "compute__sites": {"edge": {"station": 0, "flops_per_s": 1e9}},
                "learning__placement": {"fusion": "edge", "face": "server"},
            },
            r"learning\.placement\.face must be the user, or the host of fusion",
        ),
        ({"learning__stop": {"rounds": 3, "accuracy": 0.5}}, r"learning\.stop\.accuracy is about answers"),
        ({"learning__policy": {"name": "deadline", "deadline_s": 1}}, r"use scheme\.deadline_s"),
    ],
)
def test_what_does_not_fit_is_refused(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ScenarioError, match=sentence):
        ran(**changes)
