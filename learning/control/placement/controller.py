"""Placements of experts that a scenario can name: solvers, simple rules, and placements by hand."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import KW_ONLY, dataclass, field
from functools import partial
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge, Interval, Le

from learning.control.placement import baselines, solvers
from learning.control.placement.decomposition import best_of_orders
from learning.control.placement.greedy import greedy
from learning.control.placement.knapsack import by_convolution
from learning.control.placement.problem import Placement, PlacementProblem
from learning.control.placement.profiles import chained, enumerated
from learning.control.placement.queueing import queue_aware
from learning.control.placement.solvers import FEW_EXPERTS
from learning.ports import Streams


@dataclass(frozen=True)
class ExpertPlacement(ABC):
    """Which experts of a mixture of experts each edge server holds from the beginning of a run. The cloud holds all."""

    _: KW_ONLY
    device_share: Annotated[float, Ge(0), Le(1)] = 0.0
    """Fraction of all experts that each user's device holds: those that the user's own tokens activate most often, as
    many as fit into `compute.devices.storage_bytes`."""
    deploy: Literal["free", "sent"] = "free"
    """Whether servers hold their experts at time zero (`free`), or the cloud sends them from then on over the backhaul,
    one message to each server, and a server holds its experts when the message has arrived (`sent`)."""
    requests_per_s: Annotated[float, Ge(0)] = 0.0
    """Expected requests of all users together per second, by which the wait in the servers' queues is predicted; 0
    predicts none."""

    def check(self, problem: PlacementProblem) -> None:
        """Raise ValueError if the storage of the sites cannot suffice, whatever experts tokens activate."""
        return

    @abstractmethod
    def place(self, problem: PlacementProblem, streams: Streams) -> Placement:
        """Decide which experts the servers hold.

        Args:
            problem: The placement problem.
            streams: The random streams of the run.

        Returns:
            (servers, layers, experts): True where a server holds an expert.

        Raises:
            ValueError: there is no such placement; the message is one sentence.
        """
        ...


@dataclass(frozen=True)
class CloudOnly(ExpertPlacement):
    """No server holds experts: all calls go to the cloud."""

    def place(self, problem: PlacementProblem, streams: Streams) -> Placement:
        return problem.empty()


@dataclass(frozen=True)
class OnDevice(CloudOnly):
    """Every user's device holds all experts, so that no call leaves it; a reference that ignores their size.

    The devices' storage must suffice.
    """

    _: KW_ONLY
    device_share: Annotated[float, Ge(0), Le(1)] = 1.0
    """Fraction of all experts that each user's device holds, as in the other placements; all of them by default."""

    def check(self, problem: PlacementProblem) -> None:
        if self.device_share == 1 and not problem.held.all():
            user, needed = int(np.argmin(problem.held.all(axis=(1, 2)))), int(problem.size_bytes.sum())
            raise ValueError(f"all experts together need {needed} bytes of storage, and user {user} has less")


@dataclass(frozen=True)
class Everywhere(ExpertPlacement):
    """Every server holds all experts: a bound on what placements can reach. The servers' storage must suffice."""

    def check(self, problem: PlacementProblem) -> None:
        _require_room(problem, ~problem.empty())

    def place(self, problem: PlacementProblem, streams: Streams) -> Placement:
        self.check(problem)
        return ~problem.empty()


@dataclass(frozen=True)
class RandomExperts(ExpertPlacement):
    """Every server holds random experts, as many as fit."""

    def place(self, problem: PlacementProblem, streams: Streams) -> Placement:
        return baselines.random(problem, streams.generator("expert placement"))


@dataclass(frozen=True)
class MostPopular(ExpertPlacement):
    """Every server holds the experts that the tokens of all users activate most often: all hold the same."""

    def place(self, problem: PlacementProblem, streams: Streams) -> Placement:
        return baselines.most_popular(problem)


@dataclass(frozen=True)
class LocalPopularity(ExpertPlacement):
    """Every server holds the experts that the tokens of the users nearest to it activate most often."""

    def place(self, problem: PlacementProblem, streams: Streams) -> Placement:
        return baselines.least_frequently_used(problem)


@dataclass(frozen=True)
class Partitioned(ExpertPlacement):
    """Experts are dealt to the servers in turn, the most popular first, so that no expert is held twice."""

    def place(self, problem: PlacementProblem, streams: Streams) -> Placement:
        return baselines.round_robin(problem)


