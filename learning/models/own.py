"""Models of the user's own: functions that return modules of torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field, make_dataclass
from inspect import Parameter, getdoc, signature
from typing import Any, get_type_hints

from torch import nn

Build = Callable[..., nn.Module | list[nn.Module]]
"""Function of the shape of one sample, of the number of classes, and of fields of a scenario; returns the model."""


def own_model(build: Build) -> type:
    """Make a model that a scenario can name of a function that builds it; also usable as a decorator.

    After `@own_model def net(input_shape, classes, width: int = 32)`, which returns an `nn.Sequential`, and
    `register("model", "net", net)`, a scenario can write `model: {name: net, width: 64}`. The children of a sequence,
    or the modules of a list, are the blocks between which schemes cut the model; any other module is a single block.

    Args:
        build: The function: its first two arguments are the shape of one sample without the batch axis, and the number
            of classes. All others have a type hint, a default or none, and are fields of the scenario. The model maps
            (batch, *input_shape) to logits (batch, classes).

    Returns:
        A frozen dataclass with these fields.

    Raises:
        ValueError: the function takes other arguments, or one has no type hint.
    """
    hints = get_type_hints(build, include_extras=True)
    arguments = list(signature(build).parameters.values())
    if len(arguments) < 2:
        raise ValueError(f"{build.__qualname__} takes {len(arguments)} arguments; input_shape and classes are needed")
    described = []
    for argument in arguments[2:]:
        if argument.kind not in (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY) or argument.name not in hints:
            raise ValueError(f"the argument {argument.name} of {build.__qualname__} needs a type hint, as a field has")
        default = field() if argument.default is Parameter.empty else field(default=argument.default)
        described.append((argument.name, hints[argument.name], default))

    def blocks(self: Any, input_shape: tuple[int, ...], classes: int) -> list[nn.Module]:
        """As `Architecture.blocks`."""
        return chain(build(input_shape, classes, **{name: getattr(self, name) for name, _, _ in described}))

    part = make_dataclass(build.__name__, described, namespace={"blocks": blocks}, frozen=True)
    part.__module__, part.__qualname__ = build.__module__, build.__qualname__
    part.__doc__ = getdoc(build) or f"The model that {build.__qualname__} builds."
    return part


def chain(model: nn.Module | list[nn.Module]) -> list[nn.Module]:
    """The blocks of a model: the children of a sequence, or the model itself."""
    if isinstance(model, nn.Sequential | nn.ModuleList):
        return list(model)  # a layer may stand at several places
    return [model] if isinstance(model, nn.Module) else list(model)
