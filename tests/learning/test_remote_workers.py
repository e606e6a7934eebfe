"""Workers on a Ray cluster: the same bits as in one process, whatever becomes of them."""

import pickle
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from fakes import one_thread, world
from learning.executor import Batched
from learning.executor.capture import capture
from learning.executor.remote import RemoteWorkers, packed, unpacked
from learning.executor.workers import Layout, stored_part
from learning.models import LeNet, Mlp, Vit
from learning.schemes import SFL, FedAvg
from runs import TINY
from scenarios import load
from scenarios.build import build
from scenarios.errors import FieldError

pytestmark = pytest.mark.bits

SETTINGS = {
    "fedavg": {"scheme": FedAvg(2), "model": Mlp((12, 8)), "users": 7},
    "convolutions": {"scheme": FedAvg(1), "model": LeNet(), "users": 3},
    "transformer": {"scheme": FedAvg(1), "model": Vit(width=16, depth=1, heads=2), "users": 4},
    "split": {"scheme": SFL(), "model": Mlp((12, 8)), "users": 4},
}


class RayFailed(Exception):
    """What ray calls RayError."""


class FakeRay:
    """Ray in this process: whatever an actor is sent, and returns, is pickled. An actor that was killed fails."""

    exceptions = SimpleNamespace(RayError=RayFailed)

    def __init__(self, cores: int) -> None:
        self.cores, self.actors = cores, list[Any]()

    def is_initialized(self) -> bool:
        return True

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": float(self.cores)}

    def remote(self, **options: Any) -> Any:
        assert options["num_cpus"] == 1
        return lambda kind: SimpleNamespace(remote=lambda: self._actor(kind()))

    def _actor(self, computer: Any) -> Any:
        actor = SimpleNamespace(dead=False, refused=0)

        def method(name: str) -> Any:
            def call(*args: Any) -> Any:
                if actor.dead:
                    actor.refused += 1
                    return RayFailed()
                return pickle.dumps(getattr(computer, name)(*pickle.loads(pickle.dumps(args))))

            return SimpleNamespace(remote=call)

        for name in ("surroundings", "learn", "compute"):
            setattr(actor, name, method(name))
        self.actors.append(actor)
        return actor

    def get(self, found: Any) -> Any:
        if isinstance(found, list):
            return [self.get(each) for each in found]
        if isinstance(found, RayFailed):
            raise found
        return pickle.loads(found)

    def kill(self, actor: Any) -> None:
        actor.dead = True


@pytest.fixture(autouse=True)
def everything_is_shared(monkeypatch: pytest.MonkeyPatch) -> Any:
    """From its second call on."""
    monkeypatch.setattr("learning.executor.batched.DIVIDED_FLOPS", 0)
    monkeypatch.setattr("learning.executor.batched.CAPTURED_CALL", 1)
    with one_thread():
        yield


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> FakeRay:
    fake = FakeRay(cores=3)
    monkeypatch.setattr("learning.executor.remote.ray_package", lambda: fake)
    return fake


def trained(executor: Batched, setting: dict[str, Any]) -> list[dict[str, torch.Tensor]]:
    try:
        models: list[dict[str, torch.Tensor]] = world(
            executor=executor, precision=torch.float32, rounds=3, **setting
        ).every_model
    finally:
        executor.close()
    return models


def assert_same_bits(setting: dict[str, Any], counts: tuple[int, ...]) -> None:
    alone = trained(Batched(), setting)
    for count in counts:
        executor = Batched(workers=RemoteWorkers(count))
        shared = trained(executor, setting)
        assert executor.elsewhere
        assert len(alone) == len(shared)
        for one, other in zip(alone, shared, strict=True):
            assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("name", SETTINGS)
def test_bits_do_not_depend_on_the_number_of_remote_workers(name: str, ray: FakeRay) -> None:
    assert_same_bits(SETTINGS[name], (1, 2))
    assert all(actor.dead for actor in ray.actors)


ON_RAY = """
import sys
from learning.executor import Batched, batched
from scenarios import load, simulate

batched.DIVIDED_FLOPS, batched.CAPTURED_CALL = 0, 1
shared = []
close = Batched.close
Batched.close = lambda executor: (shared.append(executor.elsewhere), close(executor))
settings = {"learning.workers": 2, "learning.partition": "iid"}
settings |= {"learning.scheme": sys.argv[2], "learning.model": sys.argv[3]}
ours, rays = (simulate(load(sys.argv[1], settings), engine=engine) for engine in ("local", "ray"))
assert ours.tables == rays.tables
assert shared[0] == shared[1] > 0, shared
"""


