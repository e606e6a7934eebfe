"""Content keys: equal where values must be equal, different where anything that makes a value differs."""

import subprocess
import sys
import textwrap
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from named_streams import NamedStreams
from torch.func import grad, vmap
from torch.utils._pytree import register_pytree_node

from learning import steps
from learning.data import Batches, Digits, Rows
from learning.draws import Draw
from learning.executor import Batched, Eager, Executor, identity
from learning.models import Mlp, Vit, whole
from learning.optimisers import Adam, Sgd
from learning.store import Store

DATA = Digits().load(None, torch.float32)
STREAMS = NamedStreams(3)


def key(executor: Executor, operation: Callable[..., Any], *args: Any) -> bytes:
    """Content key of what the operation would yield."""
    result = executor.submit(operation, *args)
    deferred = result[0] if isinstance(result, tuple) else result
    assert deferred.job.identity is not None
    return bytes(deferred.job.identity)


@pytest.fixture
def executor(tmp_path: Path) -> Executor:
    return Batched(Store(tmp_path))


def step(**changes: Any) -> tuple[Any, ...]:
    """Arguments of a local training step, with changes."""
    segment = whole(changes.pop("model", Mlp()), DATA)
    precision = changes.pop("precision", torch.float32)
    weights = segment.initial(changes.pop("streams", STREAMS), precision)
    optimiser = changes.pop("optimiser", Sgd(0.05, 0.9))
    data = Digits(train_samples=changes.pop("train_samples", None)).load(None, precision)
    start = changes.pop("start", 0)
    x, y = Batches(data, np.arange(100), changes.pop("user", 0), STREAMS, changes.pop("batch", 8)).stack(
        range(start, start + 2)
    )
    assert not changes
    return steps.train, segment, optimiser, weights, optimiser.init(weights), x, y


def test_the_same_call_has_the_same_key(executor: Executor, tmp_path: Path) -> None:
    again = Batched(Store(tmp_path / "other"))
    assert key(executor, *step()) == key(executor, *step()) == key(again, *step())


CHANGES: dict[str, dict[str, Any]] = {
    "model": {"model": Vit()},
    "a part of the model": {"model": Mlp(hidden=(64, 63))},
    "weights": {"streams": NamedStreams(4)},
    "precision": {"precision": torch.float64},
    "optimiser": {"optimiser": Adam()},
    "a number of the optimiser": {"optimiser": Sgd(0.05, 0.91)},
    "position in the data": {"start": 1},
    "user": {"user": 1},
    "batch size": {"batch": 9},
    "data set": {"train_samples": 500},
}


@pytest.mark.parametrize("change", CHANGES)
def test_whatever_makes_a_value_differ_changes_its_key(change: str, executor: Executor) -> None:
    assert key(executor, *step()) != key(executor, *step(**CHANGES[change]))


def test_executors_of_another_kind_have_other_keys(tmp_path: Path) -> None:
    assert key(Batched(Store(tmp_path / "a")), *step()) != key(Eager(Store(tmp_path / "b")), *step())


def double(x: torch.Tensor, factor: float = 2.0) -> torch.Tensor:
    return x * factor


CPU = torch.device("cpu")


@pytest.mark.parametrize("variable", ["DNNL_MAX_CPU_ISA", "ONEDNN_MAX_CPU_ISA"])
def test_a_limit_of_the_instruction_set_of_convolutions_changes_all_keys(
    variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = identity.surroundings("Eager", CPU)
    monkeypatch.setenv(variable, "AVX2")
    assert identity.surroundings("Eager", CPU) != before


def test_a_processor_with_other_instruction_sets_has_other_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    before, has = identity.surroundings("Eager", CPU), dict(torch.cpu.get_capabilities())
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {**has, "cpu_name": "of the same family"})
    assert identity.surroundings("Eager", CPU) == before
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {**has, "amx_tile": not has.get("amx_tile", False)})
    assert identity.surroundings("Eager", CPU) != before


