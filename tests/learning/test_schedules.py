"""Learning rates over rounds equal those of torch, and states that begin anew in each round equal new optimisers."""

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from test_optimisers import numbers
from torch.func import vmap
from torch.utils._pytree import tree_leaves, tree_map

from learning.optimisers import Adam, AdamW, Sgd
from learning.schedules import Cosine, Exponential, Schedule, Step, in_round
from runs import TINY, TRAINED, adjusted, frame, heavy_are_slow, run
from scenarios import ScenarioError, load
from scenarios.run import Result

TORCH: list[tuple[Schedule, Any]] = [
    (Exponential(0.9), lambda o: torch.optim.lr_scheduler.ExponentialLR(o, 0.9)),
    (Step(3, 0.5), lambda o: torch.optim.lr_scheduler.StepLR(o, 3, 0.5)),
    (Cosine(8, 0.1), lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 8, eta_min=0.1)),
]


@pytest.mark.parametrize(("schedule", "theirs"), TORCH)
def test_factors_are_those_of_torch(schedule: Schedule, theirs: Any) -> None:
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], 1.0)
    scheduler = theirs(optimiser)
    for number in range(9):
        assert schedule.factor(number) == pytest.approx(optimiser.param_groups[0]["lr"], rel=1e-12, abs=1e-15)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # no step was taken
            scheduler.step()


