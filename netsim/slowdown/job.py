"""Interface of slowdown laws: a job as a law sees it, and the random numbers of jobs."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal, NamedTuple, Protocol, runtime_checkable

from netsim.streams import Streams

Pace = Callable[[float, float], float]
"""A function that returns the slowdown of a job: (start in seconds, duration at nominal speed in seconds) -> factor."""


class DeviceJob(NamedTuple):
    """A job on a user's device at the instant at which it begins."""

    user: int
    """Number of the user."""
    chance: float
    """Uniform draw in (0, 1), of the round or of the job."""
    streams: Streams
    """Random numbers of the run."""
    start_s: float
    """Simulated time of the start in seconds."""
    nominal_s: float
    """Duration at nominal speed in seconds."""


class SlowdownLaw(Protocol):
    """A law of slowdowns: the factors by which jobs take longer than FLOPs over FLOP/s."""

    def slowdown(self, job: DeviceJob) -> float:
        """Return the factor > 0 by which the whole job takes longer than at nominal speed."""
        ...

    def check(self, count: int) -> None:
        """Raise ValueError if the law does not fit `count` users."""
        ...


class DeviceState(Protocol):
    """The state of one device, such as its temperature, on which its slowdowns depend."""

    def slowdown(self, job: DeviceJob) -> float:
        """Return the factor > 0 by which the whole job takes longer than at nominal speed."""
        ...

    def worked(self, start_s: float, end_s: float) -> None:
        """Update the state: the device did a job from `start_s` to `end_s`, and none between the last one and this."""
        ...


@runtime_checkable
class StatefulLaw(Protocol):
    """A slowdown law under which slowdowns depend on the earlier jobs of a device."""

    def new_device(self) -> DeviceState:
        """Return the state of a device at the beginning of a run."""
        ...


class Slowdowns:
    """The slowdowns of all users' devices. A draw is named by user and round, or by user, round and job."""

    def __init__(self, law: SlowdownLaw, redraw: Literal["round", "job"], streams: Streams) -> None:
        """Prepare the draws.

        Args:
            law: the slowdown law.
            redraw: "round" draws once for each user and round, "job" for each job.
            streams: random numbers of the run.
        """
        self.law, self.redraw, self.streams = law, redraw, streams
        self.stateful = law if isinstance(law, StatefulLaw) else None
        """The law, if devices have a state under it."""
        self._devices: dict[int, DeviceState] = {}
        self._drawn: dict[int, tuple[int, float]] = {}  # latest round of each user, and its draw
        self._jobs: dict[int, tuple[int, int]] = {}

    def draw(self, user: int, round_number: int) -> Pace:
        """Draw for the next job of a user in a round; returns its slowdown as a function of start and duration."""
        return partial(self._slowdown, user, self._chance(user, round_number))

    def _slowdown(self, user: int, chance: float, start_s: float, nominal_s: float) -> float:
        job = DeviceJob(user, chance, self.streams, start_s, nominal_s)
        return (self.law if self.stateful is None else self._device(self.stateful, user)).slowdown(job)

    def worked(self, user: int, start_s: float, end_s: float) -> None:
        """Report that a job of a user was on the processor from `start_s` to `end_s`, completed or abandoned."""
        if self.stateful is not None:
            self._device(self.stateful, user).worked(start_s, end_s)

    def _device(self, law: StatefulLaw, user: int) -> DeviceState:
        if user not in self._devices:
            self._devices[user] = law.new_device()
        return self._devices[user]

    def _chance(self, user: int, round_number: int) -> float:
        if self.redraw == "round":
            known, chance = self._drawn.get(user, (None, 0.0))
            if known != round_number:
                chance = self.streams.uniform("slowdown", user, index=round_number)
                self._drawn[user] = round_number, chance
            return chance
        latest, jobs = self._jobs.get(user, (round_number, 0))
        job = jobs if latest == round_number else 0
        self._jobs[user] = round_number, job + 1
        return self.streams.uniform("slowdown", user, round_number, index=job)
