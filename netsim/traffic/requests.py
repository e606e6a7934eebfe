"""Requests at work, answered by a server or by a model, until they are served, refused, timed out or lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import inf
from typing import Any, Protocol

import simpy

from netsim.description import RequestStream, TrafficDescription
from netsim.instants import ARRIVE, GIVE_UP, After, reached
from netsim.network import Network
from netsim.nodes import ServerNode, UserNode
from netsim.process import Process
from netsim.queueing import QueueFull
from netsim.tables import RequestRow
from netsim.traffic.arrivals import Arrival
from netsim.traffic.draws import uniform_draws

TIMED_OUT = "timed out"
"""Cause of the interrupt of a request at its timeout."""

Outcome = Process[str]
"""A process that returns the outcome of a request: served, refused, timed_out or lost."""

Model = Callable[[int, str, int], Process[None]]
"""Makes the process by which a model answers a request: of a user of this number, in the stream of this name, with its
number among the user's requests in that stream. The process ends when the user has the answer."""


class Traffic:
    """The request streams of a scenario, at work in a network."""

    def __init__(self, network: Network, traffic: TrafficDescription) -> None:
        """Prepare the streams; `run` runs them.

        Args:
            network: users and servers.
            traffic: the section `traffic` of the scenario.

        Raises:
            ValueError: a stream does not fit the users; the message is one sentence.
        """
        self.network, self.env, self.duration_s = network, network.env, traffic.duration_s
        self.until_s = inf if traffic.duration_s is None else traffic.duration_s
        """Simulated time in seconds from which no more requests are made."""
        self.ongoing: dict[simpy.Event, None] = {}  # an ordered set
        """Processes of the ongoing requests, in order of arrival."""
        self._sources: list[Source] = []
        for name, stream in traffic.streams.items():
            network.journal.request_kinds.add(f"request_{name}")
            self._sources += self._of_stream(name, stream)

    def _of_stream(self, name: str, stream: RequestStream) -> Iterator[Source]:
        users = self.network.users
        numbers = range(len(users)) if stream.users is None else stream.users
        for number in numbers:
            if number >= len(users):
                raise ValueError(f"stream {name} names user {number}; there are {len(users)}, from 0")
        arrivals = stream.arrivals.of_users(numbers, len(users), self.network.streams, name)
        for number, own in zip(numbers, arrivals, strict=True):
            yield Source(self, name, stream, users[number], own)

    def run(self, scheme: Process[Any] | None, model: Model | None = None) -> Process[None]:
        """Make requests until `duration_s`, or without it until the scheme ends, and run the scheme meanwhile.

        Args:
            scheme: the process of learning; None is no learning.
            model: answers the requests of streams with `answered_by: model`; None if there are none.

        Returns:
            A process that ends when the scheme, the duration and all requests have ended.
        """
        for source in self._sources:
            self.env.process(source.run(model))
        if scheme is not None:
            yield from scheme
        if self.duration_s is None:
            self.until_s = self.env.now
        elif self.env.now < self.duration_s:
            yield self.env.timeout(self.duration_s - self.env.now)
        while self.ongoing:
            yield self.env.all_of(list(self.ongoing))
        self.network.journal.end_traffic()

    def finished(self, request: simpy.Event) -> None:
        """Remove the process of a request that has ended."""
        del self.ongoing[request]