def test_the_cosine_begins_with_a_warm_up_and_stays_at_its_end() -> None:
    schedule = Cosine(10, 0.2, 4)
    assert [schedule.factor(number) for number in range(5)] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert schedule.factor(7) == pytest.approx(0.6)  # halfway
    assert schedule.factor(10) == schedule.factor(99) == pytest.approx(0.2)
    with pytest.raises(ValueError, match="warmup = 3 leaves none of the rounds = 3"):
        Cosine(3, warmup=3)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (Sgd(0.1, 0.9, 0.01), lambda p: torch.optim.SGD(p, 0.1, 0.9, weight_decay=0.01)),
        (Adam(0.02), lambda p: torch.optim.Adam(p, 0.02)),
        (AdamW(0.02, weight_decay=0.1), lambda p: torch.optim.AdamW(p, 0.02, weight_decay=0.1)),
    ],
)
@pytest.mark.parametrize("restarted", [False, True])
def test_optimisers_of_rounds_equal_torch(ours: Any, theirs: Any, restarted: bool) -> None:
    """Five rounds of two steps, the learning rate halved from each to the next; states begin anew, or do not."""
    schedule = Exponential(0.5)
    params = numbers(0, torch.float64)
    reference = {name: value.clone().requires_grad_() for name, value in params.items()}
    optimiser, state = theirs(list(reference.values())), in_round(ours, 0, schedule, restarted).init(params)
    for number in range(5):
        optimiser = theirs(list(reference.values())) if restarted else optimiser
        optimiser.param_groups[0]["lr"] = ours.learning_rate * 0.5**number
        for step in range(2):
            grads = numbers(10 * number + step, torch.float64)
            for name, value in reference.items():
                value.grad = grads[name].clone()
            optimiser.step()
            params, state = in_round(ours, number, schedule, restarted).step(params, grads, state)
        for name in params:
            torch.testing.assert_close(params[name], reference[name].detach(), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("schedule", [Exponential(0.9, "steps"), Step(3, 0.5, "steps"), Cosine(8, 0.1, 2, "steps")])
def test_optimisers_of_steps_equal_torch(schedule: Schedule) -> None:
    """Twelve steps in rounds of three, with torch's scheduler after each; Adam keeps its moments."""
    params = numbers(0, torch.float64)
    reference = {name: value.clone().requires_grad_() for name, value in params.items()}
    optimiser = torch.optim.Adam(list(reference.values()), 0.02)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimiser, schedule.factor)
    state = in_round(Adam(0.02), 0, schedule, False).init(params)
    for number in range(12):
        grads = numbers(number, torch.float64)
        for name, value in reference.items():
            value.grad = grads[name].clone()
        optimiser.step()
        scheduler.step()
        params, state = in_round(Adam(0.02), number // 3, schedule, False).step(params, grads, state)
    for name in params:
        torch.testing.assert_close(params[name], reference[name].detach(), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("schedule", [Exponential(0.9), Step(3, 0.5), Cosine(8, 0.1), Cosine(8, 0.1, 3)])
def test_factors_of_steps_are_those_of_rounds(schedule: Schedule) -> None:
    numbers_of_steps = torch.arange(12)
    expected = [schedule.factor(number) for number in range(12)]
    np.testing.assert_allclose(schedule.factors(numbers_of_steps).numpy(), expected, rtol=1e-14)


def test_a_schedule_over_steps_begins_anew_with_the_state() -> None:
    schedule = Step(1, 0.5, "steps")
    params, moved = {"w": torch.zeros(1, dtype=torch.float64)}, []
    state = in_round(Sgd(1.0), 0, schedule, True).init(params)
    for number in (0, 0, 1):
        params, state = in_round(Sgd(1.0), number, schedule, True).step(params, {"w": -torch.ones(1).double()}, state)
        moved.append(float(params["w"]))
    assert moved == [1.0, 1.5, 2.5]


@pytest.mark.parametrize("schedule", [Exponential(0.5), Exponential(0.5, "steps")])
def test_users_of_one_round_are_one_stack(schedule: Schedule) -> None:
    optimiser = in_round(Adam(0.02), 3, schedule, True)
    users = [numbers(number) for number in range(3)]
    state = optimiser.init(users[0])
    stacked = tree_map(lambda *leaves: torch.stack(leaves), *users)
    together = vmap(lambda p, g: optimiser.step(p, g, state))(stacked, stacked)
    for number, user in enumerate(users):
        alone = optimiser.step(user, user, state)
        rows = tree_map(lambda leaf, number=number: leaf[number], together)
        for ours, expected in zip(tree_leaves(rows), tree_leaves(alone), strict=True):
            torch.testing.assert_close(ours, expected)


def test_gradient_descent_without_state_stays_without() -> None:
    optimiser = in_round(Sgd(0.1), 3, None, True)
    assert optimiser.init(numbers(0)) == ()
    assert optimiser.step(numbers(0), numbers(1), ())[1] == ()
    assert optimiser.learning_rate == 0.1


def losses_of(result: Result) -> np.ndarray:
    rows = frame(result, "evaluations").query("metric == 'loss' and split == 'test' and user.isna()")
    return rows.value.to_numpy()


REPEATS = ("zo_sfl", "ho_sfl")
CHANGES_BY_ITSELF = ("fedsl_pq",)
"""Models of these change between rounds without steps: masks of pruning are drawn anew."""


@pytest.mark.parametrize("name", heavy_are_slow(each for each in TRAINED if each not in (*REPEATS, *CHANGES_BY_ITSELF)))
def test_every_scheme_follows_a_schedule(name: str) -> None:
    """From the second round on the learning rate is 0 in float32, so that no model changes any more."""
    assert_still(name, "rounds")


def assert_still(name: str, over: str) -> None:
    still = {"name": "step", "every": 1, "decay": 1e-40, "over": over}
    setting = {"learning__evaluation": "uncompressed", "learning__stop": {"rounds": 2}, "learning__schedule": still}
    losses = losses_of(run(learning__scheme=name, **setting))
    assert losses[1:] == pytest.approx([losses[0]], rel=1e-5)


ALIKE = ["fedavg", "fedprox", "local", "sl", "psl", "sfl_v1", "sfl_v2", "sfl", "epsl", "flexp_sfl"]


@pytest.mark.parametrize("name", [*ALIKE, "centralised"])
def test_steps_are_counted_from_one_round_to_the_next(name: str) -> None:
    """From the second step of a device, or of the server's part, on the learning rate is 0 in float32."""
    assert_still(name, "steps")


ONE_STEP = {"learning__batch_size": "all", "learning__stop": {"rounds": 3}, "learning__precision": "float64"}


@pytest.mark.parametrize("name", ALIKE)
def test_momentum_that_is_reset_before_its_only_step_is_none(name: str) -> None:
    """Where a round has one step on a device; the server's optimiser has no momentum in either run."""
    plain = {"name": "sgd", "learning_rate": 0.03}
    momentum = {**plain, "momentum": 0.9}
    setting = {"learning__scheme": name, "learning__server_optimiser": plain, **ONE_STEP}
    reset = run(learning__optimiser=momentum, learning__optimiser_state="reset", **setting)
    kept, none = (run(learning__optimiser=one, **setting) for one in (momentum, plain))
    loss, other, expected = (frame(each, "evaluations").query("metric == 'loss'").value for each in (reset, kept, none))
    assert loss.to_numpy() == pytest.approx(expected.to_numpy(), rel=1e-12)
    assert other.to_numpy()[-1] != pytest.approx(expected.to_numpy()[-1], rel=1e-6)


@pytest.mark.parametrize("name", REPEATS)
@pytest.mark.parametrize("change", [{"learning.schedule": "exponential"}, {"learning.optimiser_state": "reset"}])
def test_schemes_that_repeat_steps_of_earlier_rounds_have_one_optimiser(name: str, change: dict[str, Any]) -> None:
    with pytest.raises(ScenarioError, match="schedule must be null and optimiser_state kept"):
        load(TINY, adjusted({"learning.scheme": name, **change}))


def test_states_are_reset_in_rounds_only() -> None:
    change = {"learning.scheme": "fedavg", "learning.policy": "asynchronous", "learning.optimiser_state": "reset"}
    with pytest.raises(ScenarioError, match="optimiser states are reset when a round begins"):
        load(TINY, change)
