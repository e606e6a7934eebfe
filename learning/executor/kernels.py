"""Captured kernels as a function that torch's own interpreter runs, without Python between two kernels.

The function is text in the intermediate representation of TorchScript. Each kernel is one line; nothing is optimised
in it, so that the bits are those of the kernels.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from math import isnan
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch._ops import OpOverload

PIECE, PIECE_NUMBERS = 256, 2**22
"""Kernels, and numbers in their results, that make a piece. Interrupts are obeyed between two pieces: large kernels,
such as convolutions of many images, take up to a second for so many numbers."""
MEMORY_FORMATS = (torch.contiguous_format, torch.preserve_format, torch.channels_last, torch.channels_last_3d)
"""In the order of their numbers in TorchScript."""


class NotCapturable(Exception):
    """An operation is not a fixed sequence of pure kernels; the message names the first that is not one."""


class Constant(NamedTuple):
    """A plain value in the text of a function."""

    kind: str
    """Its type."""
    value: str | None
    """How it is written; None for the value None."""

    @property
    def text(self) -> str:
        """What the value is set to."""
        return "prim::Constant()" if self.value is None else f"prim::Constant[value={self.value}]()"


class List(NamedTuple):
    """A list of variables and plain values as an argument of a kernel."""

    kind: str
    """Its type."""
    items: tuple[str | Constant, ...]


Argument = str | Constant | List
"""A variable, a plain value or a list."""


class Line(NamedTuple):
    """A kernel and its arguments."""

    kernel: OpOverload
    arguments: tuple[Argument, ...]
    results: tuple[str, ...]
    """Variables for its results, which are tensors."""
    numbers: int
    """Numbers in its results."""

    @property
    def uses(self) -> set[str]:
        """Variables among the arguments."""
        return {each for each in self.flat if isinstance(each, str)}

    @property
    def converts(self) -> bool:
        """Whether it has a number in place of a tensor, for which there is a kernel of its own."""
        kinds = [argument.type.kind() for argument in self.kernel._schema.arguments]
        return any(
            isinstance(each, Constant) and kind == "TensorType"
            for each, kind in zip(self.arguments, kinds, strict=True)
        )

    @property
    def flat(self) -> Iterator[str | Constant]:
        """Variables and plain values, those in lists too."""
        for each in self.arguments:
            yield from each.items if isinstance(each, List) else (each,)


class Piece(NamedTuple):
    """Some of the kernels of a function."""

    text: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    """Variables that a later piece needs, or that the function returns."""
    last: frozenset[str]
    """Inputs that no later piece needs."""


class Captured:
    """The kernels of an operation as a function from flat operands to flat results. It can be pickled."""

    def __init__(self, operands: Sequence[str], pieces: Sequence[Piece], results: Sequence[str]) -> None:
        """Raises NotCapturable if the interpreter does not take the kernels."""
        self._parts = operands, pieces, results
        self._functions = [_function(piece.text) for piece in pieces]

    @classmethod
    def of(cls, operands: Sequence[str], lines: Iterable[Line], results: Sequence[str]) -> Captured:
        """The function that runs `lines` on `operands` and returns `results`; lines without use are left out.

        Raises NotCapturable if the interpreter does not take a kernel, or takes another one for it.
        """
        live, kept = set(results), list[Line]()
        for line in reversed(list(lines)):
            if not live.isdisjoint(line.results):
                live |= line.uses
                kept.append(line)
        kept.reverse()
        needed, pieces = set(results), list[Piece]()
        for part in reversed(_divided(kept)):
            made = set(chain.from_iterable(line.results for line in part))
            inputs = set().union(*(line.uses for line in part)) - made
            outputs = tuple(sorted(made & needed))
            last = frozenset(inputs - needed)
            pieces.insert(0, Piece(_text(part, sorted(inputs), outputs), tuple(sorted(inputs)), outputs, last))
            needed |= inputs
        captured = cls(operands, pieces, results)
        for line, found in zip(kept, captured.kernels, strict=True):
            if found != str(line.kernel._schema) and not line.converts:
                raise NotCapturable(str(line.kernel))
        return captured

    @property
    def kernels(self) -> list[str]:
        """Schemas of the kernels, in order."""
        nodes = chain.from_iterable(function.graph.nodes() for function in self._functions)
        return [node.schema() for node in nodes if not node.kind().startswith("prim::")]

    def __call__(self, *operands: Tensor) -> tuple[Tensor, ...]:
        names, pieces, results = self._parts
        values = dict(zip(names, operands, strict=True))
        optimised = torch._C._get_graph_executor_optimize()
        torch._C._set_graph_executor_optimize(False)  # a fused kernel would round otherwise
        try:
            for piece, function in zip(pieces, self._functions, strict=True):
                given = [values.pop(name) if name in piece.last else values[name] for name in piece.inputs]
                values.update(zip(piece.outputs, function(*given), strict=True))
        finally:
            torch._C._set_graph_executor_optimize(optimised)
        return tuple([values[name] for name in results])

    def __reduce__(self) -> tuple[Any, ...]:
        return Captured, self._parts


def constant(value: Any) -> Constant:
    """A plain argument of a kernel. Raises NotCapturable if there is no text for it."""
    if value is None:
        return Constant("NoneType", None)
    if isinstance(value, bool):
        return Constant("bool", str(int(value)))
    if isinstance(value, int):
        return Constant("int", str(value))
    if isinstance(value, float) and not isnan(value):
        return Constant("float", repr(value))
    if isinstance(value, str) and value.isidentifier():
        return Constant("str", f'"{value}"')
    if isinstance(value, torch.device):
        return Constant("Device", f'"{value}"')
    if isinstance(value, torch.dtype):
        graph: Any = torch._C.Graph()
        return Constant("int", str(graph.insertConstant(value).node().i("value")))
    if value in MEMORY_FORMATS:
        return Constant("int", str(MEMORY_FORMATS.index(value)))
    if value is torch.strided:
        return Constant("int", "0")
    raise NotCapturable(f"the argument {value!r}")


def constants(values: Sequence[Any], kind: str) -> Constant | List:
    """A list of plain values as an argument of a kernel; `kind` is the type of its elements."""
    if not values or kind == "bool":  # which TorchScript has no constants for
        return List(f"{kind}[]", tuple(map(constant, values)))
    return Constant(f"{kind}[]", f"[{', '.join(str(constant(each).value) for each in values)}]")


def _divided(lines: Iterable[Line]) -> list[list[Line]]:
    """The lines of each piece, in order: few enough that its kernels take no longer than somebody waits."""
    parts, room = list[list[Line]](), 0
    for line in lines:
        if room <= 0 or len(parts[-1]) == PIECE:
            parts.append([])
            room = PIECE_NUMBERS
        parts[-1].append(line)
        room -= line.numbers
    return parts


def _function(text: str) -> Any:
    try:
        function: Any = torch._C._create_function_from_graph("kernels", torch._C.parse_ir(text))
    except RuntimeError as error:
        raise NotCapturable(str(error)) from None
    return function


def _text(lines: Sequence[Line], inputs: Sequence[str], outputs: Sequence[str]) -> str:
    """The text of the function that runs `lines`."""
    plain = {each for line in lines for each in (*line.flat, *line.arguments) if isinstance(each, Constant)}
    names = {each: f"c{number}" for number, each in enumerate(sorted(plain, key=str))}
    body = [f"%{names[each]} : {each.kind} = {each.text}" for each in names]
    for line in lines:
        body += _written(line, names)
    body.append(f"%results : ({', '.join('Tensor' for _ in outputs)}) = prim::TupleConstruct({_variables(outputs)})")
    body.append("return (%results)")
    return "\n  ".join([f"graph({', '.join(f'%{name} : Tensor' for name in inputs)}):", *body, ""])


def _written(line: Line, names: dict[Constant, str]) -> Iterator[str]:
    """A kernel in the text of a function, with the lists that it takes and returns."""
    given = []
    for place, each in enumerate(line.arguments):
        if isinstance(each, List):
            given.append(f"{line.results[0]}_{place}")
            items = [names.get(item, item) for item in each.items]  # type: ignore[arg-type]
            yield f"%{given[-1]} : {each.kind} = prim::ListConstruct({_variables(items)})"
        else:
            given.append(names.get(each, each))  # type: ignore[arg-type]
    call = f"{line.kernel._schema.name}({_variables(given)})"
    made = ", ".join(f"%{name} : Tensor" for name in line.results)
    if isinstance(line.kernel._schema.returns[0].type, torch.ListType):
        yield f"%{line.results[0]}_all : Tensor[] = {call}"
        call = f"prim::ListUnpack(%{line.results[0]}_all)"
    yield f"{made} = {call}"


def _variables(names: Iterable[Any]) -> str:
    return ", ".join(f"%{name}" for name in names)
