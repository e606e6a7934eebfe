"""Models with layers of dropout: training equals plain torch loops that drop the same activations, bit for bit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from by_hand import Plain, batch, by_samples, mean, same_bits, split_step
from torch import Tensor, nn

from fakes import FakeStreams, FakeWorld, world
from learning import training_mode
from learning.data.training_input import TrainingInput
from learning.draws import Draw
from learning.models import own_model
from learning.models.segment import chain
from learning.models.training import Dropout, TrainingPass, rewritten
from learning.optimisers import Sgd
from learning.scheme import Scheme
from learning.schemes import PSL, SCHEMES, SFL, SFLV1, SFLV2, SL, Centralised, FedAvg, FedProx, Local
from learning.store import Store
from runs import TINY, hashes
from scenarios import ScenarioError, load, register, simulate

pytestmark = pytest.mark.bits

ROUNDS, STEPS = 3, 2
SGD = Sgd(0.2, 0.9, 1e-3)
SETTING: dict[str, Any] = {
    **{"rounds": ROUNDS, "precision": torch.float32, "optimiser": SGD, "samples": [16, 40, 24]},
    "cut": 1,
}


@own_model
def dropping(input_shape: tuple[int, ...], classes: int, p: float = 0.3) -> nn.Sequential:
    """Channels are dropped on the device, activations at the server, by one layer that stands at two places."""
    again = nn.Dropout(p)
    return nn.Sequential(
        nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Dropout2d(p)),
        nn.Sequential(nn.Flatten(), again, nn.Linear(144, 16), nn.ReLU(), again),
        nn.Linear(16, classes),
    )


SHAPES = {"0.2/0": (4, 1, 1), "1.1/0": (144,), "1.1/1": (16,)}
"""Calls of layers of dropout in order, and what of a sample's activations each drops by itself."""


class Told(nn.Module):
    """Dropout by numbers that the test hands over, as torch drops: the mask is divided, then multiplied."""

    def __init__(self, p: float, script: Script) -> None:
        super().__init__()
        self.p, self.script = p, script

    def forward(self, x: Tensor) -> Tensor:
        return x * (next(self.script.numbers) >= self.p).to(x.dtype).div_(1 - self.p)


class Script:
    """What the layers of dropout in a plain module draw in their calls."""

    def __init__(self, ran: FakeWorld, plain: Plain, calls: Sequence[str]) -> None:
        self.ran, self.calls = ran, calls
        self.numbers: Iterator[Tensor] = iter(())
        for block in plain.module:
            for name, layer in block._modules.items():
                if isinstance(layer, nn.Dropout | nn.Dropout2d):
                    block._modules[name] = Told(layer.p, self)

    def begin(self, who: int | str, first: int, size: int, place: int = 0, count: int = 1) -> None:
        """Draw for the mini-batch of `size` samples at a place of a stack of `count`, whose first one is at `first`."""
        shapes = {call: (count, size, *SHAPES[call]) for call in self.calls}
        drawn = [
            self.ran.streams.generator("dropout", who, first, call).random(shape, dtype=np.float32)[place]
            for call, shape in shapes.items()
        ]
        self.numbers = map(torch.from_numpy, drawn)


def test_local_training_drops_what_a_plain_loop_drops() -> None:
    """Consecutive mini-batches of equal size are a stack: of 21 samples two of 8, and then one of 5."""
    ran = world(FedAvg(3), model=dropping(), **{**SETTING, "samples": [21, 40, 24]})
    users = {user: Plain(ran, ran.whole, SGD) for user in ran.users}
    scripts = {user: Script(ran, plain, [*SHAPES]) for user, plain in users.items()}
    weights = next(iter(users.values())).weights
    for number in range(ROUNDS):
        for user, plain in users.items():
            plain.load(weights)
            of_stack = {0: [(0, 0, 2), (0, 1, 2), (2, 0, 1)]}.get(user.number, [(0, step, 3) for step in range(3)])
            for step, (first, place, count) in enumerate(of_stack):
                x, y = batch(ran, user, number * 3 + step)
                scripts[user].begin(user.number, number * 3 + first, len(x), place, count)
                plain.step(x, y)
        weights = mean([plain.weights for plain in users.values()], by_samples(ran))
    assert same_bits(ran.model, weights)


def test_split_training_drops_the_same_in_forward_and_backward_pass_and_at_the_server() -> None:
    ran = world(SFLV1(STEPS), model=dropping(), **SETTING)
    fronts = {user: Plain(ran, ran.front, SGD) for user in ran.users}
    backs = {user: Plain(ran, ran.back, SGD) for user in ran.users}
    scripts = {u: (Script(ran, fronts[u], [*SHAPES][:1]), Script(ran, backs[u], [*SHAPES][1:])) for u in ran.users}
    front, back = fronts[ran.users[0]].weights, backs[ran.users[0]].weights
    for number in range(ROUNDS):
        for user in ran.users:
            fronts[user].load(front)
            backs[user].load(back)
            for position in range(number * STEPS, (number + 1) * STEPS):
                x, y = batch(ran, user, position)
                for script in scripts[user]:
                    script.begin(user.number, position, len(x))
                split_step(fronts[user], backs[user], x, y)
        front, back = (mean([each[user].weights for user in ran.users], [1 / 3] * 3) for each in (fronts, backs))
    assert same_bits(ran.model, front | back)