class Source:
    """The source of one user's requests of one stream."""

    def __init__(
        self, traffic: Traffic, name: str, stream: RequestStream, user: UserNode, arrivals: Iterator[Arrival]
    ) -> None:
        self.traffic, self.name, self.stream, self.user, self.arrivals = traffic, name, stream, user, arrivals
        self.env = traffic.env

    def run(self, model: Model | None) -> Process[None]:
        """Start a request at each arrival until the traffic ends."""
        streams, user = self.traffic.network.streams, self.user.number
        keys = [streams.key("request", self.name, what, user) for what in ("uplink_bits", "flops", "downlink_bits")]
        chances = zip(*map(uniform_draws, keys), strict=True)
        for number, (arrival, drawn) in enumerate(zip(self.arrivals, chances, strict=False)):
            if reached(self.traffic.until_s, arrival.instant_s):
                return
            yield After(self.env, arrival.instant_s, ARRIVE)
            if self.env.now >= self.traffic.until_s:
                return
            if model is not None and self.stream.answered_by == "model":
                answer: Answer = AnswerOfModel(model(user, self.name, number))
            else:
                answer = self._answer_of_server(number, arrival, drawn)
            process = self.env.process(self._request(number, answer))
            process.callbacks.append(self.traffic.finished)
            self.traffic.ongoing[process] = None

    def _answer_of_server(self, number: int, arrival: Arrival, chances: tuple[float, ...]) -> AnswerOfServer:
        network, user, stream = self.traffic.network, self.user, self.stream
        server = network.server_of(user) if stream.at == "nearest" else network.server
        laws = (stream.uplink_bits, stream.flops, stream.downlink_bits)
        known = (arrival.uplink_bits, arrival.flops, arrival.downlink_bits)
        sizes = zip(known, laws, chances, strict=True)
        drawn = (law.size(number, chance) if size is None else size for size, law, chance in sizes)
        return AnswerOfServer(user, server, f"request_{self.name}", *drawn)

    def _request(self, number: int, answer: Answer) -> Process[None]:
        arrival_s, timeout_s = self.env.now, self.stream.timeout_s
        outcome = yield from self._serve(answer) if timeout_s is None else self._serve_within(timeout_s, answer)
        self.traffic.network.journal.requested(
            RequestRow(
                user=self.user.number,
                node=answer.node,
                stream=self.name,
                number=number,
                arrival_s=arrival_s,
                start_s=answer.start_s,
                end_s=self.env.now,
                latency_s=self.env.now - arrival_s,
                bits=answer.bits,
                flops=answer.flops,
                outcome=outcome,
            )
        )

    def _serve_within(self, timeout_s: float, answer: Answer) -> Outcome:
        """Serve a request, but abandon it after `timeout_s` in seconds."""
        work = self.env.process(self._serve(answer))
        yield work | After(self.env, self.env.now + timeout_s, GIVE_UP)
        if work.is_alive:
            work.interrupt(TIMED_OUT)
        outcome: str = yield work
        return outcome

    def _serve(self, answer: Answer) -> Outcome:
        """Serve a request; it is lost if the user's device goes away or a link fails."""
        try:
            yield from self.user.attend(answer.steps())
        except QueueFull:
            return "refused"
        except simpy.Interrupt as interrupt:
            return "timed_out" if interrupt.cause == TIMED_OUT else "lost"
        return "served"


class Answer(Protocol):
    """The work of answering one request, and what the table `requests` says about it."""

    node: str | None
    """Name of the server; None if the model answers."""
    bits: float | None
    """Bits of the request and its answer; None if the model answers."""
    flops: float | None
    """Floating-point operations of the server; None if the model answers."""
    start_s: float | None
    """Simulated time in seconds at which the request reached the server; None before, and if the model answers."""

    def steps(self) -> Process[None]:
        """Return the process of the work, which ends when the user has the answer."""
        ...


class AnswerOfServer:
    """A request that is sent to a server, computed there as one job, and answered."""

    def __init__(
        self, user: UserNode, server: ServerNode, kind: str, uplink_bits: float, flops: float, downlink_bits: float
    ) -> None:
        self.user, self.server, self.kind = user, server, kind
        self._uplink_bits, self._work, self._downlink_bits = uplink_bits, flops, downlink_bits
        self.node: str | None = server.processor.node
        self.bits: float | None = uplink_bits + downlink_bits
        self.flops: float | None = flops
        self.start_s: float | None = None

    def steps(self) -> Process[None]:
        """Uplink, computation and downlink. Raises QueueFull if the server has no room."""
        user, server, kind = self.user, self.server, self.kind
        yield from user.send(server, self._uplink_bits, kind)
        self.start_s = server.env.now
        yield from server.processor.compute(self._work, kind, 0, user.number, refusable=True)
        yield from server.send(user, self._downlink_bits, kind)


class AnswerOfModel:
    """A request that the model answers. What that costs is in the tables of transfers and computations."""

    node: str | None = None
    bits: float | None = None
    flops: float | None = None
    start_s: float | None = None

    def __init__(self, work: Process[None]) -> None:
        self._work = work

    def steps(self) -> Process[None]:
        """Return the process that the model has made for the request."""
        return self._work
