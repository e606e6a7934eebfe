"""A small network that fits learning's ports, and worlds on it: speeds and rates are numbers, and all is recorded."""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from math import inf
from typing import Any, Literal, NamedTuple, TypeVar

import numpy as np
import simpy
import torch
from numpy.typing import ArrayLike

from learning.adapters import Lora
from learning.data import Batches, Dataset, Digits, Last
from learning.data.public import PublicData
from learning.evaluation import Path
from learning.executor import EXECUTORS, Executor
from learning.models import Architecture, Mlp, whole
from learning.optimisers import Optimiser, Sgd
from learning.participation import AllUsers, Participation
from learning.parties import Server, User
from learning.policies import Policy, WaitForAll
from learning.ports import NO_WEIGHTS, Process, Timed
from learning.pretraining import Pretrainer
from learning.scheme import Scheme
from learning.schemes import SCHEMES
from learning.stop import Stop
from learning.wire import Wire
from learning.world import World

T = TypeVar("T")


@dataclass(frozen=True)
class FakeStreams:
    """Named random streams: a draw is a function of (seed, purpose, entity)."""

    seed: int = 0

    def key(self, purpose: str, *entity: int | str) -> int:
        digest = hashlib.sha256(repr((self.seed, purpose, entity)).encode()).digest()
        return int.from_bytes(digest[:8])

    def generator(self, purpose: str, *entity: int | str) -> np.random.Generator:
        return np.random.Generator(np.random.Philox(key=self.key(purpose, *entity)))


@dataclass
class Message:
    """Bits on the air; `end_s` is None if the transfer was interrupted."""

    direction: str
    user: int | None
    bits: float
    kind: str
    round: int
    start_s: float
    end_s: float | None = None


@dataclass
class Work:
    """FLOPs on a processor, where `node` None is the server; `end_s` is None if the work was interrupted."""

    node: int | None
    user: int | None
    flops: float
    kind: str
    memory_bytes: int
    round: int
    start_s: float
    end_s: float | None = None


@dataclass
class FakeJournal:
    """Keeps in lists what is reported, and what the nodes do."""

    round: int = -1
    rounds: list[tuple[int, int, int]] = field(default_factory=list)
    """(number, participants, dropped) of each round."""
    staleness: list[float] = field(default_factory=list)
    """Its mean in each round."""
    evaluations: list[dict[str, Any]] = field(default_factory=list)
    decisions: list[tuple[int, int | None, str, float]] = field(default_factory=list)
    """(round, user, name, value)."""
    local_rounds: dict[int, int] = field(default_factory=dict)
    messages: list[Message] = field(default_factory=list)
    works: list[Work] = field(default_factory=list)

    def begin_round(self, number: int) -> None:
        self.round = number

    def end_round(
        self, participants: int, dropped: int, staleness_mean: float = 0.0, *, critical_path: bool = True
    ) -> None:
        self.rounds.append((self.round, participants, dropped))
        self.staleness.append(staleness_mean)

    def local_round(self, user: int) -> int:
        return self.local_rounds.get(user, self.round)

    def begin_local_round(self, user: int, number: int) -> None:
        self.local_rounds[user] = number

    def evaluation(
        self,
        split: str,
        metric: str,
        value: float | None,
        samples: int,
        *,
        round: int,
        time_s: float,
        user: int | None = None,
    ) -> None:
        row = {"split": split, "metric": metric, "value": value, "samples": samples, "round": round, "time_s": time_s}
        self.evaluations.append(row | {"user": user})

    def decision(self, user: int | None, name: str, value: float) -> None:
        self.decisions.append((self.round, user, name, value))

    def series(self, metric: str) -> list[float | None]:
        """The values of a metric, evaluation after evaluation."""
        return [row["value"] for row in self.evaluations if row["metric"] == metric]

    def sent(self, **where: Any) -> list[float]:
        """Bits of the messages with the given direction, user, kind or round, in the order in which they were sent."""
        return [message.bits for message in self.messages if _matches(message, where)]

    def charged(self, **where: Any) -> list[float]:
        """FLOPs of the works with the given node, user, kind or round, in the order in which they began."""
        return [work.flops for work in self.works if _matches(work, where)]


def _matches(row: Message | Work, where: dict[str, Any]) -> bool:
    return all(getattr(row, name) == value for name, value in where.items())


@dataclass
class FakeChannel:
    """A channel of one gain, which writes down what is allocated; the rate stays what it is."""

    bandwidth_hz: float = 1e6
    max_power_w: float = 0.2
    gain_over_noise_hz_per_w: float = 1e8
    allocated: list[tuple[float | None, float | None]] = field(default_factory=list)

    @property
    def instantaneous_gain_over_noise_hz_per_w(self) -> float:
        return self.gain_over_noise_hz_per_w

    def allocate(self, share: float | None, power_w: float | None = None) -> None:
        self.allocated.append((share, power_w))


