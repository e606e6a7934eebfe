"""Training steps: the pure operations of which split and federated schemes consist.

Segments and optimisers are plain hashable arguments, weights and optimiser states are trees of tensors, data and draws
are arguments. Losses are means over the mini-batch (over its tokens, where each has a label), so a cut-layer gradient
is that of the user's own mean loss.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import grad, grad_and_value, vjp
from torch.utils._pytree import tree_flatten, tree_map

from learning.aggregators import weighted_mean
from learning.data.modalities import Modalities, differentiable, with_values
from learning.data.training_input import TrainingInput
from learning.executor.deferred import Tree, Value
from learning.executor.flops import charge_elementwise, uncharged
from learning.models import Segment
from learning.optimisers import Optimiser

Parameters = dict[str, Tensor]
"""Tensors by their names in the whole model ("3.weight"): weights, or their gradients."""
Weights = Value[Parameters]
"""Parameters as tensors, or deferred."""
State = Value[Tree]
"""State of an optimiser as tensors, or deferred; () if it has none."""

Batch = Tensor | Modalities
"""Samples or features of a mini-batch: one array, or one for each modality."""
Part = Callable[[Parameters, Any], Any]
"""A part of a model: a pure function of its parameters and of the output of the part before it."""


def front(segment: Part, parameters: Parameters, x: Batch) -> Any:
    """Forward pass of a part up to a cut; returns the smashed data.

    Args:
        segment: the part of the model.
        parameters: its parameters.
        x: samples, (samples, ...).
    """
    return segment(parameters, x)


def scored_front(segment: Segment, parameters: Parameters, x: Tensor) -> tuple[Tensor, Tensor]:
    """`front`, and the attention (samples, tokens) of the class token to each token in the block before the cut."""
    return segment.scored(parameters, x)


def back_gradients(segment: Part, parameters: Parameters, z: Batch, y: Tensor) -> tuple[Parameters, Any, Tensor]:
    """Forward and backward pass above the cut.

    Args:
        segment: the server's part of the model.
        parameters: its parameters.
        z: smashed data, (samples, ...).
        y: labels, (samples,).

    Returns:
        Gradients of the parameters, of the smashed data (of several modalities, a tree of the gradients of their
        values), and the loss.
    """

    def loss_of(parameters: Parameters, values: Any) -> tuple[Tensor, Parameters]:
        out, statistics = tracked(segment, parameters, with_values(z, values))
        return mean_loss(out, y), statistics

    loss, pull, statistics = _tracked_pullback(loss_of, parameters, differentiable(z))
    gradients, dz = pull(torch.ones_like(loss))
    return gradients | statistics, dz, loss


def tracked(segment: Part, parameters: Parameters, x: Any) -> tuple[Any, Parameters]:
    """The output of a part, and new running statistics of its layers of batch normalisation by name, if it has some.

    Where gradients are returned, these statistics stand in place of their own gradients, which do not exist: an
    optimiser puts them in place of the old ones (`learning.running_statistics`).
    """
    if isinstance(x, TrainingInput) and isinstance(segment, Segment):
        return segment.tracked(parameters, x)
    return segment(parameters, x), {}


def pullback(function: Callable[..., Any], *primals: Any) -> tuple[Any, Callable[[Any], tuple[Any, ...]]]:
    """The value of a function, and a function that maps a gradient of the value to gradients of the arguments."""
    value, pull = vjp(function, *primals)[:2]
    return value, pull


def _tracked_pullback(
    function: Callable[..., tuple[Any, Parameters]], *primals: Any
) -> tuple[Any, Callable[[Any], tuple[Any, ...]], Parameters]:
    """`pullback` of a function that also returns running statistics, which come last."""
    value, pull, *statistics = vjp(function, *primals, has_aux=True)
    return value, pull, statistics[0]


def back(
    segment: Part, optimiser: Optimiser, parameters: Parameters, state: Any, z: Batch, y: Tensor
) -> tuple[Parameters, Any, Any, Tensor]:
    """`back_gradients` and an optimiser step; returns new parameters and state, cut-layer gradient and loss."""
    gradients, dz, loss = back_gradients(segment, parameters, z, y)
    parameters, state = optimiser.step(parameters, gradients, state)
    return parameters, state, dz, loss


def front_gradients(segment: Part, parameters: Parameters, x: Batch, dz: Any) -> Parameters:
    """Backward pass below the cut; returns the gradients of the parameters.

    The forward pass is computed again for the backward pass; the device kept its activations, so only the backward pass
    is charged.

    Args:
        segment: the device's part of the model.
        parameters: its parameters.
        x: samples, (samples, ...).
        dz: the cut-layer gradient, in the shape of the smashed data.
    """

    def output(parameters: Parameters) -> tuple[Any, Parameters]:
        out, statistics = tracked(segment, parameters, x)
        return differentiable(out), statistics

    with uncharged():
        _, pull, statistics = _tracked_pullback(output, parameters)
    gradients: Parameters = pull(dz)[0]
    return gradients | statistics


def middle_gradients(segment: Part, parameters: Parameters, z: Batch, dz: Any) -> tuple[Parameters, Any]:
    """Backward pass between two cuts, from the gradient `dz` of the output.

    Returns the gradients of the parameters and of the input `z`. The forward pass is not charged, as in
    `front_gradients`.
    """

    def output(parameters: Parameters, values: Any) -> Any:
        return differentiable(segment(parameters, with_values(z, values)))

    with uncharged():
        _, pull = pullback(output, parameters, differentiable(z))
    gradients, dx = pull(dz)
    return gradients, dx


def update_middle(
    segment: Part, optimiser: Optimiser, parameters: Parameters, state: Any, z: Batch, dz: Any
) -> tuple[Parameters, Any, Any]:
    """`middle_gradients` and an optimiser step; returns new parameters and state, and the gradient of the input."""
    gradients, dx = middle_gradients(segment, parameters, z, dz)
    parameters, state = optimiser.step(parameters, gradients, state)
    return parameters, state, dx


def update_front(
    segment: Part, optimiser: Optimiser, parameters: Parameters, state: Any, x: Batch, dz: Any
) -> tuple[Parameters, Any]:
    """`front_gradients` and an optimiser step; returns new parameters and state."""
    return optimiser.step(parameters, front_gradients(segment, parameters, x, dz), state)


def apply_mean(
    optimiser: Optimiser, parameters: Parameters, state: Any, gradients: list[Parameters], weights: tuple[float, ...]
) -> tuple[Parameters, Any]:
    """One optimiser step on the weighted mean of several users' gradients; returns new parameters and state.

    Args:
        optimiser: the optimiser.
        parameters: the parameters.
        state: its state.
        gradients: each user's gradients.
        weights: each user's weight.
    """
    return optimiser.step(parameters, weighted_mean(gradients, weights), state)


def train(
    segment: Part, optimiser: Optimiser, parameters: Parameters, state: Any, xs: list[Batch], ys: list[Tensor]
) -> tuple[Parameters, Any, Tensor]:
    """Local steps on a number of mini-batches; returns new parameters and state, and the mean loss over all samples.

    Args:
        segment: the model.
        optimiser: the optimiser.
        parameters: parameters of the model.
        state: state of the optimiser.
        xs: stacks of samples, (count, size, ...) each; there is a step for each of the `count` mini-batches.
        ys: stacks of labels, (count, size) each.
    """
    return descend(optimiser, parameters, state, xs, ys, partial(_gradients, segment))


def train_proximal(
    segment: Part,
    optimiser: Optimiser,
    mu: float,
    parameters: Parameters,
    state: Any,
    xs: list[Batch],
    ys: list[Tensor],
) -> tuple[Parameters, Any, Tensor]:
    """`train` with the proximal term of FedProx: mu (w - w_start) is added to a gradient, at two FLOPs a weight."""
    kept = segment.norms(statistics=True) if isinstance(segment, Segment) else []
    start = {name: value for name, value in parameters.items() if name not in kept}

    def pulled(parameters: Parameters, x: Batch, y: Tensor) -> tuple[Parameters, Tensor]:
        gradients, loss = _gradients(segment, parameters, x, y)
        charge_elementwise(2 if mu else 0, start)
        pull = {name: mu * (parameters[name] - value) for name, value in start.items()}
        return {name: g + pull[name] if name in pull else g for name, g in gradients.items()}, loss

    return descend(optimiser, parameters, state, xs, ys, pulled)


def descend(
    optimiser: Optimiser,
    parameters: Parameters,
    state: Any,
    xs: list[Batch],
    ys: list[Tensor],
    differentiate: Callable[[Parameters, Batch, Tensor], tuple[Parameters, Tensor]],
) -> tuple[Parameters, Any, Tensor]:
    """`train` by other gradients: `differentiate` maps parameters, samples and labels to gradients and the loss."""
    losses, samples = [], sum(y.shape[:2].numel() for y in ys)
    for x, y in ((x, y) for one, other in zip(xs, ys, strict=True) for x, y in zip(unstacked(one), other, strict=True)):
        gradients, loss = differentiate(parameters, x, y)
        parameters, state = optimiser.step(parameters, gradients, state)
        losses.append(loss * (len(y) / samples))
    return parameters, state, torch.stack(losses).sum()


def stack_of_one(batch: Batch) -> Batch:
    """A mini-batch (size, ...) as a stack (1, size, ...)."""
    stack: Batch = tree_map(lambda array: array[None], batch)
    return stack


def unstacked(stack: Batch) -> list[Any]:
    """The mini-batches of a stack (count, size, ...) of them, one by one."""
    leaves, form = tree_flatten(stack)
    return [form.unflatten(each) for each in zip(*(leaf.unbind() for leaf in leaves), strict=True)]


def _gradients(segment: Part, parameters: Parameters, x: Batch, y: Tensor) -> tuple[Parameters, Tensor]:
    """Gradients of the mean loss of a mini-batch, and the loss."""
    gradients, (loss, statistics) = grad_and_value(_loss, has_aux=True)(parameters, segment, x, y)
    return gradients | statistics, loss


def _loss(parameters: Parameters, segment: Part, x: Batch, y: Tensor) -> tuple[Tensor, Parameters]:
    out, statistics = tracked(segment, parameters, x)
    return mean_loss(out, y), statistics


def mean_loss(logits: Tensor, y: Tensor) -> Tensor:
    """Mean loss of outputs, by the kind of the labels.

    Args:
        logits: outputs of the model: (..., classes), or (samples, outputs).
        y: numbers of classes (...), one for each sample or for each token of it: cross-entropy; numbers to be predicted
            (samples, outputs): squared error; bool (samples, outputs), several labels of a sample: cross-entropy of
            each.
    """
    return _loss_of(logits, y, "mean")


def _loss_of(logits: Tensor, y: Tensor, reduction: str) -> Tensor:
    if y.dtype == torch.bool:
        return F.binary_cross_entropy_with_logits(logits, y.to(logits.dtype), reduction=reduction)
    if y.is_floating_point():
        return F.mse_loss(logits, y, reduction=reduction)
    return F.cross_entropy(logits.flatten(0, -2), y.flatten(), reduction=reduction)


def loss_gradient(logits: Tensor, y: Tensor) -> Tensor:
    """Gradient of `mean_loss` with respect to the logits (..., classes), for a model whose last part is elsewhere."""
    gradient: Tensor = grad(mean_loss)(logits, y)
    return gradient


def evaluate(segment: Part, parameters: Parameters, x: Batch, y: Tensor) -> tuple[Tensor, Tensor]:
    """Number of correct predictions, or sum of absolute errors, and the sum of the losses, on one chunk; as `score`."""
    return score(segment(parameters, x), y)


def score(logits: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Number of correct predictions, and the sum of the losses, of outputs and labels as in `mean_loss`.

    Logits that are not all finite predict nothing: without this rule a model of NaNs would predict class 0. Of several
    labels of a sample each is a prediction. Of numbers to be predicted the first result is the sum of absolute errors.
    """
    if y.is_floating_point():
        return (logits - y).abs().sum(), _loss_of(logits, y, "sum")
    if y.dtype == torch.bool:
        correct = ((logits > 0) == y) & logits.isfinite()
    else:
        correct = (logits.argmax(-1) == y) & logits.isfinite().all(-1)
    return correct.sum(), _loss_of(logits, y, "sum")


