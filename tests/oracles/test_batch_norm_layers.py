"""Models with batch normalisation: training equals plain torch loops with torch's own layers, bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from by_hand import Plain, Weights, batch, by_samples, mean, same_bits, split_step
from torch import nn

from fakes import FakeStreams, FakeWorld, digits, world
from learning.data.training_input import TrainingInput
from learning.models import own_model
from learning.models.segment import chain
from learning.optimisers import Adam, Sgd
from learning.running_statistics import tracking
from learning.schemes import PSL, SFL, SFLV1, SFLV2, SL, Centralised, FedAvg, FedProx, Local
from learning.store import Store
from runs import TINY, frame, hashes
from scenarios import ScenarioError, load, register, simulate

pytestmark = pytest.mark.bits

ROUNDS, STEPS = 3, 2
SGD = Sgd(0.2, 0.9, 1e-3)
SETTING: dict[str, Any] = {
    **{"rounds": ROUNDS, "precision": torch.float32, "optimiser": SGD, "samples": [21, 40, 24]},
    "cut": 1,
}
STATISTICS = ["0.1.running_mean", "0.1.running_var", "1.2.running_mean", "1.2.running_var"]
OF_LAYERS = sorted([*STATISTICS, "0.1.weight", "0.1.bias"])


@own_model
def normed(input_shape: tuple[int, ...], classes: int, momentum: float = 0.1) -> nn.Sequential:
    """Normalised on the device, and without weights at the server."""
    return nn.Sequential(
        nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4, momentum=momentum), nn.ReLU()),
        nn.Sequential(nn.Flatten(), nn.Linear(144, 16), nn.BatchNorm1d(16, eps=1e-3, affine=False), nn.ReLU()),
        nn.Linear(16, classes),
    )


def weights_of(plain: Plain) -> Weights:
    """Parameters and running statistics."""
    state = plain.module.state_dict()
    return {name: value.clone() for name, value in state.items() if not name.endswith("num_batches_tracked")}


def fedavg_by_hand(ran: FakeWorld, kept: list[str]) -> tuple[Weights, dict[int, Weights]]:
    """The mean of all users' models, and the parameters `kept` of each user, which are not averaged."""
    users = {user: Plain(ran, ran.whole, SGD) for user in ran.users}
    weights = weights_of(next(iter(users.values())))
    own = {user.number: {name: weights[name] for name in kept} for user in ran.users}
    for number in range(ROUNDS):
        for user, plain in users.items():
            plain.load(weights | own[user.number])
            for step in range(STEPS):
                plain.step(*batch(ran, user, number * STEPS + step))
        models = [weights_of(plain) for plain in users.values()]
        own = {user.number: {name: model[name] for name in kept} for user, model in zip(users, models, strict=True)}
        weights = mean(models, by_samples(ran))
    return weights, own


def ordered(model: Weights) -> Weights:
    return dict(sorted(model.items()))


def test_averaged_statistics_are_those_of_a_plain_loop() -> None:
    ran = world(FedAvg(STEPS), model=normed(), **SETTING)
    expected, _ = fedavg_by_hand(ran, [])
    assert {*STATISTICS} < {*expected}
    assert same_bits(ordered(ran.model), ordered(expected))


@pytest.mark.parametrize(("rule", "kept"), [("local", OF_LAYERS), ("local_statistics", STATISTICS)])
def test_what_users_keep_is_not_averaged(rule: str, kept: list[str]) -> None:
    ran = world(FedAvg(STEPS), model=normed(), **SETTING, batch_norm=rule)
    expected, own = fedavg_by_hand(ran, kept)
    assert len(ran.every_model) == len(own) == 3
    for number, model in enumerate(ran.every_model):
        assert same_bits(ordered(model), ordered(expected | own[number]))
    scalars = sum(value.numel() for name, value in expected.items() if name not in kept)
    assert set(ran.journal.sent(kind="model")) == {32 * scalars}


