"""A value's bits do not depend on what it was computed together with: every operation, every model, every group size.

On one thread, as the runner has it: matrix products that are shared out among threads are cut differently for a stack.
"""

import inspect

import pytest
import torch
from torch import nn
from torch.utils._pytree import tree_leaves

from fakes import ANY_MODEL, FakeStreams, one_thread, world
from learning import steps, wire, zeroth_order
from learning.adapters import Lora
from learning.aggregators import averaged, masked_mean, mixed, weighted_mean
from learning.codecs import Chain, KeptActivations, Uniform
from learning.control.cuts.estimates import statistics
from learning.dispatch import pairs, weights
from learning.executor import Batched
from learning.expert_usage import routing
from learning.generation import mixture, oracle
from learning.inference.operations import expert
from learning.models import Experts, LeNet, Mlp, Segment, VggMini, Vit
from learning.optimisers import Adam, Sgd
from learning.reducers import Dropout, Pruning
from learning.schemes import SCHEMES, centralised
from learning.schemes.epsl import operators as epsl
from learning.schemes.fedsl_pq import operators
from learning.schemes.flexp_sfl import proxy
from learning.schemes.flexp_sfl import scheme as flexp
from learning.schemes.gapsl import alignment as gapsl
from learning.schemes.gapsl import operators as kept
from learning.schemes.genfl import operators as genfl
from learning.schemes.hasfl import operators as hasfl
from learning.schemes.ho_sfl import operators as ho
from learning.schemes.zo_sfl import loss_differences

pytestmark = pytest.mark.bits

MODELS = {
    "mlp": Mlp((24, 16)),
    "wide": Mlp((300, 257)),
    "vit": Vit(4, 16, 1, 2, class_token=True),
    "experts": Vit(4, 16, 1, 2, class_token=True, experts=Experts(3, 2, gated=True, shared=1, load_balance=0.1)),
    "lenet": LeNet(),
    "vgg_mini": VggMini(),
}
JOBS, BATCH, STEPS = 10, 6, 2
SIZES = [1, 2, 3, 5, 10]
SGD, ADAM = Sgd(0.05, 0.9, 1e-3), Adam()
PRUNING, DROPOUT, CODEC = Pruning(), Dropout(0.3), Uniform(4)


class Operands:
    """What one of several like jobs works on: its own weights, data and draws, and what the jobs share."""

    def __init__(self, model, number):
        self.generator = torch.Generator().manual_seed(number)
        self.blocks = len(MODELS[model].blocks((1, 8, 8), 10))
        self.whole = Segment(MODELS[model], (1, 8, 8), 10, 0, self.blocks)
        self.front, self.back = self.whole.cut(2)
        self.lower, self.upper = self.front.initial(FakeStreams(number)), self.back.initial(FakeStreams(number))
        self.weights = self.lower | self.upper
        self.earlier = {name: 0.9 * value for name, value in self.weights.items()}
        self.x, self.y = self.normal(BATCH, 1, 8, 8), torch.arange(BATCH) % 7
        self.xs, self.ys = self.normal(STEPS, BATCH, 1, 8, 8), torch.stack([self.y] * STEPS)
        self.z = self.front(self.lower, self.x)
        self.dz = self.normal(*self.z.shape)
        self.logits = self.normal(BATCH, 10)
        self.chosen = torch.randint(3, (BATCH, 2), generator=self.generator)
        self.experts = [self.expert(10, 12) for _ in range(3)]
        self.u = self.uniform(*self.z.shape)
        self.gradients = {name: self.normal(*value.shape) for name, value in self.lower.items()}
        self.noise = {name: self.uniform(*value.shape) for name, value in self.lower.items()}
        self.above = {name: self.uniform(*value.shape) for name, value in self.upper.items()}
        two = {name: self.uniform(2).double() for name in ("kept", "cosine", "angle")}
        self.found = two | {name: self.uniform().double() for name in ("spread", "share", "threshold")}
        self.alignment = self.uniform(2).double(), self.uniform().double(), self.uniform(2, 3).double()
        self.mixture = {
            "shares": self.uniform(3, 2),
            "means": self.normal(3, 2, 64),
            "loadings": self.normal(3, 2, 64, 4),
        }
        self.order = torch.randperm((STEPS + 1) * BATCH, generator=self.generator).reshape(-1, BATCH)
        self.mask = {name: noise > 0.4 for name, noise in self.noise.items()}

    def expert(self, width, hidden):
        shapes = {
            "fc1.weight": (hidden, width),
            "fc1.bias": (hidden,),
            "fc2.weight": (width, hidden),
            "fc2.bias": (width,),
        }
        return {f"0.{name}": self.normal(*shape) for name, shape in shapes.items()}

    def normal(self, *shape):
        return torch.randn(*shape, generator=self.generator)

    def uniform(self, *shape):
        return torch.rand(shape, generator=self.generator)


