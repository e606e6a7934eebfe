"""Time of one expert call without waiting in queues: there over the links, the computation, and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from torch import Tensor

from learning import steps
from learning.control.placement.problem import Floats
from learning.executor.base import OperationPlan
from learning.parties import Server, User
from learning.protocols.caller import call_s, radio_bps
from learning.protocols.expert_layer import ExpertLayer


class TokenCall(NamedTuple):
    """A call of one expert for one token, by the shapes that are charged."""

    up_bits: float
    """Bits of the message to the site: a hidden state, with what goes with it."""
    plan: OperationPlan
    """The work of the expert."""
    down_bits: float
    """Bits of the answer."""


def token_call(layer: ExpertLayer, token: Tensor) -> TokenCall:
    """The call of an expert of a layer for one token, of which `token` (1, 1, width) has the shape."""
    world, messages = layer.world, layer.policy.messages
    plan, wire = world.executor.plan(steps.front, layer.part, layer.weights[0], token), world.server.wire
    there = messages.forward(token, 1, 1, layer.names, weighted=True)
    back = messages.answer(plan.profile.outputs[0].tree, 1, 1)
    return TokenCall(wire.bits(*there), plan, wire.bits(*back))


def access_s(users: Sequence[User], site: Server, call: TokenCall) -> Floats:
    """Time of access to an expert at a site, through the base station that serves the user:

        tau_u(n) = b_up / R_up(u) + L(u, n, b_up) + F / f(n) + L(u, n, b_down) + b_down / R_down(u)

    R are Shannon's rates of the radio links with the average gain over fading and the whole band, L the time over
    the idle lines of the backhaul with all their delays, F the FLOPs of the expert, and f the speed of the site.

    Args:
        users: The users.
        site: The site.
        call: The call.

    Returns:
        (users,): time in s.
    """
    return np.array([_call_s(user, site, call)[0] for user in users])


def work_s(users: Sequence[User], site: Server, call: TokenCall) -> float:
    """Time in s for which a call occupies a site."""
    return _call_s(users[0], site, call)[1]


def _call_s(user: User, site: Server, call: TokenCall) -> tuple[float, float]:
    return call_s(user, site, call.up_bits, call.plan, call.down_bits, radio_bps(user))