class FakeHeard(NamedTuple):
    """Symbols that were heard at one signal-to-noise ratio."""

    station: str
    first: float
    symbols: float
    snr: float


@dataclass
class FakeSymbols:
    """A stream of symbols to which every user listens by itself."""

    sender: FakeNode
    kind: str
    deadline_s: float

    def hear(self, user: FakeNode, symbols: float) -> Process[Sequence[FakeHeard]]:
        return self.sender._hear(user, symbols, self.kind, self.deadline_s)

    def end(self) -> None:
        return


class FakeNode:
    """A processor with a first-come-first-served queue, and a link on which nobody else transmits."""

    def __init__(
        self,
        env: simpy.Environment,
        journal: FakeJournal,
        number: int | None = None,
        flops_per_s: float = 1e9,
        uplink_bps: float = 1e6,
        downlink_bps: float = 1e6,
        slots: int = 1,
    ) -> None:
        self.env, self.journal, self.number = env, journal, number
        self.flops_per_s, self.uplink_bps, self.downlink_bps = flops_per_s, uplink_bps, downlink_bps
        self.processor = simpy.Resource(env, slots)
        self.uplink, self.downlink = FakeChannel(), FakeChannel(max_power_w=1.0)
        self.memory_bytes: float | None = None
        self.memory_bandwidth_bytes_per_s: float | None = None
        self.away = self.gone = False
        self.back = env.event()

    def exclude(self, cause: str) -> None:
        self.away = self.gone = True

    def attend(self, work: Generator[simpy.Event, Any, T]) -> Generator[simpy.Event, Any, T]:
        return work

    def compute(
        self,
        flops: float,
        kind: str,
        memory_bytes: int = 0,
        user: int | None = None,
        weights_bytes: Mapping[Hashable, float] = NO_WEIGHTS,
    ) -> Timed:
        with self.processor.request() as turn:
            yield turn
            work = Work(self.number, user, flops, kind, memory_bytes, self.journal.round, self.env.now)
            self.journal.works.append(work)
            read_s = sum(weights_bytes.values()) / (self.memory_bandwidth_bytes_per_s or inf)
            yield self.env.timeout(max(flops / self.flops_per_s, read_s))
            work.end_s = self.env.now

    def send(self, to: FakeNode, bits: float, kind: str) -> Timed:
        if self.number is None:
            yield from self._transmit("down", to.number, bits, kind, to.downlink_bps)
        else:
            yield from self._transmit("up", self.number, bits, kind, self.uplink_bps)

    def broadcast(
        self, to: Sequence[FakeNode], bits: float, kind: str
    ) -> Generator[simpy.Event, Any, Sequence[FakeNode]]:
        yield from self._transmit("broadcast", None, bits, kind, min(node.downlink_bps for node in to))
        return to

    def broadcast_rateless(
        self, to: Sequence[FakeNode], bits: float, kind: str, deadline_s: float = inf
    ) -> dict[FakeNode, Process[bool]]:
        return {node: self._receive(node, bits, kind, deadline_s) for node in to}

    def broadcast_symbols(
        self,
        to: Sequence[Any],
        bits: float,
        kind: str,
        deadline_s: float = inf,
        max_energy_j: float = inf,
        steady: bool = False,
    ) -> FakeSymbols:
        return FakeSymbols(self, kind, deadline_s)

    def _hear(self, node: FakeNode, symbols: float, kind: str, deadline_s: float) -> Process[Sequence[FakeHeard]]:
        heard = min(symbols, node.downlink_bps * deadline_s)
        yield from self._transmit("symbols", node.number, heard, kind, node.downlink_bps)
        return [FakeHeard("station0", 0, heard, node.downlink.gain_over_noise_hz_per_w / 1e8)]

    def _receive(self, node: FakeNode, bits: float, kind: str, deadline_s: float) -> Process[bool]:
        received_bits = min(bits, node.downlink_bps * deadline_s)
        yield from self._transmit("rateless", node.number, received_bits, kind, node.downlink_bps)
        return received_bits == bits

    def _transmit(self, direction: str, user: int | None, bits: float, kind: str, rate_bps: float) -> Timed:
        message = Message(direction, user, bits, kind, self.journal.round, self.env.now)
        self.journal.messages.append(message)
        yield self.env.timeout(bits / rate_bps)
        message.end_s = self.env.now


NOT_ANY_MODEL = {
    "deep_jscc",
    "dual_health",
    "fedalign_moe",
    "flower",
    "hetlora",
    "hfedmoe",
    "hsplitlora",
    "moe_inference",
    "ntrscc",
    "separate_coding",
    "sflam",
    "st_sflora",
    "token_comm",
    "token_fusion",
    "tsflora",
}
ANY_MODEL = sorted(set(SCHEMES) - NOT_ANY_MODEL)
"""Schemes that do not ask for a certain kind of model."""