TOOLS = {
    steps.pullback,
    steps.tracked,
    steps.mean_loss,
    steps.block,
    steps.stack_of_one,
    steps.unstacked,
    steps.descend,
}
"""Functions that operations are made of, and no operations themselves."""


def calls(o):
    """Every operation of the schemes on the operands of one job."""
    sgd, adam, velocity = SGD.init(o.lower), ADAM.init(o.weights), SGD.init(o.upper)
    update = (o.front, DROPOUT, SGD, CODEC, o.lower, sgd, o.mask, o.x, o.dz, o.u, o.noise)
    return {
        steps.front: (o.front, o.lower, o.x),
        **({steps.scored_front: (o.front, o.lower, o.x)} if isinstance(o.front.architecture, Vit) else {}),
        **({routing: (o.whole, o.weights, o.x)} if getattr(o.whole.architecture, "experts", None) else {}),
        steps.back_gradients: (o.back, o.upper, o.z, o.y),
        steps.back: (o.back, SGD, o.upper, velocity, o.z, o.y),
        steps.front_gradients: (o.front, o.lower, o.x, o.dz),
        steps.middle_gradients: (o.front, o.lower, o.x, o.dz),
        steps.update_middle: (o.front, SGD, o.lower, sgd, o.x, o.dz),
        steps.update_front: (o.front, SGD, o.lower, sgd, o.x, o.dz),
        steps.apply_mean: (SGD, o.lower, sgd, [o.gradients, o.lower], (0.25, 0.75)),
        steps.train: (o.whole, ADAM, o.weights, adam, [o.xs], [o.ys]),
        steps.train_proximal: (o.whole, SGD, 0.1, o.weights, SGD.init(o.weights), [o.xs], [o.ys]),
        steps.loss_gradient: (o.logits, o.y),
        pairs.renamed: (o.experts[0], ("a", "b", "c", "d")),
        pairs.mixed: (expert, o.experts, o.logits, o.chosen, o.logits[:, :2]),
        pairs.mixed_gradients: (expert, o.experts, o.logits, o.chosen, o.logits[:, :2], o.logits.flip(0)),
        weights.renormalised: (o.logits.softmax(-1), o.logits > 0),
        weights.renormalised_gradient: (o.logits.softmax(-1), o.logits > 0, o.logits),
        steps.evaluate: (o.whole, o.weights, o.x, o.y),
        steps.score: (o.logits, o.y),
        steps.counted: (o.whole, o.weights, o.x, o.y),
        steps.class_scores: (o.whole, o.weights, o.x, o.y),
        steps.merge: (o.lower, o.upper),
        weighted_mean: ([o.lower, o.gradients], (0.3, 0.7)),
        averaged: ([o.lower, o.gradients], (0.3, 0.7)),
        masked_mean: (o.lower, [o.gradients, o.noise], [o.mask, o.mask], (0.3, 0.7)),
        wire.transcode: (Chain(KeptActivations(DROPOUT, o.u), CODEC), o.dz, [o.u.flip(0)]),
        centralised.step: (o.whole, SGD, o.weights, SGD.init(o.weights), o.x, o.y),
        operators.pruned: (PRUNING, None, 0.5, o.lower),
        operators.front: (o.front, DROPOUT, o.lower, o.x, o.u),
        operators.update: update,
        operators.aggregated: (o.lower, [o.gradients, o.noise], [o.mask, o.mask], (0.3, 0.7)),
        epsl.mean_samples: (o.back, 3, o.upper, [o.z, o.z.flip(0)], [o.logits] * 2, [o.y, o.y.flip(0)], (0.3, 0.7)),
        epsl.other_samples: (o.back, 3, o.upper, o.z, o.y),
        epsl.joint_step: (SGD, o.lower, sgd, [o.gradients, o.lower], [o.noise], (0.25, 0.5)),
        epsl.joined: ([o.z, o.dz],),
        gapsl.aligned: (gapsl.Alignment(), [o.gradients, o.noise, o.lower], *o.alignment),
        kept.server_step: (SGD, "mean_all", 0.1, o.lower, sgd, [o.gradients, o.noise], o.lower, o.found, (0.25, 0.5)),
        kept.update_front_if_kept: (o.front, SGD, o.lower, sgd, o.x, o.dz, o.found, torch.tensor(1)),
        kept.penalised_gradients: (o.back, 0.1, o.upper, o.z, o.y, o.upper),
        kept.penalised_loss: ([o.logits[0, 0], o.logits[1, 1]], o.found, 0.1),
        zeroth_order.perturbed: (o.front, "gaussian", 1e-3, o.lower, o.x, o.noise),
        zeroth_order.replay: (zeroth_order.Directions(2), SGD, o.lower, sgd, [[o.u.flatten()[:2]]], [[[o.noise] * 2]]),
        loss_differences: (o.back, "rademacher", 1e-3, o.upper, [o.z, o.dz], o.y, [o.above]),
        ho.differences: (o.dz, o.z, [[o.u], [o.u, o.dz]]),
        ho.probed: (o.front, "gaussian", (1e-3, -1e-3), o.lower, o.x, o.z, o.dz, o.noise),
        ho.mean_differences: ([o.logits[0], o.logits[1]], (0.25, 0.5)),
        ho.weighted_differences: ([o.logits[0], o.logits[1]], (0.25, 0.5)),
        proxy.mean_predictions: (2.0, [o.logits, o.logits.flip(0)]),
        proxy.distilled: (o.back, SGD, proxy.Proxy(), o.upper, velocity, o.z, [o.logits.softmax(-1)]),
        flexp.averaged: (o.weights, [o.lower, o.gradients]),
        mixed: (o.lower, o.gradients, torch.tensor(0.3).double()),
        mixture.drawn: (None, (1, 8, 8), (-1.0, 2.0), o.mixture, torch.arange(BATCH) % 3, o.uniform(BATCH, 5)),
        oracle.shown: (7, o.x),
        genfl.train_on_union: (o.whole, SGD, o.weights, velocity | sgd, [o.xs], [o.ys], [o.x], [o.y], [o.order]),
        genfl.best_share: (o.whole, o.weights, o.earlier, torch.arange(3).double() / 2, o.x, o.y),
        steps.part: (o.weights, 0, 1),
        steps.named: (o.weights, tuple(o.weights)[::2]),
        hasfl.back_gradients: (o.back, {}, o.upper, o.z, o.y),
        statistics: (o.whole, o.blocks, o.weights, o.earlier, o.x, o.y),
    }


