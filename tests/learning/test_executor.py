"""Executors: values that cannot be read by accident, work that is done together, late, or never."""

from weakref import ref

import pytest
import torch

from fakes import ANY_MODEL, FakeStreams, world
from learning.draws import Draw
from learning.executor import EXECUTORS, Batched, Dry, Eager
from learning.models import LeNet, Mlp, Vit
from learning.policies import FirstK
from learning.schemes import SCHEMES, SFL, FedAvg, FedProx

pytestmark = pytest.mark.bits

COMPUTING = [Eager, Batched]


def double(x):
    return x * 2


def add(a, b):
    return a + b


def double_each(tree):
    return {name: value * 2 for name, value in tree.items()}


def halves(x):
    return x[: len(x) // 2], {"rest": x[len(x) // 2 :]}


def scale(x, by):
    return x * by


def fails_on_values(x):
    if not x.is_meta:
        raise RuntimeError("numbers of no use")
    return x


@pytest.mark.parametrize("kind", EXECUTORS.values())
@pytest.mark.parametrize(
    "read",
    [bool, float, int, len, iter, list, lambda x: x[0], lambda x: 1.0 if x else 0.0],
    ids=["bool", "float", "int", "len", "iter", "list", "index", "branch"],
)
def test_a_promise_refuses_to_be_read(kind, read):
    deferred = kind().submit(double, torch.ones(1))
    with pytest.raises(TypeError, match=r"executor\.value\(x\) computes it"):
        read(deferred)


@pytest.mark.parametrize("kind", COMPUTING)
def test_values(kind):
    executor = kind()
    x = torch.arange(6.0)
    first, rest = executor.submit(halves, x)
    tree = {"a": [first, executor.submit(double_each, rest)], "b": 3}
    value = executor.value(tree)
    assert torch.equal(value["a"][0], x[:3])
    assert torch.equal(value["a"][1]["rest"], 2 * x[3:])
    assert value["b"] == 3
    assert rest.spec.numel == 3
    assert rest.spec.bytes == 12


@pytest.mark.parametrize("kind", COMPUTING)
def test_plain_arguments_of_equal_value_and_other_type_are_not_confused(kind):
    """1, 1.0 and True are equal in Python, but an integer tensor times 1.0 is none."""
    executor = kind()
    x = torch.arange(3)
    by = executor.value([executor.submit(scale, x, factor) for factor in (1, 1.0, True, 2)])
    assert [value.dtype for value in by] == [torch.int64, torch.float32, torch.int64, torch.int64]
    assert torch.equal(by[3], 2 * x)


def test_an_operation_is_looked_at_once_for_each_shape_whoever_asks():
    looks = []

    def looked_at(x, by):
        looks.append((tuple(x.shape), by))
        return x.expand(by, *x.shape)

    for kind in EXECUTORS.values():
        for length, by in [(2, 3), (4, 3), (2, 1), (2, 3)]:
            (output,) = kind().plan(looked_at, torch.empty(length), by).profile.outputs
            assert output.tree.shape == (by, length)
    assert looks == [((2,), 3), ((4,), 3), ((2,), 1)]


def test_a_process_in_place_of_its_result_is_refused():
    def process():
        yield

    with pytest.raises(TypeError, match="add is given a process that has not been run: a `yield from` is missing"):
        Dry().submit(add, torch.ones(2), process())


def test_leaves_are_fetched_only_when_somebody_computes():
    class Counting(FakeStreams):
        fetched = 0

        def generator(self, *name):
            Counting.fetched += 1
            return super().generator(*name)

    draw = Draw(Counting(), "test", (0,), (4,))
    executor = Batched()
    deferred = executor.submit(double, draw)
    assert Counting.fetched == 0
    assert torch.equal(executor.value(deferred), 2 * draw.tensor())


@pytest.mark.parametrize("kind", COMPUTING)
def test_an_error_says_in_which_operation(kind):
    executor = kind()
    with pytest.raises(RuntimeError, match="numbers of no use") as caught:
        executor.value(executor.submit(fails_on_values, torch.ones(2)))
    assert any(f"{__name__}.fails_on_values" in note for note in caught.value.__notes__)


def test_like_jobs_run_together_wherever_they_were_submitted():
    executor = Batched()
    first = [executor.submit(double, torch.full((2,), float(i))) for i in range(3)]
    second = [executor.submit(double, x) for x in first]
    other = executor.submit(double, torch.zeros(5))  # another shape
    third = [executor.submit(double, torch.full((2,), float(i))) for i in range(4)]
    assert executor.run == 0
    assert torch.equal(executor.value(second[2]), torch.full((2,), 8.0))
    assert executor.groups == {("double", 7): 1, ("double", 3): 1}
    executor.value([*second, *third])
    assert executor.run == 10
    executor.value(other)
    assert executor.groups[("double", 1)] == 1
    assert executor.run == executor.asked == 11


@pytest.mark.parametrize("scheme", [FedAvg(), SFL()], ids=lambda s: type(s).__name__)
def test_users_alike_form_one_group(scheme):
    """Twelve equal users: every step of theirs is one call of ten and one of two."""
    rounds = 2
    executor = Batched()
    world(scheme, executor=executor, users=12, samples=8, rounds=rounds)
    own = {"FedAvg": {"train"}, "SFL": {"front", "back_gradients", "update_front"}}[type(scheme).__name__]
    for name in own:
        sizes = {size: calls for (operation, size), calls in executor.groups.items() if operation == name}
        assert sizes == {10: rounds, 2: rounds}


def test_users_of_any_speed_form_one_group():
    executor = Batched()
    world(FedAvg(), executor=executor, users=5, rounds=3, flops_per_s=[1e5, 2e5, 5e5, 1e6, 9e6])
    assert executor.groups["train", 5] == 3


def test_convolutions_run_alone():
    executor = Batched()
    world(FedAvg(1), executor=executor, model=LeNet(), rounds=1)
    assert executor.groups["train", 1] == 3
    assert executor.groups["averaged", 1] == 1


def test_dropped_work_never_runs():
    """Three users compute equally fast, one has the faster uplink: the others have trained when the round ends."""
    setting = {"policy": FirstK(1), "uplink_bps": [1e6, 2e6, 1e6], "rounds": 4}
    eager, batched = Eager(), Batched()
    first, second = (world(FedAvg(1), executor=executor, **setting) for executor in (eager, batched))
    assert first.journal.rounds == [(number, 1, 2) for number in range(4)]
    assert batched.asked == eager.asked == eager.run
    assert sum(calls * size for (name, size), calls in batched.groups.items() if name == "train") == 4
    assert batched.run == batched.asked - 2 * 4
    for name, value in first.model.items():
        torch.testing.assert_close(second.model[name], value, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", [Batched, Dry])
def test_a_promise_that_nobody_holds_is_forgotten(kind):
    executor = kind()
    x = torch.ones(3)
    deferred = executor.submit(double, x)
    job, operand = ref(deferred.job), ref(x)
    del deferred, x
    assert job() is None
    assert operand() is None


def test_dry_computes_nothing_and_keeps_no_history():
    executor = Dry()
    x = torch.ones(3)
    first = executor.submit(double, x)
    last = executor.submit(add, first, first)
    job, operand = ref(first.job), ref(x)
    del first, x
    assert job() is None
    assert operand() is None
    assert last.spec.numel == 3
    assert (executor.asked, executor.run) == (2, 0)
    with pytest.raises(RuntimeError, match="computes no values"):
        executor.value(last)


def test_waiting_executors_keep_what_is_needed_and_let_go_of_what_is_done():
    executor = Batched()
    x = torch.ones(3)
    first = executor.submit(double, x)
    last = executor.submit(add, first, torch.ones(3))
    job, operand = ref(first.job), ref(x)
    del first, x
    assert job() is not None  # the sum builds on it
    assert torch.equal(executor.value(last), torch.full((3,), 3.0))
    assert job() is None
    assert operand() is None


def test_the_waiting_graph_is_bounded(monkeypatch):
    monkeypatch.setattr("learning.executor.graph.MAX_PENDING", 5)
    executor = Batched()
    values = [executor.submit(double, torch.full((2,), 0.0))]
    for _ in range(20):
        values.append(executor.submit(double, values[-1]))
        assert executor.asked - executor.run <= 6
    assert executor.run >= 15
    assert not executor.value(values[-1]).any()


@pytest.mark.parametrize("name", ANY_MODEL)
def test_the_bound_changes_no_value(name, monkeypatch):
    models = []
    for bound in (4096, 3):
        monkeypatch.setattr("learning.executor.graph.MAX_PENDING", bound)
        models.append(world(SCHEMES[name](), executor="batched", precision=torch.float32, rounds=2).every_model)
    for usual, bounded in zip(*models, strict=True):
        assert all(torch.equal(usual[key], bounded[key]) for key in usual)


@pytest.mark.parametrize("model", [Mlp((12, 8)), Vit(4, 8, 1, 2), LeNet()], ids=lambda m: type(m).__name__)
@pytest.mark.parametrize("name", ANY_MODEL)
def test_eager_and_batched_agree(name, model):
    """In float64 to 1e-12, and bit for bit on the clock; the dry executor's clock is the same."""
    setting = {"model": model, "rounds": 2, "samples": [8, 16, 16], "flops_per_s": [1e6, 2e6, 4e6]}
    eager, batched, dry = (world(SCHEMES[name](), executor=kind, **setting) for kind in EXECUTORS)
    for a, b in zip(eager.every_model, batched.every_model, strict=True):
        for key, value in a.items():
            torch.testing.assert_close(b[key], value, rtol=1e-12, atol=1e-12)
    assert eager.journal.messages == batched.journal.messages == dry.journal.messages
    assert eager.journal.works == batched.journal.works == dry.journal.works
    assert dry.executor.run == 0


def test_the_executors_run_different_kernels():
    """Guards the test above: to 1e-12 two runs of the same kernels would agree whatever they compute."""
    setting = {"model": Vit(4, 8, 1, 2), "precision": torch.float32}
    a, b = (world(FedProx(), executor=kind, **setting).model for kind in ("eager", "batched"))
    assert any(not torch.equal(a[name], b[name]) for name in a)