def counted(segment: Part, parameters: Parameters, x: Batch, y: Tensor) -> Tensor:
    """How often each class was predicted rightly, wrongly, and missed, on one chunk of a test set: (classes, 3), int64.

    Args:
        segment: the model.
        parameters: its parameters.
        x: samples, (samples, ...).
        y: numbers of classes, or bool (samples, classes); see `mean_loss`. As in `score`, a prediction is finite.
    """
    logits = segment(parameters, x)
    if y.dtype == torch.bool:
        predicted, actual = (logits > 0) & logits.isfinite(), y
    else:
        logits, numbers = logits.flatten(0, -2), torch.arange(logits.shape[-1], device=logits.device)
        predicted = (logits.argmax(-1, keepdim=True) == numbers) & logits.isfinite().all(-1, keepdim=True)
        actual = y.flatten()[:, None] == numbers
    return torch.stack([(predicted & actual).sum(0), (predicted & ~actual).sum(0), (~predicted & actual).sum(0)], -1)


def class_scores(segment: Segment, parameters: Parameters, x: Batch, y: Tensor) -> Tensor:
    """How probable each class is for each label of a chunk of a test set, (labels, classes), float64.

    Arguments as in `counted`. Scores of several labels of a sample are logits, which rank samples alike.
    """
    logits = segment(parameters, x).flatten(0, -2).to(torch.float64)
    return logits if y.dtype == torch.bool else torch.softmax(logits, -1)


def merge(*parts: Parameters) -> Parameters:
    """Parameters of several parts of a model together, in the order of the parts."""
    return {name: tensor for part in parts for name, tensor in part.items()}


def named(tree: Parameters, names: tuple[str, ...]) -> Parameters:
    """Entries of `tree` with these names, in this order; names that it lacks are left out."""
    return {name: tree[name] for name in names if name in tree}


def block(name: str) -> int:
    """Number of the block that contains the parameter `name`."""
    return int(name.partition(".")[0])


def part(tree: Parameters, start: int, stop: int) -> Parameters:
    """Entries of `tree` that belong to blocks `start` to `stop` (exclusive)."""
    return {name: value for name, value in tree.items() if start <= block(name) < stop}
