"""Forms of arguments: leaves and their order are those of torch, and forms are equal where torch's are."""

from collections import OrderedDict, namedtuple
from itertools import combinations
from typing import Any

import torch
from torch.utils._pytree import tree_flatten

from learning.data.modalities import Modalities
from learning.executor import Dry
from learning.executor.deferred import Key
from learning.executor.forms import take_apart

Point = namedtuple("Point", "x y")
X = torch.ones(2)
TREES: list[Any] = [
    1,
    None,
    X,
    "text",
    (),
    [],
    {},
    (1,),
    [1],
    (1, (2, 3)),
    ((1, 2), 3),
    [1, [2, 3]],
    (1, [2, 3]),
    {"a": 1, "b": 2},
    {"b": 1, "a": 2},
    {"a": (1, 2)},
    OrderedDict(a=1, b=2),
    Point(1, 2),
    Point(1, {"a": 2}),
    (Point(1, 2), [X, None]),
    Modalities({"image": X}, {"image": X}),
    ([Modalities({"image": X}, {"image": X})], {"a": [None]}),
]


def test_leaves_are_those_of_torch() -> None:
    for tree in TREES:
        leaves: list[Any] = []
        take_apart(tree, leaves)
        expected = tree_flatten(tree)[0]
        assert len(leaves) == len(expected)
        assert all(one is other for one, other in zip(leaves, expected, strict=True))


def test_forms_are_equal_where_those_of_torch_are() -> None:
    for one, other in combinations([*TREES, 2, (7, (8, 9)), {"a": 0, "b": None}, Point(3, 4)], 2):
        alike = tree_flatten(one)[1] == tree_flatten(other)[1]
        assert (take_apart(one, []) == take_apart(other, [])) == alike, (one, other)


def added(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return x + y


def test_an_executor_has_one_key_for_calls_on_the_same_shapes() -> None:
    executor = Dry()
    plans = [executor.plan(added, torch.full((2,), float(value)), X) for value in range(3)]
    assert len({id(plan.key) for plan in plans}) == 1
    assert executor.plan(added, torch.ones(3), torch.ones(3)).key != plans[0].key


def test_keys_of_two_executors_are_equal_by_content() -> None:
    one, other = (Dry().plan(added, X, X).key for _ in range(2))
    assert one is not other
    assert one == other
    assert hash(one) == hash(other)
    for changed in (
        Key(test_leaves_are_those_of_torch, one.form, one.signs),
        Key(added, tree_flatten([X])[1], one.signs),
        Key(added, one.form, one.signs[:1]),
    ):
        assert changed != one
