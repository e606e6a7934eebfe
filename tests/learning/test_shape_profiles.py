"""Shape profiles are kept in the store: no operation on given shapes is run on meta tensors twice."""

from collections.abc import Iterator

import pytest
import torch

from learning import steps
from learning.executor import EXECUTORS, profiles, shape_run
from learning.models import Mlp, Segment
from learning.optimisers import Adam
from learning.store import Store, StoreDamage

MODEL = Segment(Mlp((5,)), (1, 4, 4), 3, 0, 2)


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the operations that are run on meta tensors, as if each plan were the first of its process."""
    names = []
    run = shape_run.shape_run

    def noted(operation, operands):
        names.append(operation.__name__)
        return run(operation, operands)

    monkeypatch.setattr(shape_run, "shape_run", noted)
    return names


@pytest.fixture
def store(tmp_path) -> Iterator[Store]:
    store = Store(tmp_path)
    yield store
    store.close()


def profile(kind, store):
    """The profile of a training step, in a process that knows none."""
    profiles._known.clear()
    weights, optimiser = MODEL.parameters(), Adam()
    x, y = torch.empty(4, *MODEL.input_shape), torch.zeros(4, dtype=torch.int64)
    args = (MODEL, optimiser, weights, optimiser.init(weights), x, y)
    return EXECUTORS[kind](store).plan(steps.back, *args).profile


def described(profile):
    shapes = [(spec.form, [(leaf.shape, leaf.dtype) for leaf in spec.leaves]) for spec in profile.outputs]
    return vars(profile) | {"outputs": shapes, "identity": None}


@pytest.mark.parametrize("kind", EXECUTORS)
def test_a_second_process_finds_the_profile_in_the_store_whatever_its_executor(kind, store, runs):
    first = profile("dry", store)
    second = profile(kind, store)
    assert runs == ["back"]
    assert described(second) == described(first)
    assert second.outputs == first.outputs  # interned, so that what builds on them is planned as the same


def test_without_a_store_each_process_runs_it(runs):
    assert described(profile("dry", None)) == described(profile("dry", None))
    assert runs == ["back", "back"]


def test_a_process_with_another_store_keeps_it_there_too(tmp_path, store, runs):
    profile("dry", store)
    other = Store(tmp_path / "other")
    EXECUTORS["dry"](other).plan(twice, torch.empty(3))
    EXECUTORS["dry"](store).plan(twice, torch.empty(3))
    profiles._known.clear()
    EXECUTORS["dry"](store).plan(twice, torch.empty(3))
    other.close()
    assert runs == ["back", "twice"]


def twice(x):
    return x * 2


@pytest.mark.filterwarnings("ignore::learning.store.StoreDamage")
def test_a_damaged_profile_is_computed_again(store, runs):
    first = profile("dry", store)
    store._database.execute("UPDATE packs SET content = ZEROBLOB(LENGTH(content))")
    with pytest.warns(StoreDamage):
        again = profile("dry", store)
    assert described(again) == described(first)
    assert runs == ["back", "back"]
    profile("dry", store)
    assert runs == ["back", "back"]


@pytest.mark.parametrize(
    ("module", "name", "other"),
    [
        (profiles, "_rules", lambda: b"something else is counted"),
        (shape_run, "closed_form", lambda operation: unknown),
    ],
    ids=["counting", "closed form"],
)
def test_a_profile_by_other_rules_is_another_one(module, name, other, store, runs, monkeypatch):
    profile("dry", store)
    monkeypatch.setattr(module, name, other)
    profile("dry", store)
    assert runs == ["back", "back"]


def unknown(*args):
    """A closed form that gives nothing."""


def test_names_in_deferred_values_belong_to_the_key(store):
    """Two models of the same shapes, merged: of different names there are twice as many tensors as of equal ones."""
    sizes = []
    for second in ("b", "a"):
        profiles._known.clear()
        executor = EXECUTORS["eager"](store)
        parts = [executor.submit(steps.merge, {name: torch.zeros(3)}) for name in ("a", second)]
        sizes.append(len(executor.plan(steps.merge, *parts).profile.outputs[0].leaves))
    assert sizes == [2, 1]
