"""Multi-layer perceptrons as functions of named parameters."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

from learning.ports import Streams

Parameters = dict[str, Tensor]


def initial(streams: Streams, widths: Mapping[str, tuple[int, ...]], dtype: torch.dtype) -> Parameters:
    """Initial parameters of perceptrons with these widths of layers, by name: weights uniform, biases zero."""
    parameters = {}
    for name, each in widths.items():
        for layer, (into, out) in enumerate(pairwise(each)):
            generator = streams.generator("initial", f"{name}.{layer}")
            weight = torch.from_numpy(generator.uniform(-(into**-0.5), into**-0.5, (out, into)))
            parameters[f"{name}.{layer}.weight"] = weight.to(dtype)
            parameters[f"{name}.{layer}.bias"] = torch.zeros(out, dtype=dtype)
    return parameters


def perceptron(parameters: Parameters, name: str, x: Tensor) -> Tensor:
    """Output (n, out) of the perceptron of this name, with one hidden layer, for inputs (n, in)."""
    hidden = F.relu(F.linear(x, parameters[f"{name}.0.weight"], parameters[f"{name}.0.bias"]))
    return F.linear(hidden, parameters[f"{name}.1.weight"], parameters[f"{name}.1.bias"])
