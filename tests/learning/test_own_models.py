"""Models of one's own: functions that return modules of torch, layers that are allowed, and remedies for the others."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from annotated_types import Ge
from named_streams import NamedStreams
from scipy import stats
from torch import Tensor, nn
from torch.func import grad, vmap

from learning.data import Dataset, save
from learning.executor import identity
from learning.models import Gru, Lstm, Recurrent, own_model, whole
from learning.models.segment import chain
from runs import TINY, frame
from scenarios import ScenarioError, load, register, simulate
from scenarios.schema import resolved

GENERATOR = torch.Generator().manual_seed(0)


@own_model
def funnel(input_shape: tuple[int, ...], classes: int, width: Annotated[int, Ge(1)] = 12) -> nn.Sequential:
    """A convolution, batch statistics and a classifier."""
    channels, height, breadth = input_shape
    return nn.Sequential(
        nn.Sequential(nn.Conv2d(channels, width, 3, padding=1), nn.BatchNorm2d(width, track_running_stats=False)),
        nn.ReLU(),
        nn.Sequential(nn.Flatten(), nn.Linear(width * height * breadth, classes)),
    )


class Residual(nn.Module):
    """A module that is no sequence, with a parameter of its own."""

    def __init__(self, inputs: int, classes: int) -> None:
        super().__init__()
        self.inner, self.out = nn.Linear(inputs, inputs), nn.Linear(inputs, classes)
        self.scale = nn.Parameter(torch.empty(inputs))

    def draw(self, field: str, generator: np.random.Generator) -> np.ndarray:
        return np.full(self.scale.shape, 0.5) + 0 * generator.random()

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        out: Tensor = self.out(x + self.scale * self.inner(x).relu())
        return out


@own_model
def residual(input_shape: tuple[int, ...], classes: int) -> nn.Module:
    return Residual(int(np.prod(input_shape)), classes)


@pytest.fixture
def registered(own_parts: None) -> None:
    register("model", "funnel", funnel)
    register("model", "residual", residual)


@pytest.mark.usefixtures("registered")
def test_a_function_becomes_a_model_with_fields_that_schemes_cut(tmp_path: Path) -> None:
    setting = {"learning.model": {"name": "funnel", "width": 3}, "learning.cut": 2, "learning.precision": "float64"}
    result = simulate(load(TINY, setting), out=tmp_path / "run")
    sent = frame(result, "transfers").query("kind == 'activation'")
    assert set((sent.bits / (64 * 3 * 64 + 64)).unique()) <= set(range(1, 9))  # and a label
    assert load(tmp_path / "run" / "scenario.yaml") == load(TINY, setting)
    assert "name: funnel" in resolved(load(TINY, setting))
    with pytest.raises(ScenarioError, match=r"width: found 0; .*1"):
        load(TINY, {"learning.model": {"name": "funnel", "width": 0}})
    assert funnel.__doc__ == "A convolution, batch statistics and a classifier."


@pytest.mark.usefixtures("registered")
def test_a_module_that_is_no_sequence_is_one_block() -> None:
    result = simulate(load(TINY, {"learning.model": "residual", "learning.scheme": "fedavg"}))
    assert result.accuracy is not None
    assert result.accuracy > 0.3
    with pytest.raises(ScenarioError, match=r"learning\.cut: .*possible cuts: none"):
        simulate(load(TINY, {"learning.model": "residual", "learning.scheme": "sfl_v1"}))
    start = chain(residual(), (1, 8, 8), 10).initial(NamedStreams(0))
    assert torch.equal(start["0.scale"], torch.full((64,), 0.5))


def test_training_equals_a_plain_torch_loop() -> None:
    """With batch statistics in training and in evaluation, as torch has it without running ones."""
    model = chain(funnel(), (1, 8, 8), 10)
    params = model.initial(NamedStreams(0), torch.float64)
    plain = nn.Sequential(*funnel().blocks((1, 8, 8), 10)).double()
    plain.load_state_dict(params)
    optimiser = torch.optim.SGD(plain.parameters(), 0.05)
    for _ in range(3):
        x, y = torch.randn(8, 1, 8, 8, dtype=torch.float64, generator=GENERATOR), torch.arange(8) % 10
        optimiser.zero_grad()
        F.cross_entropy(plain(x), y).backward()
        optimiser.step()
        gradients = grad(lambda p, x=x, y=y: F.cross_entropy(model(p, x), y))(params)
        params = {key: value - 0.05 * gradients[key] for key, value in params.items()}
    for key, value in plain.state_dict().items():
        torch.testing.assert_close(params[key], value, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda shape: 0, r"takes 1 arguments; input_shape and classes are needed"),
        (lambda shape, classes, width: 0, r"the argument width of .* needs a type hint"),
        (lambda shape, classes, *widths: 0, r"the argument widths of .* needs a type hint"),
    ],
)
def test_functions_that_cannot_be_fields_are_refused(build: Callable[..., Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        own_model(build)


def test_a_layer_may_stand_at_several_places_of_a_chain() -> None:
    """torch's `children` would leave out the second one."""

    def build(input_shape: tuple[int, ...], classes: int) -> nn.Module:
        relu = nn.ReLU()
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 8), relu, nn.Linear(8, 8), relu, nn.Linear(8, classes))

    model = chain(own_model(build)(), (1, 8, 8), 10)
    assert model.blocks == 6
    parameters = model.initial(NamedStreams(0))
    x = torch.randn(3, 1, 8, 8, generator=GENERATOR)
    first, second, third = ([parameters[f"{i}.weight"], parameters[f"{i}.bias"]] for i in (1, 3, 5))
    expected = F.linear(F.linear(F.linear(x.flatten(1), *first).relu(), *second).relu(), *third)
    assert torch.equal(model(parameters, x), expected)