@pytest.fixture(autouse=True)
def as_the_runner_has_it():
    with one_thread():
        yield


@pytest.fixture(scope="module")
def prepared():
    return {model: [Operands(model, number) for number in range(JOBS)] for model in MODELS}


def test_every_operation_is_here():
    """Those of the two modules that consist of operations, and all that the registered schemes submit."""
    known = set(calls(Operands("vit", 0)))
    for module in (steps, operators):
        public = {f for name, f in inspect.getmembers(module, inspect.isfunction) if not name.startswith("_")}
        own = {f for f in public if f.__module__ == module.__name__}
        assert own - TOOLS <= known
    names = {operation.__name__ for operation in known}
    for scheme in ANY_MODEL:
        executor = Batched()
        world(SCHEMES[scheme](), executor=executor, rounds=1)
        used = {name for name, _ in executor.groups}
        assert used
        assert used <= names


PAIRS = [(operation, model) for model in MODELS for operation in calls(Operands(model, 0))]


def named(each):
    return each if isinstance(each, str) else f"{each.__module__.rpartition('.')[2]}.{each.__name__}"


@pytest.mark.parametrize(("operation", "model"), PAIRS, ids=named)
def test_bits_do_not_depend_on_the_group(operation, model, prepared, monkeypatch):
    """Nor on whether it is captured: the third call of small groups, and all further ones, are kernels alone."""
    jobs = [calls(operands)[operation] for operands in prepared[model]]
    results = {}
    monkeypatch.setattr("learning.executor.batched.CAPTURED_CALL", 2)
    for size in SIZES:
        monkeypatch.setattr("learning.executor.batched.LARGEST_GROUP", size)
        executor = Batched()
        results[size] = tree_leaves(executor.value([executor.submit(operation, *job) for job in jobs]))
        assert set(executor.groups) == {(operation.__name__, each) for each in grouped(size, jobs[0])}
        assert executor.captured == sum(max(0, alike - 2) for alike in executor.groups.values())
    together = results.pop(JOBS)
    assert len(together) >= JOBS
    for size, others in results.items():
        for a, b in zip(together, others, strict=True):
            assert same_bits(a, b), f"groups of {JOBS} and of {size} differ by {(a - b).abs().max()}"


