"""What a straggler law is told of a job, and the draws that belong to it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal, NamedTuple, Protocol, runtime_checkable

from netsim.streams import Streams

Pace = Callable[[float, float], float]
"""The slowdown of a job that begins at an instant and takes so many seconds at nominal speed."""


class Job(NamedTuple):
    """A job on a user's device at the instant at which it begins."""

    user: int
    chance: float
    """Uniform in (0, 1), drawn for the round or for the job."""
    streams: Streams
    start_s: float
    nominal_s: float
    """What it takes at nominal speed."""


class SlowdownLaw(Protocol):
    """How much longer jobs take than FLOPs over FLOP/s."""

    def slowdown(self, job: Job) -> float:
        """The factor > 0 by which the whole job takes longer."""
        ...

    def check(self, count: int) -> None:
        """Raises ValueError if the law does not fit `count` users."""
        ...


class Memory(Protocol):
    """What a device remembers of its past."""

    def slowdown(self, job: Job) -> float:
        """The factor for a job on this very device."""
        ...

    def worked(self, start_s: float, end_s: float) -> None:
        """The device did a job from then until then, and none since the one before."""
        ...


@runtime_checkable
class Remembers(Protocol):
    """A law under which devices have a past."""

    def fresh_device(self) -> Memory:
        """A device at the beginning."""
        ...


class Slowdowns:
    """Draws slowdowns by name: (user, round), or (user, round, number of the job in that round)."""

    def __init__(self, law: SlowdownLaw, redraw: Literal["round", "job"], streams: Streams) -> None:
        self.law, self.redraw, self.streams = law, redraw, streams
        self.remembers = law if isinstance(law, Remembers) else None
        """The law, if devices have a past under it."""
        self._devices: dict[int, Memory] = {}
        self._jobs: dict[int, tuple[int, int]] = {}

    def draw(self, user: int, round_number: int) -> Pace:
        """How fast the user's next job in a round will go, whenever it begins."""
        return partial(self._slowdown, user, self._chance(user, round_number))

    def _slowdown(self, user: int, chance: float, start_s: float, nominal_s: float) -> float:
        job = Job(user, chance, self.streams, start_s, nominal_s)
        return (self.law if self.remembers is None else self._device(self.remembers, user)).slowdown(job)

    def worked(self, user: int, start_s: float, end_s: float) -> None:
        """A job of the user's has been on the processor from then until then, done or given up."""
        if self.remembers is not None:
            self._device(self.remembers, user).worked(start_s, end_s)

    def _device(self, law: Remembers, user: int) -> Memory:
        if user not in self._devices:
            self._devices[user] = law.fresh_device()
        return self._devices[user]

    def _chance(self, user: int, round_number: int) -> float:
        if self.redraw == "round":
            return self.streams.uniform("slowdown", user, index=round_number)
        latest, jobs = self._jobs.get(user, (round_number, 0))
        job = jobs if latest == round_number else 0
        self._jobs[user] = round_number, job + 1
        return self.streams.uniform("slowdown", user, round_number, index=job)
