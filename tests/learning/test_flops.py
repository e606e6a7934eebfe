"""FLOPs from shapes against formulas worked out by hand: one multiply-add is two FLOPs."""

from itertools import pairwise

import pytest
import simpy
import torch
import torch.nn.functional as F
from torch import nn

from fakes import FakeJournal, FakeNode, FakeStreams
from learning import steps
from learning.executor import Dry
from learning.executor.flops import charge_elementwise, uncharged
from learning.executor.shape_run import shape_run
from learning.models import Segment, VggMini, Vit
from learning.models.mlp import Mlp
from learning.models.vit import Attention
from learning.optimisers import Adam, Sgd
from learning.parties import User
from learning.wire import Wire

BATCH = 4


def charged(operation, *args):
    """The work that a device is charged for an operation; nothing is computed."""
    env, journal = simpy.Environment(), FakeJournal()
    user = User(FakeNode(env, journal, 0), None, Wire(Dry(), FakeStreams(), journal))
    env.run(env.process(user.do(operation, *args, kind="work")))
    return journal.works[0]


def counted(function, *args):
    return shape_run(function, args).flops


def part(architecture, shape, start, stop):
    return Segment(architecture, shape, 10, start, stop)


def images(*shape):
    return torch.empty(BATCH, *shape, device="meta")


LABELS = torch.empty(BATCH, dtype=torch.int64, device="meta")


def test_linear_layers():
    """Forward 2 b in out; a backward pass takes as much for the weights, and again for the input where one is asked."""
    widths = [64, 20, 12, 10]
    products = [a * b for a, b in pairwise(widths)]
    model, x = Mlp((20, 12)), images(1, 8, 8)
    front, back = part(model, (1, 8, 8), 0, 1), part(model, (1, 8, 8), 1, 3)
    z = torch.empty(BATCH, 20, device="meta")
    sgd, lower, upper = Sgd(0.1), front.parameters(), back.parameters()
    assert charged(steps.front, front, lower, x).flops == 2 * BATCH * products[0]
    assert charged(steps.update_front, front, sgd, lower, (), x, z).flops == 2 * BATCH * products[0]
    assert charged(steps.back_gradients, back, upper, z, LABELS).flops == 3 * 2 * BATCH * sum(products[1:])


def test_the_first_layer_has_no_input_gradient():
    model, x = Mlp((20, 12)), images(1, 8, 8)
    deep = part(model, (1, 8, 8), 0, 2)
    dz = torch.empty(BATCH, 12, device="meta")
    flops = charged(steps.update_front, deep, Sgd(0.1), deep.parameters(), (), x, dz).flops
    assert flops == 2 * BATCH * (64 * 20 + 2 * 20 * 12)


def test_convolutions():
    """2 x 9 x Cin x Cout x H x W for each sample; the gradients of weights and input take as much each."""
    first, second = 2 * 9 * 1 * 16 * 28 * 28, 2 * 9 * 16 * 16 * 28 * 28
    third, fourth = 2 * 9 * 16 * 32 * 14 * 14, 2 * 9 * 32 * 32 * 14 * 14
    assert (first, second, third, fourth) == (225_792, 3_612_672, 1_806_336, 3_612_672)  # fedsl_pq, section 6
    front, middle = part(VggMini(), (1, 28, 28), 0, 1), part(VggMini(), (1, 28, 28), 1, 2)
    x, z = images(1, 28, 28), images(16, 14, 14)
    assert charged(steps.front, front, front.parameters(), x).flops == BATCH * (first + second)
    backward = charged(steps.update_front, front, Sgd(0.1), front.parameters(), (), x, z).flops
    assert backward == BATCH * (first + 2 * second)
    assert charged(steps.front, middle, middle.parameters(), z).flops == BATCH * (third + fourth)


def test_attention():
    """Four projections of width x width for each token, and two products of tokens x tokens x width."""
    tokens, width = 6, 16
    attention = Attention(width, heads=4).to("meta")
    x = torch.empty(BATCH, tokens, width, device="meta")
    expected = BATCH * (2 * tokens * width * 4 * width + 2 * 2 * tokens * tokens * width)
    assert counted(attention, x) == expected


def test_a_whole_transformer_step():
    tokens, width, patch, depth, expansion = 4, 16, 4, 2, 3
    vit = Vit(patch, width, depth, heads=2, expansion=expansion)
    embed = 2 * tokens * patch * patch * width
    feed = 2 * 2 * tokens * width * expansion * width
    layer = 2 * tokens * width * 4 * width + 2 * 2 * tokens * tokens * width + feed
    head = 2 * width * 10
    segment = part(vit, (1, 8, 8), 0, depth + 2)
    xs, ys = torch.empty(3, BATCH, 1, 8, 8, device="meta"), torch.empty(3, BATCH, dtype=torch.int64, device="meta")
    flops = charged(steps.train, segment, Sgd(0.1), segment.parameters(), (), [xs], [ys]).flops
    assert flops == 3 * BATCH * (2 * embed + 3 * depth * layer + 3 * head)  # three steps