@pytest.mark.parametrize("model", ["mlp", "vit"])
def test_bits_do_not_depend_on_what_is_shared(model, prepared):
    """Ten users with one and the same model object, or each with its copy, or each alone."""
    one = prepared[model][0]
    copies = [{name: value.clone() for name, value in one.weights.items()} for _ in range(JOBS)]
    state = [{name: value.clone() for name, value in SGD.init(one.weights).items()} for _ in range(JOBS)]
    shared, copied = Batched(), Batched()
    args = [([o.xs], [o.ys]) for o in prepared[model]]
    train = (steps.train, one.whole, SGD)
    together = [shared.submit(*train, one.weights, SGD.init(one.weights), *data) for data in args]
    apart = [copied.submit(*train, w, s, *data) for w, s, data in zip(copies, state, args, strict=True)]
    alone = [Batched() for _ in args]
    each = [a.value(a.submit(*train, one.weights, state[0], *data)) for a, data in zip(alone, args, strict=True)]
    results = [tree_leaves(found) for found in (shared.value(together), copied.value(apart), each)]
    assert shared.groups["train", JOBS] == copied.groups["train", JOBS] == 1
    for a, b, c in zip(*results, strict=True):
        assert same_bits(a, b)
        assert same_bits(a, c)


def test_bits_of_calls_of_the_same_experts():
    """Of several users together, or of each alone."""
    operands = [Operands("mlp", number) for number in range(JOBS)]
    jobs = [(pairs.mixed, expert, operands[0].experts, o.logits, o.chosen, o.logits[:, :2]) for o in operands]
    together, alone = Batched(), [Batched() for _ in jobs]
    results = together.value([together.submit(*job) for job in jobs])
    assert dict(together.groups) == {("mixed", JOBS): 1}
    for found, own, job in zip(results, alone, jobs, strict=True):
        assert same_bits(found, own.value(own.submit(*job)))


@pytest.mark.parametrize("rank", [1, 2])
def test_bits_of_users_on_one_frozen_backbone(rank):
    """Together, or each alone; their backbone is not copied for each. With rank 1, vectors are factors too."""
    o = Operands("vit", 0)
    adapted = Lora(rank, targets=("q", "v", "fc1")).on(o.whole)
    frozen, head = adapted.split(o.weights)
    data = [([each.xs], [each.ys]) for each in (Operands("vit", number) for number in range(5))]
    starts = [adapted.adapters(FakeStreams(), number) | head for number in range(5)]

    def run(executor, jobs):
        bound = adapted.bind(frozen)
        return executor.value([executor.submit(steps.train, bound, SGD, s, SGD.init(s), *d) for s, d in jobs])

    together = run(Batched(), list(zip(starts, data, strict=True)))
    for found, job in zip(together, zip(starts, data, strict=True), strict=True):
        alone = run(Batched(), [job])[0]
        assert all(same_bits(a, b) for a, b in zip(tree_leaves(found), tree_leaves(alone), strict=True))


def grouped(size, job):
    """Sizes of the groups that ten jobs form; what contains a convolution runs alone."""
    segments = [each for each in job if isinstance(each, Segment)]
    blocks = [b for s in segments for b in s.architecture.blocks(s.input_shape, s.classes)[s.start : s.stop]]
    convolves = any(isinstance(module, nn.Conv2d) for block in blocks for module in block.modules())
    return {1} if convolves else {size, JOBS % size or size}


def same_bits(a, b):
    """Equal, zeros with their signs."""
    return a.dtype == b.dtype and torch.equal(a, b) and (a.dtype is torch.bool or torch.equal(a.signbit(), b.signbit()))
