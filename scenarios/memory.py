"""Check that the memory of users' devices holds their work, measured in a first round without values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import pyarrow.compute as pc

from learning.participation import AllUsers
from learning.policies import WaitForAll
from learning.stop import Stop
from netsim.description import FaultsDescription
from netsim.trace import Trace
from scenarios.errors import FieldError, RunFailed, one_line
from scenarios.field_errors import field_error
from scenarios.schema import Scenario
from scenarios.simulation import Simulation


class Build(Protocol):
    """The function `build.build`, with `limited` as in its description."""

    def __call__(self, scenario: Scenario, *, limited: bool) -> Simulation: ...


def too_small(scenario: Scenario, limits_bytes: Sequence[float], build: Build) -> list[int]:
    """Return the users to exclude: numbers of those whose largest job in a round does not fit their devices' memory.

    There are none where a scenario drops users from single rounds instead.

    Args:
        scenario: a scenario with learning.
        limits_bytes: memory of each user's device.
        build: builds a scenario (an argument, since it needs this function in turn).

    Raises:
        FieldError: there are such users and the scenario rejects them, or no other user is left.
        RunFailed: the trial round fails, as it would in the run.
    """
    devices, needed_bytes = scenario.compute.devices, _needed_bytes(scenario, build)
    short = [user for user, needed in needed_bytes.items() if needed > limits_bytes[user]]
    if not short:
        return []
    user = short[0]
    sentence = (
        f"user {user} has {limits_bytes[user]:.15g} bytes, and its largest job takes {needed_bytes[user]}; "
        f"{len(short)} of {len(limits_bytes)} users have too little"
    )
    path = ("compute", "devices", "memory_bytes")
    if devices.on_out_of_memory == "reject":
        raise field_error(path, ValueError(f"{sentence}; with on_out_of_memory: exclude such users are excluded"))
    if len(short) == len(limits_bytes):
        raise field_error(path, ValueError(f"{sentence}; no user is left"))
    return short if devices.on_out_of_memory == "exclude" else []


def _needed_bytes(scenario: Scenario, build: Build) -> dict[int, int]:
    """Memory of the largest job of each user that has any, in a round of all users in which none is dropped."""
    assert scenario.learning is not None
    learning = replace(scenario.learning, executor="dry", stop=Stop(rounds=1), policy=WaitForAll())
    network = replace(scenario.network, faults=FaultsDescription())
    energy = replace(scenario.energy, battery=None)
    compute = replace(scenario.compute, devices=replace(scenario.compute.devices, on_out_of_memory="reject"))
    alone = replace(scenario, learning=learning, network=network, compute=compute, energy=energy, traffic=None)
    with_all = replace(alone, learning=replace(learning, participants=AllUsers()))
    try:
        probe = build(with_all, limited=False)
    except FieldError:  # a controller may be able to decide for the participants of one round, and not for all users
        probe = build(alone, limited=False)
    probe.record_in(Trace(None, ["computations"]))
    try:
        probe.env.run(probe.env.process(probe.process) if probe.process else None)
    except Exception as error:
        raise RunFailed(f"failed in a first round without values, which measures memory: {one_line(error)}") from error
    jobs = probe.journal.trace.frame("computations")
    own = jobs.filter(pc.equal(jobs["node_kind"], "user")).group_by("node").aggregate([("memory_bytes", "max")])
    users = (int(node.removeprefix("user")) for node in own["node"].to_pylist())
    return dict(sorted(zip(users, own["memory_bytes_max"].to_pylist(), strict=True)))
