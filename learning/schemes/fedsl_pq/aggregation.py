"""What is averaged under FedSL-PQ at the end of an interval: pruned device parts, and replicas of the server part."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from learning.aggregators import weighted_mean
from learning.parties import User
from learning.schemes.fedsl_pq.device import PrunedDevice
from learning.steps import Weights
from learning.world import World


def device_parts(
    world: World, devices: Mapping[User, PrunedDevice], front: Weights, rule: Literal["masked", "plain"]
) -> tuple[Weights, list[Weights], list[Weights | None] | None, tuple[float, ...]]:
    """Arguments of `operators.aggregated`: the last aggregate, device parts, their masks, and weights by samples.

    There are no masks (None) under the rule `plain`, or as long as a device has none.
    """
    masks = [device.mask for device in devices.values()]
    kept = None if rule == "plain" or None in masks else masks
    fronts = [device.weights for device in devices.values()]
    return front, fronts, kept, world.weights(list(devices), "by_samples")


def server_part(
    world: World, devices: Mapping[User, PrunedDevice], back: Weights, mode: Literal["synced", "per_client"]
) -> Weights:
    """The server part that belongs to the mean of these device parts.

    In mode `synced` it is `back`, the one that all users share; in mode `per_client` the mean of the users' replicas,
    weighted by samples.
    """
    if mode == "synced":
        return back
    replicas = [device.replica.weights for device in devices.values()]
    return world.executor.submit(weighted_mean, replicas, world.weights(list(devices), "by_samples"))