@pytest.mark.parametrize("scheme", [SFLV1(STEPS), SFLV2(1), SL(STEPS, order="fixed")], ids=lambda s: type(s).__name__)
def test_split_training_is_that_of_a_plain_loop(scheme: Any) -> None:
    ran = world(scheme, model=normed(), **{**SETTING, "flops_per_s": [3e6, 2e6, 1e6]})
    fronts = {user: Plain(ran, ran.front, SGD) for user in ran.users}
    shared = Plain(ran, ran.back, SGD)
    backs = {user: Plain(ran, ran.back, SGD) if isinstance(scheme, SFLV1) else shared for user in ran.users}
    front, back = weights_of(fronts[ran.users[0]]), weights_of(shared)
    steps = 1 if isinstance(scheme, SFLV2) else STEPS
    for number in range(ROUNDS):
        for user in ran.users:
            fronts[user].load(front)
            if isinstance(scheme, SFLV1):
                backs[user].load(back)
            for position in range(number * steps, (number + 1) * steps):
                split_step(fronts[user], backs[user], *batch(ran, user, position))
            front = weights_of(fronts[user]) if isinstance(scheme, SL) else front
        if not isinstance(scheme, SL):
            front = mean([weights_of(each) for each in fronts.values()], [1 / 3] * 3)
        back = mean([weights_of(each) for each in backs.values()], [1 / 3] * 3)
    back = back if isinstance(scheme, SFLV1) else weights_of(shared)
    assert same_bits(ordered(ran.model), ordered(front | back))


def test_statistics_of_a_joint_step_are_means_over_users() -> None:
    ran = world(SFL(None), model=normed(), **{**SETTING, "rounds": 1})
    found: list[Weights] = []
    for user in ran.users:
        front, back = Plain(ran, ran.front, SGD), Plain(ran, ran.back, SGD)
        split_step(front, back, *batch(ran, user, 0))
        found.append({name: value for name, value in weights_of(back).items() if name in STATISTICS})
    joint = {name: value for name, value in ran.every_model[0].items() if name in found[0]}
    assert same_bits(ordered(joint), ordered(mean(found, [1 / 3] * 3)))


def test_the_penalty_of_fedprox_does_not_hold_statistics_back() -> None:
    mu = 0.3
    ran = world(FedProx(STEPS, mu=mu), model=normed(), **{**SETTING, "rounds": 1, "users": 1, "samples": 40})
    plain = Plain(ran, ran.whole, SGD)
    start = {name: value.detach().clone() for name, value in plain.module.named_parameters()}
    for position in range(STEPS):
        x, y = batch(ran, ran.users[0], position)
        plain.optimiser.zero_grad()
        pulls = [((p - start[name]) ** 2).sum() for name, p in plain.module.named_parameters()]
        (F.cross_entropy(plain.module(x), y) + mu / 2 * sum(pulls)).backward()
        plain.optimiser.step()
    for name, value in weights_of(plain).items():
        torch.testing.assert_close(ran.model[name], value, rtol=1e-5, atol=1e-6)
    without = world(FedAvg(STEPS), model=normed(), **{**SETTING, "rounds": 1, "users": 1, "samples": 40})
    whole, plain_whole = (each.executor.charged(each.model) for each in (ran, without))
    more = ran.journal.charged(kind="client_training")[0] - without.journal.charged(kind="client_training")[0]
    statistics = sum(ran.model[name].numel() for name in STATISTICS)
    assert more == 2 * STEPS * (whole.numel - statistics)
    assert plain_whole.numel == whole.numel


@pytest.mark.parametrize(
    "scheme", [Centralised(), Local(STEPS), FedAvg(STEPS), SFL(2), PSL(), SFLV2(STEPS)], ids=lambda s: type(s).__name__
)
def test_executors_agree_to_the_bit(scheme: Any) -> None:
    """Kernels of batch normalisation depend on what is stacked, so that operations with it run alone."""
    setting = {**SETTING, "rounds": 6, "samples": 40}
    one, other = (world(scheme, model=normed(), executor=each, **setting) for each in ("eager", "batched"))
    for mine, yours in zip(one.every_model, other.every_model, strict=True):
        assert same_bits(mine, yours)
        assert not torch.equal(mine["0.1.running_mean"], torch.zeros(4))


@own_model
def rows_normed(input_shape: tuple[int, ...], classes: int) -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 9), nn.BatchNorm1d(9), nn.ReLU(), nn.Linear(9, classes))


def test_executors_agree_without_convolutions() -> None:
    setting = {**SETTING, "rounds": 6, "samples": 40, "cut": 2}
    one, other = (world(FedAvg(STEPS), model=rows_normed(), executor=each, **setting) for each in ("eager", "batched"))
    assert same_bits(one.model, other.model)