@dataclass
class FakeWorld(World):
    """A world that shows what its scheme reported last."""

    reported: tuple[Any, ...] = ()

    def models(self, *models: Any, **how: Any) -> None:
        self.reported = models
        super().models(*models, **how)

    @property
    def model(self) -> dict[str, torch.Tensor]:
        """The weights of the one global model that was reported last, its parts put together."""
        (model,) = self.every_model
        return model

    @property
    def every_model(self) -> list[dict[str, torch.Tensor]]:
        """The same where there is one for each user."""
        models = [model if isinstance(model, tuple) else (model,) for model in self.reported]
        return [{k: v for part in self.executor.value(model) for k, v in part.items()} for model in models]


def world(
    scheme: Scheme,
    *,
    executor: str | Executor = "eager",
    users: int = 3,
    samples: int | Sequence[int] = 24,
    parts: Sequence[ArrayLike] | None = None,
    rounds: int | None = 3,
    precision: torch.dtype = torch.float64,
    model: Architecture | None = None,
    cut: int | tuple[int, ...] = 1,
    batch_size: int | None = 8,
    last_batch: Last = "keep",
    optimiser: Optimiser | None = None,
    server_optimiser: Optimiser | None = None,
    participation: Participation | None = None,
    policy: Policy | None = None,
    stop: Stop | None = None,
    evaluate_every: int = 1,
    evaluation: Path = "deployed",
    test_samples: int = 40,
    dataset: Dataset | None = None,
    pretrainer: Pretrainer | None = None,
    adapter: Lora | None = None,
    batch_norm: Literal["averaged", "local_statistics", "local"] = "averaged",
    seed: int = 1,
    flops_per_s: float | Sequence[float] = 1e6,
    uplink_bps: float | Sequence[float] = 1e6,
    downlink_bps: float | Sequence[float] = 2e6,
    server_flops_per_s: float = 1e7,
    slots: int = 1,
) -> FakeWorld:
    """Run a scheme to its end on the digits, or other data, and return its world.

    `samples`, speeds and rates: one number for all users, or one for each; `parts` says which rows each user has.
    """
    env, journal, streams = simpy.Environment(), FakeJournal(), FakeStreams(seed)
    runs = EXECUTORS[executor]() if isinstance(executor, str) else executor
    dataset = dataset or digits(precision, test_samples)
    wire = Wire(runs, streams, journal)
    numbers = (_each(value, users) for value in (flops_per_s, uplink_bps, downlink_bps))
    nodes = [FakeNode(env, journal, number, *own) for number, own in enumerate(zip(*numbers, strict=True))]
    rows = [np.asarray(part) for part in (parts or _contiguous(_each(samples, users)))]
    optimiser = optimiser or Sgd(0.05, 0.9)
    built = FakeWorld(
        env=env,
        instant=lambda instant_s: env.timeout(max(instant_s - env.now, 0.0)),
        executor=runs,
        streams=streams,
        journal=journal,
        server=Server(FakeNode(env, journal, None, server_flops_per_s, slots=slots), wire),
        users=[
            User(n, Batches(dataset, rows[i], i, streams, batch_size, last_batch), wire) for i, n in enumerate(nodes)
        ],
        dataset=dataset,
        public=PublicData(dataset, np.arange(len(dataset.train.y))[-200:], FakeStreams()),
        pretrainers=[pretrainer] if pretrainer else [],
        adapter=adapter,
        whole=whole(model or Mlp((12, 8)), dataset),
        cuts=(cut,) if isinstance(cut, int) else cut,
        optimiser=optimiser,
        server_optimiser=server_optimiser or optimiser,
        participation=participation or AllUsers(),
        policy=policy or WaitForAll(),
        stop=stop or Stop(rounds=rounds),
        evaluate_every=evaluate_every,
        evaluation=evaluation,
        batch_norm=batch_norm,
        precision=precision,
    )
    built.exclude(scheme.excluded(built), "budget")
    with one_thread():
        env.run(env.process(scheme.run(built)))
    return built


@contextmanager
def one_thread() -> Iterator[None]:
    """Torch as the runner has it: operations are small, and a product shared out among threads has other bits."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@cache
def digits(precision: torch.dtype, test_samples: int) -> Dataset:
    """The digits, with few test images."""
    return Digits(test_samples=test_samples).load(None, precision)


def _each(value: float | Sequence[float], users: int) -> list[Any]:
    return list(value) if isinstance(value, Sequence) else [value] * users


def _contiguous(sizes: list[int]) -> Iterator[np.ndarray]:
    ends = np.cumsum(sizes)
    return (np.arange(end - size, end) for size, end in zip(sizes, ends, strict=True))