# ---------------------------------------------------------------- layers


class TwiceTheSame(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one = self.other = nn.Linear(64, 64)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.other(self.one(x))
        return out


class Counted(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(()))


class Dropping(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(x, 0.1, self.training)


class Pair(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, x


class Odd(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(2))


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (
            [nn.AlphaDropout(0.1)],
            r"a AlphaDropout \(1\), which draws random numbers; nn\.Dropout and Dropout1d to 3d are",
        ),
        ([Dropping(), nn.Linear(64, 10)], r"block 1 of the model draws random numbers in its forward \(bernoulli"),
        (
            [nn.Unflatten(1, (1, 64)), nn.InstanceNorm1d(1, track_running_stats=True)],
            r"a InstanceNorm1d \(2\), whose running statistics cannot be tracked; nn\.BatchNorm1d to 3d in",
        ),
        ([nn.BatchNorm1d(64).eval()], r"a BatchNorm1d \(1\), whose running statistics cannot be tracked"),
        ([nn.RReLU()], r"a RReLU \(1\), which draws random numbers"),
        ([nn.LazyLinear(10)], r"a LazyLinear \(1\), whose sizes are not known before it is called"),
        ([nn.LSTM(64, 64)], r"a LSTM \(1\), which keeps references to its weights; use learning\.models\.Lstm or Gru"),
        ([nn.MultiheadAttention(64, 2, 0.1)], r"a MultiheadAttention \(1\), which draws random numbers; set its"),
        ([Counted()], r"a buffer 1\.seen, which is no parameter; compute it in forward, or make it one"),
        ([Odd()], r"no rule to initialise the parameter weight of a Odd \(1\); give that module a method draw"),
        ([TwiceTheSame()], r"uses one parameter twice, as 1\.other\.weight too; every place needs its own"),
        ([nn.Linear(63, 64)], r"the model cannot read samples of shape \(1, 8, 8\) \("),
        ([nn.Linear(64, 9)], r"the model gives logits of shape \(9,\) for a sample, but its label needs \(10,\)"),
        ([Pair()], r"the model gives a tuple; one tensor of logits is needed"),
    ],
)
def test_what_no_scheme_can_train_is_refused_with_a_remedy(
    layers: list[nn.Module], message: str, monkeypatch: pytest.MonkeyPatch, own_parts: None
) -> None:
    def build(input_shape: tuple[int, ...], classes: int) -> nn.Sequential:
        return nn.Sequential(nn.Flatten(), *layers)

    register("model", "odd_model", own_model(build))
    with pytest.raises(ScenarioError, match=rf"^learning\.model: .*{message}") as caught:
        simulate(load(TINY, {"learning.model": "odd_model", "learning.scheme": "fedavg"}))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "layer",
    [nn.Dropout(0.0), nn.PReLU(), nn.BatchNorm1d(64, track_running_stats=False), nn.RMSNorm(64), nn.LayerNorm(64)],
)
def test_layers_without_state_are_trained(layer: nn.Module, own_parts: None) -> None:
    def build(input_shape: tuple[int, ...], classes: int) -> nn.Sequential:
        return nn.Sequential(nn.Flatten(), layer, nn.Linear(64, classes))

    register("model", "layered", own_model(build))
    setting = {"learning.model": "layered", "learning.scheme": "fedavg", "learning.stop.rounds": 2}
    eager, batched = (simulate(load(TINY, {**setting, "learning.executor": each})) for each in ("eager", "batched"))
    one, other = (frame(each, "evaluations").value.to_numpy() for each in (eager, batched))
    np.testing.assert_allclose(one, other, rtol=1e-4)


