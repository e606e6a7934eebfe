"""Which weights a job reads, and how many bytes they are: on a fake network, and by the charged shapes."""

import pytest
import simpy
import torch
from named_streams import NamedStreams

from fakes import FakeJournal, FakeNode, FakeStreams
from learning import steps
from learning.charge import Charge
from learning.executor import EXECUTORS, Dry
from learning.models import Experts, Gpt, Segment
from learning.optimisers import Adam
from learning.parties import Server
from learning.wire import Wire

W = {"0.weight": torch.ones(5, 4), "0.bias": torch.ones(5)}
V = {"0.weight": torch.zeros(5, 4), "0.bias": torch.ones(5)}
X = torch.ones(3, 4)
BYTES = 25 * 4


def linear(weights, x):
    return x @ weights["0.weight"].T + weights["0.bias"]


def scaled(weights, factor):
    return {name: factor * value for name, value in weights.items()}


def both(pair, x):
    return linear(pair[0], x) + linear(pair[1], x)


def read(executor, operation, *args):
    return executor.weights_bytes(executor.plan(operation, *args))


@pytest.fixture(params=["eager", "batched", "dry"])
def executor(request):
    return EXECUTORS[request.param]()


def test_weights_are_read_and_samples_are_not(executor):
    assert list(read(executor, linear, W, X).values()) == [BYTES]
    assert read(executor, torch.matmul, X, X.T) == {}


def test_the_same_weights_have_the_same_name(executor):
    assert read(executor, linear, W, X) == read(executor, linear, dict(W), torch.zeros(9, 4))
    assert not read(executor, linear, W, X).keys() & read(executor, linear, V, X).keys()
    assert list(read(executor, both, [W, V], X).values()) == [BYTES, BYTES]
    assert list(read(executor, both, [W, W], X).values()) == [BYTES]  # once is enough


def test_deferred_weights(executor):
    one, other = executor.submit(scaled, W, 2.0), executor.submit(scaled, W, 3.0)
    assert list(read(executor, linear, one, X).values()) == [BYTES]
    assert read(executor, linear, one, X) == read(executor, linear, one, X)
    assert not read(executor, linear, one, X).keys() & read(executor, linear, other, X).keys()
    assert list(read(executor, both, [one, other], X).values()) == [BYTES, BYTES]


def test_the_state_of_an_optimiser_is_read_too(executor):
    adam = Adam(0.1)
    weights, state = executor.submit(adam.step, W, V, adam.init(W))
    assert list(read(executor, adam.step, weights, V, state).values())[:2] == [BYTES, BYTES]
    assert sum(read(executor, adam.step, weights, V, state).values()) >= 4 * BYTES  # gradients and two moments


def test_a_charged_expert_has_the_bytes_of_its_counterparts():
    """Mixtral's experts have three matrices of 4096 x 14336; each of four small ones stands for two of the large."""
    model = Segment(Gpt(16, 2, 2, experts=Experts(count=4, top_k=1)), (8,), 65, 0, 4)
    layer = Segment(model.architecture, model.input_shape, model.classes, 1, 2)
    executor = Dry()
    executor.charge = Charge("mixtral_8x7b", model)
    weights = layer.initial(NamedStreams(), torch.float32)
    expert = {name: value for name, value in weights.items() if ".experts.0." in name}
    (size,) = read(executor, scaled, expert, 2.0).values()
    of_32_layers_16 = 16 * 2 * 3 * 4096 * 14336  # this layer is the first of two: 16 of 32 layers
    assert size == pytest.approx(4 * of_32_layers_16, rel=1e-3)  # biases


def test_parties_tell_nodes_what_is_read_where_it_takes_time():
    env, journal, executor = simpy.Environment(), FakeJournal(round=0), EXECUTORS["dry"]()
    node = FakeNode(env, journal)
    server = Server(node, Wire(executor, FakeStreams(0), journal))
    env.run(env.process(server.do(steps.front, linear, W, X, kind="expert_forward")))
    assert env.now == pytest.approx(2 * 3 * 4 * 5 / 1e9)
    node.memory_bandwidth_bytes_per_s = 10.0
    begun_s = env.now
    env.run(env.process(server.do(steps.front, linear, W, X, kind="expert_forward")))
    assert env.now - begun_s == pytest.approx(BYTES / 10)
    plan = executor.plan(steps.front, linear, W, X)
    assert server.wire.work_s(node, plan) == pytest.approx(BYTES / 10)  # what selection of sites and placement expect
    node.memory_bandwidth_bytes_per_s = 1e12
    assert server.wire.work_s(node, plan) == pytest.approx(2 * 3 * 4 * 5 / 1e9)