EVERY = [
    FedAvg(STEPS),
    FedProx(STEPS),
    Local(STEPS),
    Centralised(),
    SL(STEPS),
    SFLV1(STEPS),
    SFLV2(STEPS),
    SFL(2),
    PSL(),
]


def test_these_are_all_schemes_that_train_such_layers() -> None:
    assert {type(scheme) for scheme in EVERY} == {scheme for scheme in SCHEMES.values() if scheme.training_layers}


@pytest.mark.parametrize("scheme", EVERY, ids=lambda each: type(each).__name__)
def test_every_mini_batch_has_draws_of_its_own_that_no_executor_moves(
    scheme: Scheme, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[tuple[int | str, ...]] = []

    def noted(streams: Any, purpose: str, entity: tuple[int | str, ...], *more: Any) -> Draw:
        made.append(entity)
        return Draw(streams, purpose, entity, *more)

    monkeypatch.setattr(training_mode, "Draw", noted)
    one = world(scheme, model=dropping(), **SETTING)
    assert len(set(made)) == len(made) > 3 * ROUNDS - 1
    assert {call for _, _, call in made} == {*SHAPES}
    other = world(scheme, model=dropping(), executor="batched", **SETTING)
    plain = world(scheme, model=dropping(p=0.0), **SETTING)
    for mine, grouped, undropped in zip(one.every_model, other.every_model, plain.every_model, strict=True):
        torch.testing.assert_close(mine, grouped, rtol=1e-5, atol=1e-6)  # products of groups round in another order
        assert not same_bits(mine, undropped)


def test_evaluation_drops_nothing() -> None:
    model, plain = chain(dropping(), (1, 8, 8), 10), chain(dropping(p=0.0), (1, 8, 8), 10)
    parameters = model.initial(FakeStreams())
    x = torch.randn(6, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(model(parameters, x), plain(parameters, x))
    draws = {call: torch.ones(6, *shape) for call, shape in SHAPES.items()}
    assert torch.equal(model(parameters, TrainingInput(x, draws)), plain(parameters, x / 0.7) * 0) is False
    nothing = {call: torch.zeros_like(each) for call, each in draws.items()}
    assert torch.equal(
        model(parameters, TrainingInput(x, nothing)), parameters["2.bias"].expand(6, 10)
    )  # all is dropped


@pytest.mark.parametrize(("layer", "axes"), [(nn.Dropout1d(0.5), 2), (nn.Dropout3d(0.5), 4), (nn.Dropout(1.0), 3)])
def test_what_layers_drop_is_scaled_or_zero(layer: nn.Module, axes: int) -> None:
    shape = (4, 3, 2, 2, 2)[: axes + 1]
    pure = rewritten(layer)
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    assert isinstance(pure, Dropout)
    u = torch.rand(pure.draw_shape(shape), generator=torch.Generator().manual_seed(1))
    u[0, 0] = 0.5  # numbers below p are dropped, which are a share p of those in [0, 1)
    pure.now = TrainingPass(iter([u]))
    assert u.shape == (shape if type(layer) is nn.Dropout else (*shape[:2], *[1] * (axes - 1)))
    expected = torch.zeros(shape) if layer.p == 1 else x * (u >= 0.5) * 2
    assert torch.equal(pure(x), expected)


def setting(**more: Any) -> dict[str, Any]:
    return {"learning.model": "dropping", "learning.scheme": "fedavg", **more}


@pytest.fixture
def registered(own_parts: None) -> None:
    register("model", "dropping", dropping)


@pytest.mark.usefixtures("registered")
def test_runs_have_the_same_tables_with_any_workers_and_from_the_store(tmp_path: Path) -> None:
    settings = setting(**{"learning.workers": 1}), setting(**{"learning.workers": 2})
    one, other = (simulate(load(TINY, each)) for each in settings)
    assert hashes(one) == hashes(other)
    first, again = (simulate(load(TINY, setting()), store=Store(tmp_path)) for _ in range(2))
    assert hashes(first) == hashes(again) == hashes(one)
    dry = simulate(load(TINY, setting(**{"learning.executor": "dry"})))
    assert hashes(dry)["transfers"] == hashes(one)["transfers"]


@pytest.mark.usefixtures("registered")
def test_trained_models_have_the_layers_of_torch() -> None:
    module = simulate(load(TINY, setting())).model()
    assert [type(layer) for layer in module.modules() if "Dropout" in type(layer).__name__] == [
        nn.Dropout2d,
        nn.Dropout,
    ]


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"learning.scheme": "gapsl"},
            r"layer 0\.2 of the model \(Dropout\) computes something else in training, .*; centralised, .*psl can",
        ),
        ({"learning.pretraining": {"data": "digits", "steps": 1}}, r"cannot be together with learning\.pretraining"),
        ({"learning.adapter": {"rank": 2}}, r"cannot be together with learning\.adapter"),
    ],
)
def test_what_cannot_train_with_dropout_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ScenarioError, match=rf"^learning\.model: .*{message}"):
        simulate(load(TINY, setting(**change)))