@pytest.mark.parametrize(("ours", "theirs"), [(Lstm, nn.LSTM), (Gru, nn.GRU)])
def test_recurrent_layers_equal_those_of_torch(ours: type[nn.Module], theirs: type[nn.Module]) -> None:
    reference = theirs(5, 7, batch_first=True).double()
    layer = ours(5, 7).double()
    layer.load_state_dict(reference.state_dict())
    x = torch.randn(3, 6, 5, dtype=torch.float64, generator=GENERATOR)
    torch.testing.assert_close(layer(x), reference(x)[0], rtol=1e-12, atol=1e-14)
    drawn = chain(Recurrent(ours.__name__.lower(), 16), (6, 5), 3).initial(NamedStreams(0), torch.float64)
    flat = drawn["0.weight_hh_l0"].flatten().numpy()
    assert stats.kstest(flat, stats.uniform(-0.25, 0.5).cdf).pvalue > 1e-3


def test_recurrent_layers_of_many_users_are_one_stack() -> None:
    model = chain(Recurrent("gru", 6, vocabulary=9), (5,), 9)
    users = [model.initial(NamedStreams(seed), torch.float64) for seed in range(3)]
    x = torch.randint(0, 9, (3, 4, 5), generator=GENERATOR)
    stacked = {name: torch.stack([user[name] for user in users]) for name in users[0]}
    together = vmap(model, randomness="error")(stacked, x)
    for number, user in enumerate(users):
        torch.testing.assert_close(together[number], model(user, x[number]), rtol=1e-10, atol=1e-12)


def test_a_recurrent_model_learns_series_of_numbers_in_parts(tmp_path: Path) -> None:
    """Which of two frequencies a noisy wave has; the model is cut below its last layer."""
    generator = np.random.Generator(np.random.Philox(key=3))
    label = np.arange(400) % 2
    phase = generator.uniform(0, 2 * np.pi, (400, 1))
    wave = np.sin(phase + np.arange(12) * np.where(label, 0.4, 1.2)[:, None]) + 0.1 * generator.normal(size=(400, 12))
    data = save(Dataset.from_arrays(wave[:, :, None], label), tmp_path / "waves.npz")
    assert isinstance(data.classes, int)
    own = {"name": "npz", "path": data.path, "classes": data.classes, "x_test": "x_test", "y_test": "y_test"}
    setting = {
        "learning.data": own,
        "learning.partition": "iid",
        "learning.model": {"name": "recurrent", "hidden": 12},
        "learning.optimiser": {"name": "adam", "learning_rate": 0.02},
        "learning.scheme": {"name": "sfl_v1", "local_epochs": 1},
        "learning.stop.rounds": 8,
    }
    result = simulate(load(TINY, setting))
    assert result.accuracy is not None
    assert result.accuracy > 0.9


def test_a_recurrent_model_predicts_a_label_or_every_next_token() -> None:
    text = torch.randint(0, 9, (20, 6), generator=GENERATOR)
    following = Dataset.from_arrays(text[:, :-1], text[:, 1:], tokens=True, classes=9)
    model = whole(Recurrent(predicts="token", depth=2), following)
    assert model.blocks == 4
    assert model(model.initial(NamedStreams(0)), text[:, :-1]).shape == (20, 5, 9)
    labelled = Dataset.from_arrays(text, torch.arange(20) % 2, tokens=True)
    assert whole(Recurrent(vocabulary=9), labelled).blocks == 3
    with pytest.raises(ValueError, match=re.escape("samples need the shape (tokens,) or (steps, features)")):
        Recurrent().blocks((1, 8, 8), 2)
    with pytest.raises(ValueError, match="the model reads tokens"):
        whole(Recurrent(), Dataset.from_arrays(np.ones((20, 6)), np.arange(20) % 2))


def test_results_of_an_edited_function_are_not_those_of_the_old_one() -> None:
    """The content key of an operation has the code that builds the model, also where names and fields are equal."""

    def made(width: int) -> Any:
        def build(input_shape: tuple[int, ...], classes: int) -> nn.Module:
            return nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.Linear(width, classes))

        return own_model(build)()

    assert identity.of_plain(made(3)) == identity.of_plain(made(3)) != identity.of_plain(made(4))
