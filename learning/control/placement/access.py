"""Time of one expert call without waiting in queues: there over the links, the computation, and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from learning.control.observation import observe
from learning.control.placement.problem import Floats
from learning.parties import Server, User


class CallCost(NamedTuple):
    """What one token of a call for one expert costs, by the shapes that are charged."""

    up_bits: float
    """Bits of the message to the site: a hidden state, with what goes with it."""
    down_bits: float
    """Bits of the answer."""
    flops: float
    """FLOPs of an expert for one token: 4 d d_ff, or 6 d d_ff with a gated feed-forward network."""


def access_s(users: Sequence[User], site: Server, cost: CallCost) -> Floats:
    """Time of access to an expert at a site, through the base station that serves the user.

        tau_u(n) = b_up / R_up(u) + L(u, n, b_up) + F / f(n) + L(u, n, b_down) + b_down / R_down(u)

    R are Shannon's rates of the radio links with the average gain over fading and the whole band, L the time over
    the idle lines of the backhaul with all their delays, and f the speed of the site.

    Args:
        users: The users.
        site: A server that is not on a device.
        cost: The cost of a call.

    Returns:
        (users,): time in s.
    """
    work_s = cost.flops / site.node.flops_per_s
    return np.array(
        [
            cost.up_bits / known.upload_bps(1.0)
            + known.user.node.backhaul_s(site.node, cost.up_bits)
            + work_s
            + known.user.node.backhaul_s(site.node, cost.down_bits)
            + cost.down_bits / known.download_bps(1.0)
            for known in observe(users)
        ]
    )


def device_s(users: Sequence[User], cost: CallCost) -> Floats:
    """(users,): time in s of an expert for one token on the user's own device."""
    return np.array([cost.flops / user.node.flops_per_s for user in users])
