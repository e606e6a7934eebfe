"""FedSL with pruning and quantisation. [Zhang, Ni, Wang, arXiv 2412.06414; deviations in docs/systems/fedsl_pq.md]

in the first round of an interval:
  server -> users  device part, dense           one broadcast; or, pruned by the server, to each
  user             new mask, by importance
each round, all users side by side:
  user             forward pass of the pruned part, dropout at the cut
  user -> server   kept activations, labels, and the dropout's seed (or bitmap)
  server           forward and backward pass
  server -> user   cut-layer gradient on the kept positions
  user             backward pass; masked update with the quantised gradient
in the last round of an interval:
  user -> server   kept weights and their bitmap
  server           mean of the device parts
A pruned forward or backward pass costs (1 - rate) of the dense one: the sparse cost model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Interval

from learning.codecs import Codec, Identity, KeptWeights, quantiser
from learning.control.pruning import rate_within_budget
from learning.parties import User
from learning.ports import Process
from learning.protocols.broadcast import Broadcast
from learning.protocols.rounds import gather
from learning.protocols.split import JointPart, ServerPart
from learning.reducers.dropout import Dropout
from learning.reducers.pruning import CubicRamp, Pruning
from learning.scheme import Scheme
from learning.schemes.fedsl_pq import aggregation, operators
from learning.schemes.fedsl_pq.device import PrunedDevice
from learning.schemes.fedsl_pq.messages import cut_codecs
from learning.steps import Weights
from learning.world import World


@dataclass(frozen=True)
class FedSLPQ(Scheme):
    """Federated split learning with pruning, gradient quantisation and cut-layer dropout (Zhang et al., 2024)."""

    interval: Annotated[int, Ge(1)] = 5
    """Rounds between aggregations of the device parts."""
    pruning: Pruning = Pruning()
    """Which weights of the device part are pruned."""
    pruning_rate: CubicRamp = CubicRamp(final=0.5)
    """Share of the prunable weights that is pruned, over the rounds."""
    prune_every: Annotated[int, Ge(1)] | None = None
    """Rounds between new masks within an interval (default: a new mask only where an interval begins)."""
    latency_budget_s: Annotated[float, Gt(0)] | None = None
    """Where given, each device chooses its pruning rate such that a round takes it this long, predicted from its last
    round (default: all devices have the rate of `pruning_rate`)."""
    max_rate: Annotated[float, Interval(ge=0, lt=1)] = 0.9
    """Upper bound on the pruning rate that a device chooses."""
    masks_at: Literal["device", "server"] = "device"
    """Where masks are computed: on the devices, after a dense broadcast; or at the server, which sends each device the
    weights that it keeps."""
    gradient_bits: Annotated[int, Interval(ge=1, le=32)] = 8
    """Bits of an element of the quantised gradient in a device's update; 32 is no quantisation."""
    quantise_cut_gradient: bool = False
    """Whether the cut-layer gradient is sent quantised too."""
    backward_time_follows_bits: bool = False
    """Whether a quantised backward pass takes gradient_bits / 32 of its time (on floating-point units it does not)."""
    dropout: Dropout = Dropout(rate=0.3)
    """Dropout of the smashed data."""
    mask_coding: Literal["seed", "bitmap"] = "seed"
    """How the server learns which activations were dropped: from a seed of 64 bits a message, or from a bit for each
    activation."""
    server_mode: Literal["synced", "per_client"] = "synced"
    """One server part, updated with the mean of all gradients; or a replica for each user, averaged as device parts."""
    aggregation: Literal["masked", "plain"] = "masked"
    """Whether an entry is averaged over the users that kept it, or over all users, with zeros where it was pruned."""

    one_chain = True

    def __post_init__(self) -> None:
        if 16 < self.gradient_bits < 32:
            raise ValueError(f"gradient_bits is {self.gradient_bits}; 1 to 16 are allowed, and 32 for no quantisation")
        if self.masks_at == "server" and self.pruning.importance == "taylor":
            raise ValueError("importance taylor needs the devices' own gradients; set masks_at to device")

    def run(self, world: World) -> Process[None]:
        front: Weights
        back: Weights
        front, back = world.initial(world.front), world.initial(world.back)
        joint = JointPart(world, back, world.server_optimiser.init(back))
        devices = {
            user: PrunedDevice(world, user, front, world.optimiser.init(front), ServerPart(world, back, joint.state))
            for user in world.users
        }
        for number in world.rounds():
            cohort = {user: devices[user] for user in world.selected(number // self.interval)}
            last = (number + 1) % self.interval == 0
            dense = self.distribute(world, cohort, front, back) if number % self.interval == 0 else None
            work = {user: self.user(world, user, number, device, joint, dense) for user, device in cohort.items()}
            done = yield from gather(world, work)
            if dense:
                yield from dense.withdraw()
            if self.server_mode == "synced":
                joint.step(list(done), world.weights(list(done), "uniform"))
                back = joint.weights
            if last and done:
                arrived = {user: devices[user] for user in done}
                parts = aggregation.device_parts(world, arrived, front, self.aggregation)
                front = yield from world.server.do(operators.aggregated, *parts, kind="aggregation")
                back = aggregation.server_part(world, arrived, back, self.server_mode)
            parts = aggregation.device_parts(world, cohort, front, self.aggregation)
            now = front if last else world.executor.submit(operators.aggregated, *parts)
            now_back = back if last else aggregation.server_part(world, cohort, back, self.server_mode)
            world.models((now, now_back))

    def distribute(
        self, world: World, devices: Mapping[User, PrunedDevice], front: Weights, back: Weights
    ) -> Broadcast:
        """Step 0: broadcast of the dense aggregate, which has weights that were pruned on only some devices."""
        for device in devices.values():
            device.replica.weights = back
        return Broadcast(world, list(devices), front, "model")

    def user(
        self, world: World, user: User, number: int, device: PrunedDevice, joint: JointPart, dense: Broadcast | None
    ) -> Process[None]:
        """A round of one user, steps 0 to 6; a user that the broadcast does not reach keeps its device part.

        Args:
            world: the world.
            user: the user.
            number: number of the round.
            device: its device.
            joint: the server part that all users share.
            dense: the broadcast of the aggregate, in the first round of an interval; else None.
        """
        if dense and (self.masks_at == "server" or (yield from dense.reaches(user))):
            device.weights, device.mask = dense.what, None
        if device.mask is None or (self.prune_every and number % self.interval % self.prune_every == 0):
            yield from self.prune(world, user, number, device)
        x, y = user.batch(number)
        u = device.dropout_draw(self.dropout, number, x)
        gradient = self._quantiser if self.quantise_cut_gradient else Identity()
        up, down = cut_codecs(self.dropout, u, self.mask_coding, gradient, world.dataset.classes)

        start_s, forward = world.env.now, (world.front, self.dropout, device.weights, x, u)
        z = yield from user.do(operators.front, *forward, kind="client_forward", scale=device.density)
        compute_s = world.env.now - start_s
        z, y = yield from user.send(world.server, (z, y), "activation", up)

        server = joint if self.server_mode == "synced" else device.replica
        dz = yield from server.serve(user, z, y)
        dz = yield from world.server.send(user, dz, "gradient", down)

        received_s, share = world.env.now, self.gradient_bits / 32 if self.backward_time_follows_bits else 1
        noise = None if self._quantiser.exact else device.rounding_draws(number)
        step = (world.front, self.dropout, world.optimiser, self._quantiser, device.weights, device.state, device.mask)
        device.weights, device.state, device.gradients = yield from user.do(
            operators.update, *step, x, dz, u, noise, kind="client_backward", scale=device.density * share
        )
        compute_s += world.env.now - received_s
        device.compute_s, device.other_s = compute_s, world.env.now - start_s - compute_s
        if (number + 1) % self.interval == 0:
            yield from user.send(world.server, device.weights, "model", KeptWeights(self.pruning, device.rate))

    def prune(self, world: World, user: User, number: int, device: PrunedDevice) -> Process[None]:
        """Step 0: a new mask for the device's present weights, computed on the device or at the server."""
        device.rate = self._rate(device, number)
        world.journal.decision(user.number, "pruning_rate", device.rate)
        seen = self.pruning.importance == "taylor" and device.gradients is not None
        pruning = self.pruning if seen else replace(self.pruning, importance="magnitude")
        work = (operators.pruned, pruning, device.gradients if seen else None, device.rate, device.weights)
        if self.masks_at == "device":
            device.weights, device.mask = yield from user.do(*work, kind="pruning")
            return
        weights, mask = yield from world.server.do(*work, kind="pruning", user=user)
        device.weights = yield from world.server.send(user, weights, "model", KeptWeights(self.pruning, device.rate))
        device.mask = mask

    @property
    def _quantiser(self) -> Codec:
        return quantiser(self.gradient_bits)

    def _rate(self, device: PrunedDevice, number: int) -> float:
        """The scheduled pruning rate; or under a latency budget, once a device has measured times, the rate for it."""
        if self.latency_budget_s is None or device.other_s is None:
            return self.pruning_rate.rate(number)
        return rate_within_budget(self.latency_budget_s, device.compute_s, device.other_s, device.rate, self.max_rate)
