"""What controllers make of learned values that are not finite: they go by the others, else by what they knew before."""

from math import inf, nan
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from learning.adapters import Lora
from learning.adapters.combine import mean_by_product
from learning.control.cuts.estimates import BoundConstants, BoundEstimates
from learning.control.precision.ranges import ActivationRanges
from learning.control.ranks import History, RankController
from learning.control.tokens.importance import importance_by_rank
from learning.control.usable import LARGEST, usable
from learning.models import Vit
from learning.models.segment import Segment

EXECUTOR = SimpleNamespace(computes=True, value=lambda asked: asked, submit=lambda *operation: operation)


def tensors(*rows: Any) -> list[torch.Tensor]:
    return [torch.tensor(row) for row in rows]


@pytest.mark.parametrize("bad", [nan, inf, -inf, 1.1 * LARGEST, -1.1 * LARGEST])
def test_what_is_usable(bad: float) -> None:
    assert usable(torch.tensor([1.0, -LARGEST]), np.array([[0.0, LARGEST]]), torch.tensor(-2.0))
    assert not usable(torch.tensor([1.0, bad]))
    assert not usable(np.ones(3), torch.tensor(bad, dtype=torch.float64))


@pytest.mark.parametrize("bad", [nan, inf])
@pytest.mark.parametrize("place", range(3))
def test_gradients_of_other_users_are_estimated_from(bad: float, place: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever of variance, norm and slope is lost; where all users' are, all estimates stay."""
    seen = {"well": tensors([2.0, 4.0], [1.0, 3.0], 2.0), "lost": tensors([8.0, 8.0], [8.0, 8.0], 8.0)}
    seen["lost"][place] = seen["lost"][place] * bad
    model = SimpleNamespace(blocks=2)
    world: Any = SimpleNamespace(executor=EXECUTOR, optimiser=SimpleNamespace(learning_rate=0.1), chain=model)
    monkeypatch.setattr(BoundEstimates, "_of_user", lambda self, weights, user, *_: seen[user])
    estimates = BoundEstimates(world, BoundConstants(estimate=True), {})
    for users in (["lost", "well"], ["lost"]):
        estimates.update({}, dict.fromkeys(users, range(8)))  # type: ignore[misc]
        assert estimates.variances.tolist() == [2, 4]
        assert estimates.squared_norms.tolist() == [1, 3]
        assert estimates.smoothness == 2


def test_a_range_that_is_not_finite_leaves_the_one_before() -> None:
    """Three users over three rounds, one of which has no range to go by before the last."""
    executor = SimpleNamespace(submit=lambda *_: None)
    world: Any = SimpleNamespace(front=None, executor=executor)
    mini_batches: Any = dict.fromkeys("abc", (None, None))
    ranges = ActivationRanges()
    for seen, known in (
        ([1.0, 2.0, nan], {"a": 1.0, "b": 2.0}),
        ([nan, inf, nan], {"a": 1.0, "b": 2.0}),
        ([3.0, inf, 4.0], {"a": 3.0, "b": 2.0, "c": 4.0}),
    ):
        executor.value = lambda asked, seen=seen: tensors(*seen)
        ranges.observe(world, mini_batches)
        assert ranges.known == known


@pytest.mark.parametrize("bad", [nan, inf])
def test_a_report_that_is_not_finite_counts_as_equal_importance(bad: float) -> None:
    assert importance_by_rank(8, 4, torch.tensor([5.0, 2.0, 1.0, 0.0])).tolist() == [5, 2, 1, 0]
    assert importance_by_rank(12, 4, torch.tensor([5.0, bad, 1.0, 0.0])).tolist() == [3, 3, 3, 3]
    assert importance_by_rank(8, 4).tolist() == [2, 2, 2, 2]


@pytest.mark.parametrize("bad", [nan, inf])
def test_scores_of_other_users_make_the_importance(bad: float) -> None:
    """Weights of those that are left sum to one again; where nobody is left, what was known stays."""
    written: list[float] = []
    controller: Any = SimpleNamespace(
        world=SimpleNamespace(
            executor=EXECUTOR, journal=SimpleNamespace(decision=lambda user, name, value: written.append(value))
        ),
        settings=SimpleNamespace(history=History()),
        model=SimpleNamespace(sides={"q": (1, 1), "v": (1, 1)}),
        importance=None,
    )
    well, other, lost = ({"v": torch.tensor(v), "q": torch.tensor(q)} for q, v in ((4.0, 2.0), (8.0, 6.0), (bad, 1.0)))
    RankController.update(controller, [lost], (1.0,), 0.0)
    assert controller.importance is None
    RankController.update(controller, [well, lost, other], (0.25, 0.5, 0.25), 0.0)
    assert controller.importance.tolist() == written == [6, 4]
    RankController.update(controller, [lost, lost], (0.5, 0.5), 0.0)
    assert controller.importance.tolist() == written == [6, 4]


@pytest.mark.parametrize("bad", [nan, inf, -inf])
def test_the_product_of_factors_that_are_not_finite_is_not_a_number(bad: float) -> None:
    """Of that weight alone; the others are what they are without it."""
    adapted = Lora(2, targets=("q", "fc1")).on(Segment(Vit(4, 8, 2, 2), (1, 8, 8), 10, 0, 4))
    generator = torch.Generator().manual_seed(0)
    tree = {n: torch.randn(shape, generator=generator) for n, shape in shapes(adapted).items()}
    spoilt, *others = [weight for weight, _ in adapted.ranks]
    broken = dict(tree) | {f"{spoilt}.up": tree[f"{spoilt}.up"].index_fill(1, torch.tensor([0]), bad)}
    whole, mean = (mean_by_product(adapted, [tree, each], (0.5, 0.5)) for each in (tree, broken))
    assert mean.keys() == whole.keys()
    for name, value in mean.items():
        if name.startswith(f"{spoilt}."):
            assert value.isnan().all()
        else:
            assert torch.equal(value, whole[name])
    assert others


def shapes(adapted: Any) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in adapted.parameters().items()}