def test_history_is_part_of_a_key(executor: Executor) -> None:
    x, y = torch.ones(3), torch.ones(3) * 2
    ours, theirs = executor.submit(double, x), executor.submit(double, y)
    assert key(executor, double, ours) != key(executor, double, theirs)
    assert key(executor, double, ours) == key(executor, double, executor.submit(double, torch.ones(3)))


def test_outputs_of_one_operation_are_told_apart(executor: Executor) -> None:
    both = executor.submit(low_and_high, torch.arange(4.0))
    assert key(executor, double, both[0]) != key(executor, double, both[1])


def low_and_high(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return x.amin(), x.amax()


def test_plain_arguments_are_told_apart_by_type_too(executor: Executor) -> None:
    x = torch.ones(3)
    assert len({key(executor, double, x, factor) for factor in (1, 1.0, True)}) == 3


def test_draws_are_named_by_seed_purpose_and_entity(executor: Executor) -> None:
    draws = [
        Draw(STREAMS, "dropout", (1, 2), (4,)),
        Draw(STREAMS, "dropout", (1, 3), (4,)),
        Draw(STREAMS, "rounding", (1, 2), (4,)),
        Draw(NamedStreams(9), "dropout", (1, 2), (4,)),
        Draw(STREAMS, "dropout", (1, 2), (5,)),
    ]
    assert len({key(executor, double, draw) for draw in draws}) == len(draws)


def test_rows_are_named_by_content_of_the_data_set(executor: Executor) -> None:
    chosen = np.array([3, 1, 4])
    keys = {
        key(executor, double, Rows(data, split, field, each))
        for data in (DATA, Digits(test_fraction=0.3).load(None, torch.float32))
        for split in ("train", "test")
        for field in ("x", "y")
        for each in (chosen, chosen[::-1].copy())
    }
    assert len(keys) == 16


def test_tensors_are_named_by_content_not_by_place(executor: Executor) -> None:
    x = torch.arange(6.0)
    assert key(executor, double, x) == key(executor, double, x.clone())
    assert key(executor, double, x) != key(executor, double, x + 1)
    assert key(executor, double, x.reshape(2, 3).T) != key(executor, double, x.reshape(3, 2))


CODE = """
    from dataclasses import dataclass
    {helper_import}

    SCALE = {scale}

    @dataclass(frozen=True)
    class Rule:
        '''{documentation}'''
        power: float = 1.0

        def apply(self, x):
            return helper(x) * SCALE {method}

    def helper(x):
        # {comment}
        return x + {constant}

    def operation(x, rule=Rule()):
        return rule.apply(x)

    def unrelated(x):
        return x - {elsewhere}
"""
PLAIN = {
    "helper_import": "",
    "scale": "2.0",
    "documentation": "A rule.",
    "method": "",
    "comment": "a comment",
    "constant": "1",
    "elsewhere": "5",
}


def code(**changes: str) -> bytes:
    """The key of the operation's code in such a module."""
    namespace: dict[str, Any] = {"__name__": "edited"}
    sys.modules["edited"] = ModuleType("edited")  # dataclasses look their module up
    try:
        exec(compile(textwrap.dedent(CODE.format(**{**PLAIN, **changes})), "edited.py", "exec"), namespace)
        return identity.of_code(namespace["operation"])
    finally:
        del sys.modules["edited"]


@pytest.mark.parametrize(
    "change",
    [{"scale": "2.5"}, {"constant": "2"}, {"method": "+ 0"}],
    ids=["a constant of the module", "a function it calls", "a method of a default argument"],
)
def test_changed_code_changes_the_key(change: dict[str, str]) -> None:
    assert code() != code(**change)


@pytest.mark.parametrize(
    "change",
    [{"comment": "another"}, {"documentation": "Another."}, {"elsewhere": "6"}],
    ids=["a comment", "a docstring", "a function that it does not call"],
)
def test_changes_that_mean_nothing_change_no_key(change: dict[str, str]) -> None:
    assert code() == code(**change)


@dataclass(frozen=True)
class Inner:
    a: int = 1


@dataclass(frozen=True)
class Outer:
    inner: Inner = Inner()


def test_nested_parts_count() -> None:
    assert identity.of_plain(Outer()) == identity.of_plain(Outer())
    assert identity.of_plain(Outer()) != identity.of_plain(replace(Outer(), inner=Inner(2)))


NODE = """
    class Scaled:
        def __init__(self, x):
            self.x = x

        def __call__(self):
            return {factor} * self.x

    register_pytree_node(Scaled, lambda node: ([node.x], None), lambda leaves, _: Scaled(*leaves))
"""


def called(node: Any) -> Any:
    return node()


def test_the_code_of_an_operand_that_is_a_tree_counts(executor: Executor) -> None:
    """An operation calls the node of a tree, of which it is given the leaves alone."""
    keys = []
    for factor in (2.0, 3.0, 2.0):
        namespace: dict[str, Any] = {"__name__": "learning.edited", "register_pytree_node": register_pytree_node}
        exec(textwrap.dedent(NODE.format(factor=factor)), namespace)
        keys.append(key(executor, called, namespace["Scaled"](torch.arange(3.0))))
    assert keys[0] == keys[2] != keys[1]


def test_keys_are_the_same_in_every_process(tmp_path: Path) -> None:
    """Neither addresses nor the hash seed of a process get into a key."""
    script = (
        "from learning import steps; from learning.executor import identity; "
        "from learning.schemes.fedsl_pq import operators; from learning.models import *; "
        "print([identity.of_code(f).hex() for f in (steps.train, steps.back, operators.update, operators.pruned)],"
        "identity.of_plain(Segment(Vit(), (1, 8, 8), 10, 0, 2)).hex())"
    )
    root = str(Path(__file__).parents[2])
    printed = {
        subprocess.run(
            [sys.executable, "-c", script],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": root},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(printed) == 1


def times(factor: float) -> Callable[[float], float]:
    return lambda x: factor * x


def test_a_function_as_an_argument_is_named_by_its_code_and_what_it_holds() -> None:
    """Not by where it lies in memory, which another process has for another function."""
    assert identity.of_plain(times(2.0)) == identity.of_plain(times(2.0))
    assert identity.of_plain(times(2.0)) != identity.of_plain(times(3.0))
    assert identity.of_plain(times(2.0)) != identity.of_plain(times)


class Scaled:
    """An operation with a field, and methods that are operations."""

    def __init__(self, factor: float) -> None:
        self.factor = factor

    def twice(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * self.factor * x

    def thrice(self, x: torch.Tensor) -> torch.Tensor:
        return 3 * self.factor * x


def cubed(x: torch.Tensor) -> torch.Tensor:
    return (x**3).sum()


def squared(x: torch.Tensor, times: float = 1.0) -> torch.Tensor:
    return times * (x**2).sum()


MADE_FROM_OTHERS: dict[str, Callable[..., Any]] = {
    "function": squared,
    "gradient": grad(squared),
    "gradient of another": grad(cubed),
    "with a keyword": partial(squared, times=2.0),
    "with another keyword": partial(squared, times=3.0),
    "gradient of the partial": grad(partial(squared, times=2.0)),
    "method": Scaled(1.0).twice,
    "another method": Scaled(1.0).thrice,
    "method of another object": Scaled(2.0).twice,
    "vectorised": vmap(squared),
    "vectorised over columns": vmap(squared, in_dims=1),
}


def test_operations_made_from_others_have_keys_of_their_own(executor: Executor) -> None:
    """A transform, a partial call and a method are named by all that they do, not by the function inside."""
    x = torch.arange(4.0).reshape(2, 2)
    keys = {name: key(executor, operation, x) for name, operation in MADE_FROM_OTHERS.items()}
    assert len(set(keys.values())) == len(keys)


def test_the_store_returns_the_gradient_and_not_the_function(tmp_path: Path) -> None:
    x = torch.arange(3.0)
    for _ in range(2):
        eager = Eager(Store(tmp_path))
        values = [eager.value(eager.submit(operation, x)) for operation in (squared, grad(squared))]
        eager.settle()
        assert torch.equal(values[0], torch.tensor(5.0))
        assert torch.equal(values[1], 2 * x)


@dataclass(frozen=True)
class Holder:
    """A plain argument that holds a function, and says nothing of it."""

    rule: Callable[..., Any]

    def __repr__(self) -> str:
        return "Holder"


def test_a_plain_argument_is_named_by_the_functions_that_it_holds(executor: Executor) -> None:
    held = [Holder(squared), Holder(cubed), Holder(grad(squared)), Holder(partial(squared, times=2.0))]
    assert len({key(executor, applied, each, torch.ones(2, 2)) for each in held}) == len(held)


def applied(holder: Holder, x: torch.Tensor) -> torch.Tensor:
    return holder.rule(x)


def scaled_by(what: Any) -> Callable[[torch.Tensor], Any]:
    return lambda x: x * what


class Slotted:
    """An operation whose attribute is in a slot."""

    __slots__ = ("factor",)

    def __init__(self, factor: float) -> None:
        self.factor = factor

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return self.factor * x


@dataclass(frozen=True)
class Factor:
    """An operation that equals another one of an equal factor, as 0.0 equals -0.0."""

    factor: Any = field(repr=False)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return torch.as_tensor(self.factor) * x


LONG = torch.zeros(5000)  # torch prints the ends of a long tensor only
LATE = LONG.index_fill(0, torch.tensor([2500]), 1)

PAIRS: dict[str, tuple[Any, Any]] = {
    "tensors": (torch.tensor(1.0), torch.tensor(2.0)),
    "long tensors": (LONG, LATE),
    "arrays": (np.zeros(5000), np.arange(5000.0)),
    "modules": (torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)),
    "functions of a library": (torch.sin, torch.cos),
    "Python functions of a library": (torch.nn.functional.relu, torch.nn.functional.gelu),
    "slots": (Slotted(1.0), Slotted(2.0)),
    "fields that are not printed": (Factor(1.0), Factor(2.0)),
    "tensors in fields": (Factor(LONG), Factor(LATE)),
    "signs of zero": (Factor(0.0), Factor(-0.0)),
    "number types": (Factor(1), Factor(True)),
    "nested lists": ([[1, 2], 3], [[1], 2, 3]),
    "dictionaries": ({"a": Factor(1)}, {"a": Factor(2)}),
    "sets": ({1, 2}, {1, 3}),
}


@pytest.mark.parametrize("held", PAIRS)
def test_what_an_operation_captures_counts(held: str) -> None:
    """In a closure, in a partial call, and as a plain argument; its content, and no address, decides."""
    for name in (lambda it: identity.of_code(scaled_by(it)), lambda it: identity.of_code(partial(squared, times=it))):
        one, other = map(name, PAIRS[held])
        assert one != other
    one, other = map(identity.of_plain, PAIRS[held])
    assert one != other
    for each in PAIRS[held]:
        again = deepcopy(each)
        assert identity.of_plain(again) == identity.of_plain(each)
        assert identity.of_code(scaled_by(again)) == identity.of_code(scaled_by(each))


@pytest.mark.parametrize("held", ["slots", "fields that are not printed", "tensors in fields", "signs of zero"])
def test_objects_that_are_operations_are_named_by_their_content(held: str) -> None:
    one, other = map(identity.of_code, PAIRS[held])
    assert one != other


def test_a_run_after_another_hashes_code_again(tmp_path: Path) -> None:
    """In a notebook, a cell may define a helper again while the operation that calls it stays as it is."""
    namespace: dict[str, Any] = {"__name__": "notebook"}
    exec("def operation(x):\n    return helper(x)", namespace)
    learned = []
    for factor in (2.0, 3.0):
        exec(f"def helper(x):\n    return {factor} * x", namespace)
        store = Store(tmp_path)
        executor = Batched(store)
        learned.append(executor.value(executor.submit(namespace["operation"], torch.ones(1))).item())
        executor.settle()
        store.close()
    assert learned == [2.0, 3.0]