def test_a_layer_that_is_used_twice_tracks_both_uses() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm1d(64)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.norm(self.norm(x.flatten(1)) * 2 + 1)
            return out

    model = chain(own_model(lambda input_shape, classes: Twice())(), (1, 8, 8), 64)
    x = torch.randn(6, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    plain = Twice()
    expected = plain(x)
    out, statistics = model.tracked(model.initial(FakeStreams()), TrainingInput(x, {}))
    assert torch.equal(out, expected)
    assert torch.equal(statistics["0.norm.running_var"], plain.norm.running_var)


def test_optimisers_do_not_know_statistics() -> None:
    names = frozenset(["s"])
    parameters, gradients = {"w": torch.ones(2), "s": torch.ones(2)}, {"w": torch.ones(2), "s": torch.full((2,), 7.0)}
    for inner in (Adam(0.1, clip_norm=0.5), Sgd(0.1, 0.9, 0.1)):
        optimiser = tracking(inner, names)
        moved, _ = optimiser.step(parameters, gradients, optimiser.init(parameters))
        alone, _ = inner.step({"w": torch.ones(2)}, {"w": torch.ones(2)}, inner.init({"w": torch.ones(2)}))
        assert torch.equal(moved["w"], alone["w"])
        assert torch.equal(moved["s"], torch.full((2,), 7.0))
    assert tracking(SGD, frozenset()) is SGD


# ---------------------------------------------------------------- scenarios


def setting(**more: Any) -> dict[str, Any]:
    return {"learning.model": "normed", "learning.scheme": "fedavg", **more}


@pytest.fixture
def registered(own_parts: None) -> None:
    register("model", "normed", normed)


@pytest.mark.usefixtures("registered")
def test_runs_have_the_same_tables_everywhere_and_evaluate_by_running_statistics(tmp_path: Path) -> None:
    one, other = (simulate(load(TINY, setting(**{"learning.workers": each}))) for each in (1, 2))
    eager = simulate(load(TINY, setting(**{"learning.executor": "eager"})))
    assert hashes(one) == hashes(other) == hashes(eager)
    first, again = (simulate(load(TINY, setting()), store=Store(tmp_path)) for _ in range(2))
    assert hashes(first) == hashes(again) == hashes(one)
    dry = simulate(load(TINY, setting(**{"learning.executor": "dry"})))
    assert hashes(dry)["transfers"] == hashes(one)["transfers"]
    module = one.model()
    assert {type(layer) for layer in module.modules()} > {nn.BatchNorm2d, nn.BatchNorm1d}
    test = digits(torch.float32, 100).test
    accuracy = (module(test.x).argmax(-1) == test.y).float().mean()
    assert one.accuracy == pytest.approx(float(accuracy), abs=1e-6)
    assert module.training is False
    scalars = sum(value.numel() for name, value in module.state_dict().items() if "num_batches" not in name)
    assert set(frame(one, "transfers").bits) == {32 * scalars}


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize("rule", ["local", "local_statistics"])
def test_models_of_users_are_evaluated_one_by_one(rule: str, tmp_path: Path) -> None:
    result = simulate(load(TINY, setting(**{"learning.batch_norm": rule})), out=tmp_path / "run")
    assert {"accuracy", "accuracy_min", "accuracy_max"} <= set(frame(result, "evaluations").metric)
    assert len(list((tmp_path / "run" / "model").glob("user*.safetensors"))) == 4
    eager = simulate(load(TINY, setting(**{"learning.batch_norm": rule, "learning.executor": "eager"})))
    assert hashes(result) == hashes(eager)


@own_model
def without_momentum(input_shape: tuple[int, ...], classes: int) -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64, momentum=None), nn.Linear(64, classes))


@own_model
def normed_rows(input_shape: tuple[int, ...], classes: int) -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64), nn.Linear(64, classes))


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"learning.scheme": "gapsl"},
            r"model: layer 0\.1 of the model \(BatchNorm\) computes something else",
        ),
        (
            {"learning.policy": "buffered"},
            r"model: the policy buffered adds differences of models, which could",
        ),
        ({"learning.model": "without_momentum"}, r"model: .*in training mode with a number as momentum"),
        (
            {"learning.batch_norm": "local", "learning.model": "mlp"},
            r"batch_norm: the model has no batch",
        ),
        ({"learning.batch_norm": "local", "learning.scheme": "sl"}, r"batch_norm: the scheme .*fedavg, fedprox can"),
        (
            {"learning.model": "normed_rows", "learning.partition": "iid", "learning.batch_size": 39},
            r"batch_size: user 0 has a mini-batch of 1: .*let learning\.last_batch be drop",
        ),
    ],
)
def test_what_cannot_be_normalised_is_refused(change: dict[str, Any], message: str) -> None:
    register("model", "without_momentum", without_momentum)
    register("model", "normed_rows", normed_rows)
    with pytest.raises(ScenarioError, match=rf"^learning\.{message}"):
        simulate(load(TINY, setting(**change)))
