"""Worker processes: the same bits for any number of them, whatever becomes of them, and none is left behind."""

import os
import signal
import time

import psutil
import pytest
import torch

from fakes import one_thread, world
from learning.executor import Batched
from learning.executor.workers import Workers, one_for_each_core
from learning.models import LeNet, Mlp
from learning.schemes import SFL, FedAvg
from runs import TINY
from scenarios import load, simulate
from scenarios.build import build
from scenarios.field_errors import FieldError

pytestmark = pytest.mark.bits


@pytest.fixture(autouse=True)
def none_left(monkeypatch):
    """Everything is shared, from its second call on."""
    monkeypatch.setattr("learning.executor.batched.DIVIDED_FLOPS", 0)
    monkeypatch.setattr("learning.executor.batched.CAPTURED_CALL", 1)
    before = set(psutil.Process().children())
    with one_thread():
        yield
    assert set(psutil.Process().children()) <= before


def trained(processes, **setting):
    executor = Batched(processes=processes)
    try:
        models = world(executor=executor, precision=torch.float32, rounds=3, **setting).every_model
    finally:
        executor.close()
    return models, executor


@pytest.mark.parametrize(
    "setting",
    [
        {"scheme": FedAvg(2), "model": Mlp((12, 8)), "users": 7},
        {"scheme": FedAvg(1), "model": LeNet(), "users": 3},
        {"scheme": SFL(), "model": Mlp((12, 8)), "users": 4},
    ],
    ids=["fedavg", "convolutions", "split"],
)
def test_bits_do_not_depend_on_the_number_of_processes(setting):
    alone, executor = trained(1, **setting)
    assert executor.elsewhere == 0
    for processes in (2, 3):
        shared, executor = trained(processes, **setting)
        assert executor.elsewhere
        assert len(alone) == len(shared)
        for one, other in zip(alone, shared, strict=True):
            assert all(torch.equal(one[name], other[name]) for name in one)


def test_no_table_depends_on_the_workers():
    one, two = (simulate(load(TINY, {"learning.workers": workers})) for workers in (1, 2))
    assert one.tables == two.tables


def doubled(x):
    return x * 2


def test_the_work_of_a_worker_that_dies_is_done_again():
    executor, before = Batched(processes=2), set(psutil.Process().children())
    for number in range(4):
        values = [executor.submit(doubled, torch.full((3,), float(each))) for each in range(number, number + 4)]
        assert [value[0].item() for value in executor.value(values)] == [
            2.0 * each for each in range(number, number + 4)
        ]
        if number == 1:
            assert executor.elsewhere == 1
            (worker,) = set(psutil.Process().children()) - before
            worker.kill()
            worker.wait()
    assert executor.elsewhere == 1
    executor.close()


def test_without_a_process_left_all_is_done_here(monkeypatch):
    def refused():
        raise BlockingIOError("Resource temporarily unavailable")

    monkeypatch.setattr("os.fork", refused)
    executor = Batched(processes=2)
    for _ in range(2):
        values = executor.value([executor.submit(doubled, torch.full((3,), float(each))) for each in range(4)])
        assert [value[0].item() for value in values] == [0.0, 2.0, 4.0, 6.0]
    assert executor.elsewhere == 0


def test_after_an_interrupt_no_answer_is_mistaken_for_another(monkeypatch):
    executor = Batched(processes=2)

    def doubles(first):
        return [executor.submit(doubled, torch.full((3,), first + each)) for each in range(4)]

    executor.value(doubles(0.0))
    with monkeypatch.context() as patched:
        patched.setattr(executor, "_results", interrupted)
        with pytest.raises(KeyboardInterrupt):
            executor.value(doubles(10.0))
    assert [value[0].item() for value in executor.value(doubles(20.0))] == [40.0, 42.0, 44.0, 46.0]
    assert executor.elsewhere == 1
    executor.close()


def interrupted(group):
    raise KeyboardInterrupt


def test_workers_end_with_the_process_that_started_them():
    """Even if it is killed; and an interrupt from the keyboard, which all processes get, is left to that one."""
    read, write = os.pipe()
    parent = os.fork()
    if not parent:
        try:
            workers = Workers(2)
            x = torch.ones(3)
            workers.teach("doubled", lambda x: (x * 2,), [x], [x])
            for place in range(2):  # both have begun, and ignore interrupts
                assert workers.begin(place, "doubled", [x])
                assert workers.results(place, "doubled")
            children = [worker.process for worker in workers._running if worker]
            for child in children:
                os.kill(child, signal.SIGINT)
            assert workers.begin(1, "doubled", [x])
            assert workers.results(1, "doubled")
            os.write(write, b" ".join(str(child).encode() for child in children))
        finally:  # this process must not go on with the tests of the one that it was forked from
            os.kill(os.getpid(), signal.SIGKILL)
    os.close(write)
    os.waitpid(parent, 0)
    children = [int(child) for child in os.read(read, 100).split()]
    os.close(read)
    assert len(children) == 2
    until = time.monotonic() + 10
    while any(alive(child) for child in children) and time.monotonic() < until:
        time.sleep(0.01)
    assert not any(alive(child) for child in children)


def test_auto_is_one_process_for_each_core_but_in_a_sweep(monkeypatch):
    """A process of a sweep was itself started as one for a core; and a system may not fork."""
    monkeypatch.setattr("os.sched_getaffinity", lambda process: {0, 1, 2})
    assert one_for_each_core() == 3
    with monkeypatch.context() as patched:
        patched.setattr("multiprocessing.parent_process", object)
        assert one_for_each_core() == 1
    monkeypatch.delattr("os.fork")
    assert one_for_each_core() == 1
    with pytest.raises(FieldError, match=r"learning\.workers.*2 is not possible: this system cannot fork processes"):
        build(load(TINY, {"learning.workers": 2}))


def alive(process):
    try:
        return psutil.Process(process).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