@dataclass(frozen=True)
class Optimised(ExpertPlacement):
    """A placement by a solver that minimises the expected latency of a token."""

    _: KW_ONLY
    queue_aware: bool = False
    """Whether the mean time in the servers' queues at `requests_per_s` is taken into account: the problem is solved
    repeatedly with the waits that the last placements led to, and the best placement is improved by local search."""

    @abstractmethod
    def solve(self, problem: PlacementProblem, streams: Streams) -> Placement:
        """The placement for given times of access; arguments as in `place`."""
        ...

    def place(self, problem: PlacementProblem, streams: Streams) -> Placement:
        solve = partial(self.solve, streams=streams)
        return queue_aware(problem, solve) if self.queue_aware else solve(problem)


@dataclass(frozen=True)
class Greedy(Optimised):
    """The pair of expert and server with the largest saving of latency per byte is added, again and again."""

    seeds: Annotated[int, Ge(0), Le(3)] = 0
    """Largest number of pairs in the sets that greedy begins with (partial enumeration): the guarantee of 1 - 1/e for
    K = 1 needs 3, in a time that grows with the third power of servers x layers x experts. 0 begins with none."""

    def solve(self, problem: PlacementProblem, streams: Streams) -> Placement:
        return greedy(problem, self.seeds)


@dataclass(frozen=True)
class Decomposed(Optimised):
    """Successive greedy decomposition: one server after another, each optimally given those before (SlimCaching).

    The best sets of a layer's experts are enumerated up to 10 experts; beyond that they are approximated by greedy
    chains.
    """

    random_orders: Annotated[int, Interval(ge=0, le=1000)] = 0
    """Random orders of the servers that are tried in addition to the one by storage and number of users; the best
    placement is kept."""
    sweeps: Annotated[int, Interval(ge=0, le=1000)] = 0
    """Times that every server is solved anew after that, given all others; the latency never increases."""
    tie_break: bool = True
    """Whether an expert's popularity decides between sets of equal saving. Without it, a server that cannot hold all
    experts of any token chooses by their numbers."""

    def solve(self, problem: PlacementProblem, streams: Streams) -> Placement:
        profile_of = enumerated if problem.shape[2] <= FEW_EXPERTS else chained
        rng = streams.generator("order of servers")
        return best_of_orders(
            problem, rng, self.random_orders, profile_of, by_convolution, self.sweeps, tie_break=self.tie_break
        )


@dataclass(frozen=True)
class Auto(Optimised):
    """The better of greedy and decomposition: the former is often better with one expert a token, the latter with
    several."""

    sweeps: Annotated[int, Interval(ge=0, le=1000)] = 0
    """Times that every server is solved anew after the decomposition, given all others."""

    def solve(self, problem: PlacementProblem, streams: Streams) -> Placement:
        return solvers.auto(problem, self.sweeps)


@dataclass(frozen=True)
class Listed(ExpertPlacement):
    """A placement by hand."""

    experts: dict[str, tuple[tuple[Annotated[int, Ge(0)], ...], ...]] = field(default_factory=dict, hash=False)
    """Experts of each server by the server's name: a list of their numbers for each layer, or one list for all layers
    (`edge: [[0, 1], [2]]`)."""

    def check(self, problem: PlacementProblem) -> None:
        _require_room(problem, self._listed(problem))

    def place(self, problem: PlacementProblem, streams: Streams) -> Placement:
        self.check(problem)
        return self._listed(problem)

    def _listed(self, problem: PlacementProblem) -> Placement:
        placement, (_, layers, experts) = problem.empty(), problem.shape
        for name, lists in self.experts.items():
            if name not in problem.names:
                raise ValueError(
                    f"placement.experts names {name}; servers that hold experts: {', '.join(problem.names) or 'none'}"
                )
            if len(lists) not in (1, layers):
                raise ValueError(
                    f"placement.experts.{name} has {len(lists)} lists; give one, or one for each of {layers} layers"
                )
            for layer in range(layers):
                own = lists[min(layer, len(lists) - 1)]
                if max(own, default=0) >= experts:
                    raise ValueError(f"placement.experts.{name} names expert {max(own)}; a layer has {experts}, from 0")
                placement[problem.names.index(name), layer, list(own)] = True
        return placement


def _require_room(problem: PlacementProblem, placement: Placement) -> None:
    """Raise ValueError if a server would hold more than it has storage for."""
    for name, used, room in zip(problem.names, problem.used_bytes(placement), problem.storage_bytes, strict=True):
        if used > room:
            raise ValueError(f"the experts placed at {name} need {used} bytes of storage, and it has {room}")


EXPERT_PLACEMENTS: dict[str, type] = {
    "none": CloudOnly,
    "random": RandomExperts,
    "most_popular": MostPopular,
    "local_popularity": LocalPopularity,
    "partition": Partitioned,
    "greedy": Greedy,
    "decomposition": Decomposed,
    "auto": Auto,
    "everywhere": Everywhere,
    "on_device": OnDevice,
    "listed": Listed,
}
