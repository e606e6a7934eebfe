"""Measurement of the validation loss over lengths, by tokens of public samples of which the base station has all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from learning.control.controller import record
from learning.control.lengths.curves import MeasuredCurve
from learning.control.lengths.losses import LossRule, TeamLosses
from learning.parties import User
from learning.ports import Process
from learning.protocols.token_stages import Arrived, BaseStation
from learning.schemes.token_fusion.operators import shortened_loss
from learning.schemes.token_fusion.sequences import Sequences
from learning.world import World

Shortened = tuple[tuple[str, int], ...]
"""Modalities of which fewer tokens are read than there are, and how many."""


def measured(
    world: World, sequences: Sequences, station: BaseStation, rule: LossRule, members: Sequence[User], arrived: Arrived
) -> Process[TeamLosses | None]:
    """The losses of a team over the length of each user, while the others send all; and at the shortest lengths.

    The base station shortens what it has received, as users would have done before they sent it.

    Args:
        world: the world.
        sequences: the tokens of each modality.
        station: the base station.
        rule: at which lengths is measured, and what is fitted, for the table `decisions`.
        members: the users of the team, all of whose tokens have arrived.
        arrived: the tokens of public samples.

    Returns:
        The losses; None where no values are computed, or training has diverged.
    """
    names = {user: sequences.modality(user) for user in members}
    tried = {name: rule.tried(sequences.tokens[name]).tolist() for name in names.values()}
    alone: list[Shortened] = [((name, length),) for name, each in tried.items() for length in each[:-1]]
    wanted: list[Shortened] = [(), *alone, tuple((name, each[0]) for name, each in tried.items())]
    losses = []
    for each in wanted:
        reducers = tuple((name, sequences.reducer(name, length)) for name, length in each)
        given: Any = station.fusion, reducers, station.weights, arrived.received, arrived.x.present, arrived.y
        losses.append((yield from world.server.do(shortened_loss, *given, kind="measurement")))
    if not world.executor.computes:
        return None
    found = dict(zip(wanted, map(float, world.executor.value(losses)), strict=True))
    curves = {}
    for user, name in names.items():
        rows = [found[((name, length),)] for length in tried[name][:-1]]
        curves[user.number] = MeasuredCurve(np.array(tried[name]), np.array([*rows, found[()]]))
    result = TeamLosses(curves, found[wanted[-1]])
    if not result.usable:
        return None
    for user in members:
        record(world.journal, user, rule.figures(curves[user.number]))
    record(world.journal, members[0], {"loss_coupling": result.coupling})
    return result
