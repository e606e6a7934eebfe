"""The most memory that an operation holds at once: counted by hand, and beside what autograd keeps."""

import pytest
import torch
from footprints import footprint
from torch.func import grad

from learning import steps
from learning.executor import Dry
from learning.executor.shape_run import shape_run
from learning.models import LeNet, Mlp, Segment, VggMini, Vit
from learning.optimisers import Adam, Sgd

X = torch.empty(10, device="meta")


def peak(operation, *operands):
    return shape_run(operation, operands).memory_bytes // (4 * X.numel())  # in vectors


def test_what_is_used_no_more_is_free():
    assert peak(lambda x: (((x + 1) * 2) * 3) * 4, X) == 1 + 2


def test_what_is_used_later_is_held():
    def late(x):
        first = x + 1
        return (((first * 2) * 3) * 4) * first

    assert peak(late, X) == 1 + 3


def test_results_are_held_to_the_end():
    assert peak(lambda x: (x + 1, x + 2, x + 3), X) == 1 + 3


def test_views_and_operands_handed_on_take_nothing():
    assert peak(lambda x: (x, x.view(2, 5), x.view(5, 2).t()), X) == 1
    assert peak(lambda x, y: (x, y), X, X) == 2  # two operands of one form are two


@pytest.mark.parametrize("depth", [1, 4, 9])
def test_activations_are_held_until_the_backward_pass_is_there(depth):
    """Each layer's output, which its derivative is made of, and a gradient, which then takes its place."""

    def loss(x):
        for _ in range(depth):
            x = x.tanh()
        return x.sum()

    assert peak(grad(loss), X) == 1 + depth + 1


MODELS = {"mlp": Mlp((300, 20)), "vit": Vit(4, 16, 3, 2), "lenet": LeNet(), "vgg_mini": VggMini()}


@pytest.mark.parametrize("optimiser", [Sgd(), Adam()], ids=["sgd", "adam"])
@pytest.mark.parametrize("model", MODELS)
def test_beside_what_autograd_keeps(model, optimiser):
    """Weights, state and activations, or gradients, for which activations make room; and not much more than all.

    More by what a pure function cannot do in place, and by what a kernel writes before its operand is free.
    """
    blocks = len(MODELS[model].blocks((3, 16, 16), 10))
    segment = Segment(MODELS[model], (3, 16, 16), 10, 0, blocks)
    weights = {name: torch.empty_like(value, device="meta") for name, value in segment.parameters().items()}
    x, y = torch.empty(8, 3, 16, 16, device="meta"), torch.empty(8, dtype=torch.int64, device="meta")
    plan = Dry().plan(steps.train, segment, optimiser, weights, optimiser.init(weights), [x[None]], [y[None]])
    kept = footprint(segment, optimiser, x)
    passed = max(kept.gradients_bytes, kept.activations_bytes)
    least = kept.weights_bytes + kept.optimiser_bytes + passed
    assert least <= plan.profile.memory_bytes <= kept.total_bytes + least