@pytest.mark.parametrize("optimiser", [Sgd(0.1), Sgd(0.1, 0.9, 1e-3), Adam()], ids=str)
def test_elementwise_arithmetic_is_free(optimiser):
    segment = part(Mlp((20,)), (1, 8, 8), 0, 1)
    weights, x = segment.parameters(), images(1, 8, 8)
    dz = torch.empty(BATCH, 20, device="meta")
    flops = charged(steps.update_front, segment, optimiser, weights, optimiser.init(weights), x, dz).flops
    assert flops == 2 * BATCH * 64 * 20


@pytest.mark.parametrize("mu", [0.0, 0.1])
def test_a_proximal_term_costs_two_flops_for_each_weight_and_step(mu):
    model, sgd = part(Mlp((20,)), (1, 8, 8), 0, 2), Sgd(0.1)
    weights = model.parameters()
    xs, ys = torch.empty(3, BATCH, 1, 8, 8, device="meta"), torch.empty(3, BATCH, dtype=torch.int64, device="meta")
    plain = charged(steps.train, model, sgd, weights, (), [xs], [ys]).flops
    proximal = charged(steps.train_proximal, model, sgd, mu, weights, (), [xs], [ys]).flops
    assert proximal - plain == (3 * 2 * (64 * 20 + 20 + 20 * 10 + 10) if mu else 0)


def test_a_split_step_costs_what_the_whole_one_costs():
    """Forward, server step and backward together are one step of the unsplit model: nothing twice, nothing missing."""
    model = part(VggMini(), (1, 8, 8), 0, 4)
    x, sgd = images(1, 8, 8), Sgd(0.1)
    whole = charged(steps.train, model, sgd, model.parameters(), (), [x[None]], [LABELS[None]]).flops
    for at in (1, 2, 3):
        front, back = model.cut(at)
        lower, upper = front.parameters(), back.parameters()
        z = front(lower, x)
        split = (
            charged(steps.front, front, lower, x).flops
            + charged(steps.back, back, sgd, upper, (), z, LABELS).flops
            + charged(steps.update_front, front, sgd, lower, (), x, z).flops
        )
        assert split == whole


def test_uncharged_work_costs_nothing_and_what_follows_costs_again():
    a, b = torch.empty(3, 5, device="meta"), torch.empty(5, 7, device="meta")

    def mixed():
        with uncharged():
            a @ b
            with uncharged():
                a @ b
            a @ b
        a @ b

    assert counted(mixed) == 2 * 3 * 5 * 7
    mixed()  # and without a counter it is no hindrance


def test_elementwise_work_counts_where_an_operation_says_so():
    """So many FLOPs for each element of all tensors in a tree; nothing while it is uncharged or nothing is counted."""

    def work(tree):
        charge_elementwise(3, tree)
        with uncharged():
            charge_elementwise(5, tree)

    tree = {"a": torch.empty(4, 5), "b": [torch.empty(7), 2.0]}
    work(tree)
    assert counted(work, tree) == 3 * 27


def test_convolutions_are_noticed_even_where_they_are_uncharged():
    x, kernel = images(1, 8, 8), torch.empty(2, 1, 3, 3, device="meta")

    def unpaid(x):
        with uncharged():
            return F.conv2d(x, kernel)

    run = shape_run(unpaid, (x,))
    assert run.alone
    assert run.flops == 0
    assert not shape_run(nn.Linear(8, 8, device="meta"), (x,)).alone


@pytest.mark.parametrize(("inputs", "outputs", "thin"), [(8, 1, True), (1, 8, False), (8, 2, False)])
def test_products_that_are_rows_or_columns_are_noticed(inputs, outputs, thin):
    assert shape_run(nn.Linear(inputs, outputs, device="meta"), (images(4, inputs),)).thin == thin


def test_memory_is_operands_results_and_what_lies_between():
    """Data, weights, the layer's outputs before and after the rectifier."""
    segment = part(Mlp((20,)), (1, 8, 8), 0, 1)
    x = images(1, 8, 8)
    scalars = BATCH * 64 + 65 * 20 + 2 * BATCH * 20
    assert charged(steps.front, segment, segment.parameters(), x).memory_bytes == 4 * scalars
    double = {name: value.double() for name, value in segment.parameters().items()}
    assert charged(steps.front, segment, double, x.double()).memory_bytes == 8 * scalars
