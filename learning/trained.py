"""Models as a run leaves them: modules of torch, and files of weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from learning.adapters import Bound, Model
from learning.data.modalities import Modalities
from learning.models import Multimodal, Segment
from learning.models.segment import original
from learning.peft import adapter_files, exportable
from learning.reducers import TokenReducer
from learning.reducers.towers import ReducedTower

Parameters = dict[str, Tensor]

GLOBAL = "model"
"""Name of a model that all users share; those of several models are `user0`, `user1` and so on, or `team0`, ..."""
ENDING = ".safetensors"
ADAPTER = "adapter"
"""Name of the folder of adapters on layers of transformers, in the format of PEFT."""


@dataclass(frozen=True, eq=False)
class TrainedModel:
    """A model with the weights that training left."""

    whole: Model
    """The model; with adapters its frozen weights are tensors."""
    trained: Parameters
    """The parameters that were trained, by name."""
    names: tuple[str, ...] = ()
    """Names of the classes, in order; empty if they are not known."""
    name: str = GLOBAL
    """Name of the model among those of a run: whose it is, such as `user0`; see `GLOBAL`."""

    @property
    def weights(self) -> Parameters:
        """All parameters by name: those that were trained, and frozen ones."""
        parts = self.whole.parts if isinstance(self.whole, Multimodal) else (self.whole,)
        frozen = [each.frozen for each in map(_plain, parts) if isinstance(each, Bound)]
        return {name: value for each in (*frozen, self.trained) for name, value in each.items()}

    def module(self) -> nn.Module:
        """The model as a module of torch, which holds a copy of the weights.

        It maps samples (batch, ...) to logits (batch, classes), adapters included; samples of several modalities are
        `learning.data.Modalities`.
        """
        weights = self.weights
        if isinstance(self.whole, Multimodal):
            return TowersAndFusion([_named_module(part, weights) for part in self.whole.parts])
        return _module(self.whole, weights)


class TowersAndFusion(nn.Module):
    """A tower for each modality, and a fusion network on their features."""

    def __init__(self, parts: Sequence[tuple[str, nn.Module]]) -> None:
        """`parts` are names and modules of the towers and, last, of the fusion network."""
        super().__init__()
        *towers, (_, self.fusion) = parts
        self.towers = nn.ModuleDict(dict(towers))

    def forward(self, x: Modalities) -> Tensor:
        """Map modalities (batch, ...) to logits (batch, classes)."""
        features = {name: tower(x.values[name]) for name, tower in self.towers.items() if name in x.values}
        logits: Tensor = self.fusion(Modalities(features, {name: x.present[name] for name in self.towers}))
        return logits


def _module(part: Segment | Bound, weights: Parameters) -> nn.Module:
    module = deepcopy(original(part)) if isinstance(part, Segment) else part.adapted.module()
    own = {name: weights[name].clone() for name in module.state_dict() if name in weights}
    module.load_state_dict(own, assign=True)
    return module.eval()


class Between(nn.Module):
    """A token reducer between two parts of a tower."""

    def __init__(self, reducer: TokenReducer) -> None:
        super().__init__()
        self.reducer = reducer

    def forward(self, tokens: Tensor) -> Tensor:
        """The tokens that remain, (batch, tokens, features)."""
        return self.reducer(tokens, None, None)


def _plain(part: Any) -> Any:
    return part.tower if isinstance(part, ReducedTower) else part


def _named_module(part: Any, weights: Parameters) -> tuple[str, nn.Module]:
    """Name and module of a tower, or of the fusion network."""
    if not isinstance(part, ReducedTower):
        ((name, module),) = _module(part, weights).named_children()
        return name, module
    encoder, projection = (_named_module(each, weights)[1] for each in part.tower.cut(part.tower.blocks - 1))
    return part.name, nn.Sequential(encoder, Between(part.reducer), projection)


def model_files(models: Sequence[TrainedModel]) -> Iterator[tuple[str, bytes]]:
    """Paths and contents of the files of models: of each one in safetensors, with all parameters by name.

    Adapters on layers of the library transformers have files as PEFT reads them, too.

    Args:
        models: one global model, or one for each user, or team of users, in order.
    """
    for model in models:
        tensors = {key: value.clone(memory_format=torch.contiguous_format) for key, value in model.weights.items()}
        metadata = {"format": "pt", **({"classes": "\n".join(model.names)} if model.names else {})}
        yield f"{model.name}{ENDING}", save(tensors, metadata)
        if exportable(model.whole):
            adapter = ADAPTER if model.name == GLOBAL else f"{ADAPTER}_{model.name}"
            for name, content in adapter_files(model.whole, model.trained):
                yield f"{adapter}/{name}", content


def read_weights(path: Path) -> Parameters:
    """Parameters in a file, by name. Raises ValueError if it is damaged, or a folder."""
    if path.is_dir():
        raise ValueError(f"{path} is a folder; name a file in it, as {GLOBAL}{ENDING} in that of a run's weights")
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path} is no file of weights in safetensors that can be read ({error})") from error


def check_fits(given: Mapping[str, Tensor], expected: Mapping[str, Tensor], path: str) -> None:
    """Raise ValueError unless all parameters of a file are ones of the model, with their shapes.

    Args:
        given: parameters in the file.
        expected: parameters of the model, adapters included, as meta tensors.
        path: the file, for the message.
    """
    if not given.keys() & expected.keys():
        raise ValueError(f"{path} has no parameter of the model, whose first is {next(iter(expected))}")
    for name, value in given.items():
        if name not in expected:
            raise ValueError(f"{path} has a parameter {name}, which the model has not")
        if value.shape != expected[name].shape:
            shapes = [tuple(each.shape) for each in (value, expected[name])]
            raise ValueError(f"{name} in {path} has the shape {shapes[0]}, but in the model {shapes[1]}")
