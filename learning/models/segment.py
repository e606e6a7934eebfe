"""A run of consecutive blocks of a model, as a pure function of its parameters and its input."""

from collections import OrderedDict
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from learning.data.dataset import Dataset
from learning.data.modalities import Modalities
from learning.data.training_input import TrainingInput
from learning.executor.shape_run import shape_run
from learning.models.architecture import Architecture, Pretrained
from learning.models.expert_records import ExpertOutputs, ExpertRecord, Recorded
from learning.models.experts import Routed
from learning.models.initial import draw_parameter
from learning.models.purity import RandomOperators, check_pure
from learning.models.selective_backward import SelectiveBackward
from learning.models.stateless import Stateless
from learning.models.training import STATISTICS, BatchNorm, Training, TrainingLayer, rewritten, training_layers
from learning.ports import Streams


class Whole(Protocol):
    """A whole model: a pure function of its parameters and samples."""

    def __call__(self, params: dict[str, Tensor], x: Any) -> Tensor:
        """Logits (batch, classes)."""
        ...

    def parameters(self) -> dict[str, Tensor]:
        """Its parameters as meta tensors."""
        ...


@dataclass(frozen=True)
class Segment:
    """Blocks `start` to `stop` (exclusive) of a model; hashable, and equal segments are the same function.

    Parameters carry whole-model names ("3.weight"), so the union of all parts' parameters is the whole model's. Raises
    ValueError if the run of blocks is empty or not within the model.
    """

    architecture: Architecture
    input_shape: tuple[int, ...]
    """Shape of one sample at the chain's first block, without the batch axis."""
    classes: int
    """Width of the output of the chain's last block."""
    start: int
    stop: int
    name: str = ""
    """Name of the chain in a model of several ones; its parameters' names begin with it ("image.3.weight")."""

    def __post_init__(self) -> None:
        total = self.last + 1
        if not 0 <= self.start < self.stop <= total:
            raise ValueError(f"blocks {self.start} to {self.stop} are not a part of a model of {total} blocks")

    def __call__(self, params: dict[str, Tensor], x: Tensor | Modalities | TrainingInput) -> Tensor:
        """Map (batch, *shape before block `start`) to (batch, *shape after the last block); exactly these `params`.

        The first block of a fusion network takes features of several modalities instead. On a `TrainingInput` it is the
        model as it trains, whose layers of dropout drop activations.
        """
        out: Tensor = _training(self)(params, x) if isinstance(x, TrainingInput) else _function(self)(params, x)
        return out

    def scored(self, params: dict[str, Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
        """Its output, and the attention (batch, tokens) that the first token pays to each in the segment's last block.

        Raises ValueError if that block has no attention.
        """
        out: tuple[Tensor, Tensor] = _function(self, scored=True)(params, x)
        return out

    def routed(self, params: dict[str, Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
        """What the gates of its layers with experts make of the tokens, in the order of the layers.

        Returns their probabilities, (layers, batch, tokens, experts), and the numbers of the chosen experts, the best
        first, (layers, batch, tokens, top_k), int64. Raises ValueError if no layer has experts.
        """
        out: tuple[Tensor, Tensor] = _function(self, Routed)(params, x)
        return out

    def recorded(self, params: dict[str, Tensor], x: Tensor) -> tuple[Tensor, dict[str, ExpertRecord]]:
        """Its output, and what each layer with experts computed, by the name of its mixture, such as "1.feed.1"."""
        out: tuple[Tensor, dict[str, ExpertRecord]] = _function(self, Recorded)(params, x)
        return out

    def selective_backward(self, params: dict[str, Tensor], x: Tensor, active: Tensor | bool) -> Tensor:
        """Its output, whose backward pass goes through the active experts only.

        `active` is boolean, (layers, experts), in the order of the layers with experts; a bool holds for all. Raises
        ValueError if no layer has experts.
        """
        out: Tensor = _function(self, SelectiveBackward)(params, x, active)
        return out

    def expert_outputs(self, params: dict[str, Tensor], x: Tensor) -> dict[str, Tensor]:
        """What each expert of its layers makes of the same tokens x (..., width), each in the shape of x.

        Names are such as "1.feed.1.experts.0.output"; without layers with experts the dictionary is empty.
        """
        out: dict[str, Tensor] = _function(self, ExpertOutputs)(params, x)
        return out

    @property
    def training_layers(self) -> dict[str, TrainingLayer]:
        """Its layers that compute something else while it trains, such as dropout, by name."""
        return training_layers(modules(self))

    def tracked(self, params: dict[str, Tensor], x: TrainingInput) -> tuple[Tensor, dict[str, Tensor]]:
        """Its output while it trains, and the new running statistics of its layers of batch normalisation by name."""
        return _training(self).tracked(params, x)

    def norms(self, *, statistics: bool = False) -> list[str]:
        """Names of the parameters of its layers of batch normalisation with running statistics, or of these alone."""
        layers = {name: each for name, each in self.training_layers.items() if isinstance(each, BatchNorm)}
        fields = ((name, field) for name, layer in layers.items() for field, _ in layer.named_parameters())
        return [f"{name}.{field}" for name, field in fields if field in STATISTICS or not statistics]

    @property
    def blocks(self) -> int:
        """Number of blocks; a whole model of n blocks can be cut at 1 to n - 1."""
        return self.stop - self.start

    @property
    def last(self) -> int:
        """The number of the whole model's last block, its head."""
        return len(_blocks(self.architecture, self.input_shape, self.classes)) - 1

    @property
    def whole(self) -> "Segment":
        """The whole model of which it is a part."""
        return replace(self, start=0, stop=self.last + 1)

    @property
    def parameter_count(self) -> int:
        """Number of scalars in its parameters."""
        return sum(parameter.numel() for parameter in _function(self).parameters.values())

    def parameters(self) -> dict[str, Tensor]:
        """Its parameters by name, as meta tensors of torch's default dtype."""
        return dict(_function(self).parameters)

    def initial(self, streams: Streams, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
        """Initial parameters by name: pretrained ones of the model, the others drawn.

        A parameter is drawn from the stream with its name, so that it is the same for all cuts.

        Args:
            streams: the run's random streams.
            dtype: number format of the parameters.
        """
        function = _function(self)
        brought = _given(self.architecture, self.input_shape, self.classes)
        given = {self._prefix + name: value for name, value in brought.items()}
        return {
            name: given[name].to(dtype) if name in given else draw_parameter(streams, name, function.owner(name), dtype)
            for name in function.parameters
        }

    def cut(self, at: int) -> tuple["Segment", "Segment"]:
        """The segment cut in two before block `at`, counted from the beginning of the whole model: front and back."""
        if not self.start < at < self.stop:
            allowed = f"{self.start + 1} to {self.stop - 1}" if self.blocks > 1 else "none"
            raise ValueError(f"cut {at} does not leave a block on either side; possible cuts: {allowed}")
        return replace(self, stop=at), replace(self, start=at)

    def block(self, name: str) -> int:
        """Number of the block that contains the parameter or weight `name`."""
        return int(name.removeprefix(self._prefix).partition(".")[0])

    @property
    def _prefix(self) -> str:
        return f"{self.name}." if self.name else ""


def chain(architecture: Architecture, input_shape: tuple[int, ...], classes: int, name: str = "") -> Segment:
    """All blocks of an architecture, for samples of the given shape and outputs of width `classes`."""
    return Segment(architecture, input_shape, classes, 0, len(_blocks(architecture, input_shape, classes)), name)


def whole(architecture: Architecture, dataset: Dataset) -> Segment:
    """The whole model for the samples and classes of `dataset`, whose samples are single arrays.

    Raises ValueError if it cannot read such samples, or does not give logits for each of their labels.
    """
    if dataset.modalities:
        raise ValueError(
            f"samples of {dataset.name} have modalities {', '.join(dataset.modalities)}; give each a tower"
        )
    model = chain(architecture, dataset.input_shape, dataset.classes)
    check_pure(modules(model))
    check_reads(model, dataset.train.arrays["x"], dataset.name)
    check_logits(model, dataset)
    _check_draws(model, dataset)
    return model


def _check_draws(model: Segment, dataset: Dataset) -> None:
    """Raises ValueError if a block draws random numbers by itself, in a function and not in a layer that is known."""
    x = dataset.train.arrays["x"]
    out = torch.empty((2, *x.shape[1:]), dtype=x.dtype, device="meta")
    for start in range(model.blocks):
        block = replace(model, start=start, stop=start + 1)
        params = {
            name: value.to(x.dtype if x.is_floating_point() else None) for name, value in block.parameters().items()
        }
        with RandomOperators() as random:
            out = block(params, out)
        if random.seen:
            raise ValueError(
                f"block {start} of the model draws random numbers in its forward ({random.seen[0]}), which no "
                "other run repeats; drop by a layer nn.Dropout, or leave it out"
            )


def check_reads(model: Segment, x: Tensor, name: str) -> None:
    """Raises ValueError unless a model accepts samples `x` of the data set `name`: tokens or numbers."""
    first = modules(replace(model, stop=model.start + 1))
    reads_tokens = any(isinstance(module, nn.Embedding) for module in first.modules())
    if reads_tokens == x.is_floating_point():
        reads = "tokens" if reads_tokens else "numbers"
        raise ValueError(f"the model reads {reads}, which is not what samples of {name} are")


def check_logits(model: Whole, dataset: Dataset) -> None:
    """Raises ValueError unless a model has one row of logits for each label of a data set."""
    two = tree_map(lambda array: torch.empty((2, *array.shape[1:]), dtype=array.dtype, device="meta"), dataset.train.x)
    dtypes = [array.dtype for array in tree_leaves(two) if array.is_floating_point()]
    params = {name: value.to(dtypes[0] if dtypes else None) for name, value in model.parameters().items()}
    own = tuple(dataset.train.y.shape[1:])
    labels = (*own, dataset.classes) if dataset.task == "classification" else own
    try:
        logits = shape_run(model, (params, two)).results
    except (RuntimeError, TypeError, ValueError, AttributeError, IndexError) as error:  # of a module of any kind
        shapes = ", ".join(str(tuple(leaf.shape[1:])) for leaf in tree_leaves(two))
        reason = str(error).partition("\n")[0]
        raise ValueError(f"the model cannot read samples of shape {shapes} ({reason})") from error
    if not isinstance(logits, Tensor):
        raise ValueError(f"the model gives a {type(logits).__name__}; one tensor of logits is needed")
    if tuple(logits.shape) != (2, *labels):
        given = tuple(logits.shape[1:])
        raise ValueError(f"the model gives logits of shape {given} for a sample, but its label needs {labels}")


@cache
def _blocks(architecture: Architecture, input_shape: tuple[int, ...], classes: int) -> tuple[nn.Module, ...]:
    """The blocks as pure functions, without values."""
    return tuple(map(rewritten, _built(architecture, input_shape, classes)))


@cache
def _built(architecture: Architecture, input_shape: tuple[int, ...], classes: int) -> tuple[nn.Module, ...]:
    """The blocks as the architecture builds them, without values."""
    with torch.device("meta"):
        return tuple(_without_values(block) for block in architecture.blocks(input_shape, classes))


def _without_values(block: nn.Module) -> nn.Module:
    """The block, or a copy on the meta device of one that was made elsewhere: its weights come as operands."""
    return block if all(tensor.is_meta for tensor in block.parameters()) else deepcopy(block).to("meta")


def modules(segment: Segment) -> nn.Sequential:
    """Blocks of a segment as modules on the meta device, by their names in the whole model; must not be modified.

    Layers that compute something else in training are those of `learning.models.training`.
    """
    return _in_a_row(segment, _blocks(segment.architecture, segment.input_shape, segment.classes))


def original(segment: Segment) -> nn.Sequential:
    """The same as the architecture builds them: layers of torch."""
    return _in_a_row(segment, _built(segment.architecture, segment.input_shape, segment.classes))


def _in_a_row(segment: Segment, blocks: tuple[nn.Module, ...]) -> nn.Sequential:
    run = nn.Sequential(OrderedDict((str(i), blocks[i]) for i in range(segment.start, segment.stop)))
    return nn.Sequential(OrderedDict([(segment.name, run)])) if segment.name else run


@cache
def _given(architecture: Architecture, input_shape: tuple[int, ...], classes: int) -> dict[str, Tensor]:
    return architecture.weights(input_shape, classes) if isinstance(architecture, Pretrained) else {}


class Scored(nn.Module):
    """A sequence of blocks that also returns the attention of the last one."""

    def __init__(self, run: nn.Module) -> None:
        super().__init__()
        for name, block in run.named_children():
            self.add_module(name, block)
        if not hasattr(block, "scored"):
            raise ValueError(f"block {name} has no attention")

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        blocks: list[Any] = list(self.children())
        for block in blocks[:-1]:
            x = block(x)
        out: tuple[Tensor, Tensor] = blocks[-1].scored(x)
        return out


def with_attention(run: nn.Sequential, name: str) -> nn.Module:
    """The modules of a chain, which also return the attention of their last block; `name` is the chain's, or empty."""
    return nn.Sequential(OrderedDict([(name, Scored(run[0]))])) if name else Scored(run)


@cache
def _function(segment: Segment, view: type[nn.Sequential] | None = None, scored: bool = False) -> Stateless:
    run = modules(segment)
    if view:
        return Stateless(view(OrderedDict(run.named_children())))
    return Stateless(with_attention(run, segment.name) if scored else run)


def draw_shapes(segment: Segment, params: dict[str, Tensor], x: Tensor) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the draws that a `TrainingInput` of samples `x` needs; of both, only shapes matter.

    No method of the segment: operations name its class with all that its methods refer to, and shape-only runs, which
    remember operators, would change their keys.
    """
    shapes: dict[str, tuple[int, ...]] = shape_run(_training(segment).draw_shapes, (params, x)).results
    return shapes


@cache
def _training(segment: Segment) -> Training:
    return Training(_function(segment))
