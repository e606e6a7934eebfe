"""How long users take in a round of federated averaging, and the band by which the slowest is fastest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from learning.control.observation import Csi, observe
from learning.control.prediction import flops, message_bits
from learning.control.rate import Floats, bandwidth_hz, rate_bps
from learning.control.split import smallest_within
from learning.parties import Message, User
from learning.world import World

Work: TypeAlias = tuple[Callable[..., Any], *tuple[Any, ...]]
"""An operation and its arguments."""


class LatencyProblem(NamedTuple):
    """Uploads that begin when each user is ready, in parts of one band: min over b of max_k ready_k + S / R_k(b_k)."""

    ready_s: Floats
    """(users,): time from the start of the round until the user begins its upload."""
    bits: float
    """Size of an upload."""
    power_w: Floats
    """(users,): power."""
    gain_hz_per_w: Floats
    """(users,): gain over the noise power density."""
    total_hz: float
    """The band."""

    def latency_s(self, shares: Floats) -> Floats:
        """(users,): when each user's upload is over, with these shares of the band."""
        return self.ready_s + self.bits / rate_bps(shares * self.total_hz, self.power_w, self.gain_hz_per_w)

    @property
    def equal(self) -> Floats:
        """(users,): equal shares of the band."""
        return np.full(len(self.ready_s), 1 / len(self.ready_s))

    def min_max_shares(self) -> Floats:
        """(users,): shares of the band that minimise the longest latency; they sum to one.

        To end at a latency a user needs the bandwidth that carries its bits in the time left, which falls with it.
        """
        low, high = float(self.ready_s.max()), float(self.latency_s(self.equal).max())
        least_s = smallest_within(low, high, lambda latency_s: float(self._needed_hz(latency_s).sum()), self.total_hz)
        needed = self._needed_hz(least_s)
        return np.asarray(needed / needed.sum())

    def _needed_hz(self, latency_s: float) -> Floats:
        left_s = np.maximum(latency_s - self.ready_s, np.finfo(float).tiny)
        with np.errstate(over="ignore"):
            return bandwidth_hz(self.bits / left_s, self.power_w, self.gain_hz_per_w)


def latency_problem(
    world: World, users: Sequence[User], model: Message, training: Sequence[Work], csi: Csi
) -> LatencyProblem:
    """Predict downloads, local training and uploads of users who all begin now, at nominal speed.

    Downloads have equal shares of the band. FLOPs and bits are those that are charged.

    Args:
        world: the world.
        users: the users.
        model: what is downloaded and uploaded.
        training: for each user, the operation of its local training and its arguments.
        csi: which gain of the links is known.
    """
    bits = float(message_bits(world, model))
    observed, ready = observe(users, csi), []
    for user, work in zip(observed, training, strict=True):
        down_s = bits / user.download_bps(1 / len(users))
        ready.append(down_s + flops(world, *work) / user.flops_per_s)
    power, gain = (np.array([each.uplink[place] for each in observed]) for place in (1, 2))
    return LatencyProblem(np.array(ready), bits, power, gain, observed[0].uplink.bandwidth_hz)


def straggler_s(world: World, latencies_s: Floats) -> float:
    """When the policy ends a round in which users are done at these times: at the last that it waits for.

    `latencies_s` (users,) are counted from the start of the round; a deadline may be earlier.
    """
    needed = min(world.policy.needed(world.cohort_size), len(latencies_s))
    return min(float(np.sort(latencies_s)[needed - 1]), world.policy.deadline_s)
