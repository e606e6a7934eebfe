"""Parties: what work costs, what messages weigh, and what arrives."""

from dataclasses import dataclass

import pytest
import simpy
import torch

from fakes import FakeJournal, FakeNode, FakeStreams, digits
from learning.codecs import Bundle, Cast, FixedWidth, Identity, Uniform
from learning.data import Batches
from learning.executor import EXECUTORS
from learning.parties import Server, User
from learning.protocols.broadcast import SymbolStream
from learning.wire import Wire

FINE, COARSE = Uniform(8), Uniform(2)


def product(a, b):
    return a @ b


@dataclass
class Cell:
    """Two users and a server on a fake network."""

    executor: str = "eager"
    samples: int = 20
    seed: int = 0

    def __post_init__(self):
        self.env, self.journal, self.streams = simpy.Environment(), FakeJournal(round=0), FakeStreams(self.seed)
        self.runs = EXECUTORS[self.executor]()
        self.wire = Wire(self.runs, self.streams, self.journal)
        data = digits(torch.float32, 40)
        rows = torch.arange(self.samples).numpy()
        self.users = [
            User(FakeNode(self.env, self.journal, n), Batches(data, rows, n, self.streams, 8), self.wire)
            for n in range(2)
        ]
        self.server = Server(FakeNode(self.env, self.journal), self.wire)

    def get(self, steps):
        """What a generator returns when its simulated time has passed."""
        return self.env.run(self.env.process(steps))

    def value(self, steps):
        return self.runs.value(self.get(steps))


@pytest.fixture
def cell():
    return Cell()


A, B = torch.ones(3, 4), torch.full((4, 5), 2.0)
X = torch.linspace(-1, 1, 101)


def test_work_takes_its_time_and_is_done(cell):
    assert torch.equal(cell.value(cell.users[1].do(product, A, B, kind="work")), A @ B)
    (work,) = cell.journal.works
    assert (work.node, work.flops, work.kind, work.user) == (1, 2 * 3 * 4 * 5, "work", None)
    assert work.memory_bytes == 4 * (12 + 20 + 15)
    assert cell.env.now == pytest.approx(120 / 1e9)


def test_the_server_works_on_behalf_of_a_user(cell):
    assert torch.equal(cell.value(cell.server.do(product, A, B, kind="work", user=cell.users[1])), A @ B)
    cell.get(cell.server.do(product, A, B, kind="work"))
    assert [(work.node, work.user) for work in cell.journal.works] == [(None, 1), (None, None)]


def test_a_share_of_the_work_is_charged(cell):
    cell.get(cell.users[0].do(product, A, B, kind="work", scale=0.25))
    cell.get(cell.users[0].do(product, A, B, kind="work", scale=0))
    assert cell.journal.charged() == [30, 0]


def test_time_can_be_spent_without_computing(cell):
    assert cell.get(cell.server.spend(product, A, B, kind="work", user=cell.users[0])) is None
    assert cell.journal.charged() == [120]
    assert cell.runs.asked == 0


def test_plain_messages_arrive_as_they_are(cell):
    tree = {"w": A, "b": B}
    assert cell.get(cell.users[0].send(cell.server, tree, "model")) is tree
    assert cell.get(cell.server.send(cell.users[1], tree, "model")) is tree
    assert cell.get(cell.server.broadcast(cell.users, tree, "model")) == dict.fromkeys(cell.users, tree)
    messages = [(m.direction, m.user, m.bits) for m in cell.journal.messages]
    assert messages == [("up", 0, 32 * 32), ("down", 1, 32 * 32), ("broadcast", None, 32 * 32)]


def test_each_receiver_of_a_rateless_broadcast_goes_on_by_itself(cell):
    """Users of 1 and 2 Mbit/s receive 1,024 bits; within 0.8 ms only the second receives all."""
    slow, fast = cell.users[:2]
    fast.node.downlink_bps = 2e6
    receptions = cell.server.broadcast_rateless([slow, fast], {"w": A, "b": B}, "model")
    assert [cell.get(receptions[user]) for user in (fast, slow)] == [True, True]
    spent = [message.end_s - message.start_s for message in cell.journal.messages]
    assert spent == pytest.approx([1024 / 2e6, 1024 / 1e6])
    receptions = cell.server.broadcast_rateless([slow, fast], {"w": A, "b": B}, "model", deadline_s=0.8e-3)
    assert [cell.get(receptions[user]) for user in (fast, slow)] == [True, False]


def test_each_receiver_of_a_stream_of_symbols_hears_as_many_as_it_wants(cell):
    """Of 1,000 and 3,000 symbols at 1 Mbit/s; within 2 ms the second hears 2,000."""
    few, many = cell.users[:2]
    for deadline_s, heard in ((1.0, [1000, 3000]), (2e-3, [1000, 2000])):
        stream = SymbolStream(cell.server, [few, many], A, "image", deadline_s)
        received = [cell.get(stream.hear(user, count)) for user, count in ((few, 1000), (many, 3000))]
        assert [(one.symbols, one.snr) for (one,) in received] == [(count, 1.0) for count in heard]


def test_double_precision_weighs_double(cell):
    cell.get(cell.users[0].send(cell.server, A.double(), "model"))
    assert cell.journal.sent() == [64 * 12]


