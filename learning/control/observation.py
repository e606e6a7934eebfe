"""Observations: what a controller knows of each user before it decides, about its device, data and radio links."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import inf
from typing import Literal, NamedTuple

import torch
from torch.utils._pytree import TreeSpec

from learning.control.rate import rate_bps
from learning.data import Inputs, Rows
from learning.executor.deferred import specification
from learning.parties import User
from learning.ports import Channel

Csi = Literal["instantaneous", "average"]
"""Channel state information: gains at the instant of the decision, or on average over fading."""

Shapes = tuple[TreeSpec, tuple[tuple[torch.Size, torch.dtype], ...]]
"""Structure of a tree of arrays, and shape and dtype of each of them."""


class ObservedChannel(NamedTuple):
    """One direction of a user's radio link, as a controller knows it."""

    bandwidth_hz: float
    """Bandwidth of the station's whole band in this direction."""
    max_power_w: float
    """Maximum radiated power of the sender: the user on the uplink, the station on the downlink."""
    gain_hz_per_w: float
    """Power gain of the channel over the noise power density."""


@dataclass(frozen=True)
class Observation:
    """What a controller knows of one user before a decision; users may differ in all of it."""

    user: User
    """The user, whose number names its draws and its rows in the tables."""
    flops_per_s: float
    """Nominal speed of its device's processor."""
    memory_bytes: float
    """Memory of its device; infinite where it is not limited."""
    samples: int
    """Size of its data set."""
    batch_size: int
    """Samples in its largest mini-batch under the scenario's `batch_size`."""
    uplink: ObservedChannel
    """Its uplink."""
    downlink: ObservedChannel
    """Its downlink."""
    sample_shapes: Shapes
    """Shapes of one of its samples and the label; where these are equal, equally large mini-batches cost the same."""

    def upload_bps(self, share: float) -> float:
        """Shannon's rate in bit/s at the user's maximum power in a share (0 to 1) of the band."""
        up = self.uplink
        return float(rate_bps(share * up.bandwidth_hz, up.max_power_w, up.gain_hz_per_w))

    def download_bps(self, share: float) -> float:
        """Shannon's rate in bit/s in a share (0 to 1) of the band, over which the station spreads its power evenly."""
        down = self.downlink
        return float(rate_bps(share * down.bandwidth_hz, share * down.max_power_w, down.gain_hz_per_w))

    def mini_batch(self, samples: int | None = None) -> tuple[Inputs, Rows]:
        """Samples and labels of a mini-batch, used for their shapes only: `samples` of them (default: `batch_size`)."""
        return self.user.batches.run(range(self.batch_size if samples is None else samples))


def observe(users: Iterable[User], csi: Csi = "average") -> list[Observation]:
    """Observe users at this instant.

    Args:
        users: the users.
        csi: which gain of their radio links is known.

    Returns:
        An observation of each user, in their order.
    """
    return [
        Observation(
            user=user,
            flops_per_s=user.node.flops_per_s,
            memory_bytes=inf if user.node.memory_bytes is None else user.node.memory_bytes,
            samples=user.samples,
            batch_size=user.batches.largest,
            uplink=observe_channel(user.node.uplink, csi),
            downlink=observe_channel(user.node.downlink, csi),
            sample_shapes=_sample_shapes(user),
        )
        for user in users
    ]


def observe_channel(channel: Channel, csi: Csi) -> ObservedChannel:
    """Observe one direction of a radio link at this instant; `csi` is which gain is known."""
    instantaneous, average = channel.instantaneous_gain_over_noise_hz_per_w, channel.gain_over_noise_hz_per_w
    return ObservedChannel(
        channel.bandwidth_hz, channel.max_power_w, instantaneous if csi == "instantaneous" else average
    )


def _sample_shapes(user: User) -> Shapes:
    one = specification(user.batches.run(range(1)))
    return one.form, tuple((leaf.shape[1:], leaf.dtype) for leaf in one.leaves)