@pytest.mark.slow
@pytest.mark.parametrize(("scheme", "model"), [("fedavg", "mlp"), ("sfl_v1", "mlp"), ("fedavg", "lenet")])
def test_no_table_depends_on_a_local_ray(scheme: str, model: str) -> None:
    """In a process of its own, since Ray leaves warnings."""
    pytest.importorskip("ray")
    done = subprocess.run([sys.executable, "-c", ON_RAY, TINY, scheme, model], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def doubled(x: torch.Tensor) -> torch.Tensor:
    return x * 2


def doubles(executor: Batched, first: float) -> list[float]:
    """Twice each of four numbers."""
    jobs = [executor.submit(doubled, torch.full((3,), first + each)) for each in range(4)]
    return [value[0].item() for value in executor.value(jobs)]


def test_the_work_of_an_actor_that_dies_is_done_here(ray: FakeRay) -> None:
    executor = Batched(workers=RemoteWorkers(1))
    for number in range(4):
        assert doubles(executor, number) == [2.0 * each for each in range(number, number + 4)]
        if number == 1:
            assert executor.elsewhere == 1
            ray.actors[0].dead = True
    assert executor.elsewhere == 1
    assert ray.actors[0].refused == 1  # it is not asked again


def test_workers_are_one_for_each_core_but_one(ray: FakeRay) -> None:
    assert RemoteWorkers(None).count == 2
    with pytest.raises(ValueError, match="5 needs 4 cores of the Ray cluster, and it has 3"):
        RemoteWorkers(4)


def test_a_machine_that_would_compute_other_bits_is_refused(ray: FakeRay, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("learning.executor.remote.Computer.surroundings", lambda self: b"another")
    executor = Batched(workers=RemoteWorkers(1))
    doubles(executor, 0.0)
    with pytest.raises(ValueError, match="another instruction set, or other versions"):
        doubles(executor, 0.0)


@pytest.mark.parametrize(
    "tensor",
    [
        torch.arange(24.0).reshape(2, 3, 4),
        torch.arange(24.0).reshape(2, 3, 4).permute(2, 0, 1),
        torch.arange(3).expand(2, 3),
        torch.arange(3).expand(2, 3)[:, :0],
        torch.tensor(1.5, dtype=torch.float64),
        torch.tensor([True, False]),
        torch.ones(3, dtype=torch.bfloat16),
    ],
    ids=str,
)
def test_tensors_arrive_with_their_layout(tensor: torch.Tensor) -> None:
    arrived = unpacked(packed(stored_part(tensor)), Layout.of(tensor))
    assert arrived.stride() == tensor.stride()
    assert arrived.dtype == tensor.dtype
    assert torch.equal(arrived, tensor)


def test_captured_kernels_can_be_pickled() -> None:
    operands = torch.rand(2, 16, 32, 32), torch.rand(5, 16 * 16 * 16)

    def pooled(x: torch.Tensor, weights: torch.Tensor) -> list[torch.Tensor]:
        best = torch.nn.functional.max_pool2d(x, 2).flatten(1)
        return [torch.softmax(best @ weights.T, 1).masked_fill(best[:, :5] > 0.9, float("-inf"))]

    results, kernels = capture(pooled, operands)
    copied = pickle.loads(pickle.dumps(kernels))
    assert torch.equal(copied(*operands)[0], results[0])


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"learning.workers": 1}, r"learning\.workers: the engine ray needs workers; auto and a number from 2 on"),
        ({"learning.executor": "eager"}, r"learning\.executor: .* of the executor batched, not of eager"),
        ({"learning.device": "cuda"}, r"learning\.device: the engine ray computes on cpu, not on cuda"),
    ],
)
def test_what_cannot_be_divided_is_said(settings: dict[str, Any], sentence: str, ray: FakeRay) -> None:
    with pytest.raises(FieldError, match=sentence):
        build(load(TINY, settings), engine="ray")


def test_without_the_package_one_sentence_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(FieldError, match=r"the engine ray needs the package ray; install netsim-learning\[ray\]"):
        build(load(TINY, {"learning.workers": 2}), engine="ray")