def test_a_message_in_parts_has_a_codec_for_each(cell):
    """Labels arrive as they are; the activations' draws are those of a message without labels."""
    user, (_, y) = cell.users[0], cell.users[0].batch(0)
    seen, labels = cell.get(user.send(cell.server, (X, y), "activation", Bundle((COARSE, FixedWidth(4)))))
    assert cell.journal.sent() == [2 * 101 + 64 + 4 * 8]
    assert labels is y
    alone = Cell()
    assert torch.equal(cell.runs.value(seen), alone.value(alone.users[0].send(alone.server, X, "activation", COARSE)))


def test_a_part_too_many_is_refused(cell):
    with pytest.raises(ValueError, match="longer"):
        cell.get(cell.users[0].send(cell.server, (X, X, X), "x", Bundle((Identity(), Identity()))))


def test_a_control_message_is_as_large_as_its_fields(cell):
    grant = {"tokens": 3, "share": 0.5, "power_w": 0.1}
    assert cell.get(cell.server.send(cell.users[0], grant, "allocation", FixedWidth(32))) is grant
    assert cell.journal.sent() == [96]


def test_a_message_is_weighed_without_being_computed():
    cell = Cell("batched")
    deferred = cell.get(cell.users[0].do(product, A, B, kind="work"))
    cell.get(cell.users[0].send(cell.server, deferred, "x", FINE))
    assert cell.journal.sent() == [8 * 15 + 64]
    assert cell.runs.run == 0


def test_a_codec_without_chance(cell):
    got = cell.value(cell.users[0].send(cell.server, {"x": X}, "x", Cast()))
    assert torch.equal(got["x"], X.bfloat16().float())
    assert cell.journal.sent() == [16 * 101]


def test_a_stochastic_codec_rounds_each_tensor_between_its_neighbours(cell):
    tree = {"x": X, "y": 10 * X[:7]}
    got = cell.value(cell.users[0].send(cell.server, tree, "x", COARSE))
    assert cell.journal.sent() == [2 * 108 + 2 * 64]
    for name, value in tree.items():
        step = (value.max() - value.min()) / 3
        assert ((got[name] - value).abs() <= step * (1 + 1e-6)).all()
        assert len(got[name].unique()) <= 4
        assert not torch.equal(got[name], value)


def test_draws_are_named_by_user_round_kind_and_number():
    """Two cells with equal seeds agree message by message, whatever else was sent in between."""

    def received(cell, disturbed):
        out = []
        for number in range(2):
            cell.journal.begin_round(number)
            for _ in range(2):
                for user in cell.users:
                    if disturbed:
                        cell.get(user.send(cell.server, X, "other", COARSE))
                        cell.get(user.send(cell.server, X, "gradient"))
                    out.append(cell.value(user.send(cell.server, X, "gradient", COARSE)))
        return out

    calm, disturbed, other = received(Cell(), False), received(Cell(), True), received(Cell(seed=1), False)
    assert all(torch.equal(a, b) for a, b in zip(calm, disturbed, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(calm, other, strict=True))
    assert not any(torch.equal(calm[i], calm[j]) for i in range(len(calm)) for j in range(i))


def test_draws_do_not_depend_on_earlier_rounds():
    """One message more in round 0, and those of round 1 are what they were."""
    received = []
    for messages in (1, 2):
        cell = Cell()
        for _ in range(messages):
            cell.value(cell.users[0].send(cell.server, X, "gradient", COARSE))
        cell.journal.begin_round(1)
        received.append(cell.value(cell.users[0].send(cell.server, X, "gradient", COARSE)))
    assert torch.equal(*received)


def test_the_direction_is_told_by_the_kind_alone(cell):
    """The draw is named by the user at the far end: what the server sends to user 1 is user 1's."""
    up = cell.value(cell.users[1].send(cell.server, X, "up", COARSE))
    down = cell.value(cell.server.send(cell.users[1], X, "down", COARSE))
    other = Cell()
    assert torch.equal(other.value(other.server.send(other.users[1], X, "down", COARSE)), down)
    assert torch.equal(other.value(other.users[1].send(other.server, X, "up", COARSE)), up)
    assert not torch.equal(up, down)


def test_users_are_keys_in_an_order_that_does_not_change(cell):
    first, second = cell.users
    assert {first: 1, second: 2}[second] == 2
    assert first != User(first.node, first.batches, first.wire)
    assert hash(first) == 0


def test_the_size_of_a_message_is_computed_once_for_equal_codecs_and_shapes():
    """And each time where a codec has no hash, as one that may change has none."""
    asked = []

    @dataclass(frozen=True)
    class Counted(Identity):
        factor: int = 1

        def bits(self, tree):
            asked.append(self.factor)
            return self.factor * super().bits(tree)

    class Changing(Counted):
        __hash__ = None

    wire = Cell().wire
    small, large = torch.zeros(2, 3), torch.zeros(4, 3)
    sizes = [
        wire.sizes(what, codec)[0] for _ in range(2) for what in (small, large) for codec in (Counted(), Counted(2))
    ]
    assert sizes == 2 * [192, 384, 384, 768]
    assert asked == [1, 2, 1, 2]
    assert (
        wire.sizes({"w": small}, Counted()) == wire.sizes((small, 1.0), Bundle((Counted(), FixedWidth(0)))) == (192, 0)
    )
    assert [wire.sizes(number, FixedWidth(8))[0] for number in ([1, 2], [1], [True, 2.0, 3])] == [16, 8, 24]
    asked.clear()
    assert [wire.sizes(small, Changing())[0] for _ in range(3)] == 3 * [192]
    assert len(asked) == 3
