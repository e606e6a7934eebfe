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

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Interval

from learning import steps
from learning.aggregators import masked_mean, weighted_mean
from learning.codecs import Codec, Identity, Uniform
from learning.draws import Draw
from learning.executor.deferred import specification
from learning.parties import User
from learning.ports import Process
from learning.protocols.broadcast import Broadcast
from learning.protocols.rounds import gather
from learning.protocols.split import ServerPart
from learning.reducers.dropout import Dropout
from learning.reducers.pruning import CubicRamp, Pruning
from learning.scheme import Scheme
from learning.schemes.fedsl_pq import messages, operators
from learning.schemes.fedsl_pq.device import Device
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
    """Where given, each device chooses its rate so that a round takes it this long, judging by its last round."""
    max_rate: Annotated[float, Interval(ge=0, lt=1)] = 0.9
    """Bound on the rate that a device chooses for itself."""
    masks_at: Literal["device", "server"] = "device"
    """Who decides masks: devices, after a dense broadcast; or the server, which sends each device what it keeps."""
    gradient_bits: Annotated[int, Interval(ge=1, le=32)] = 8
    """Bits of the quantised gradient in a device's update; 32 switches quantisation off."""
    quantise_cut_gradient: bool = False
    """Whether the cut-layer gradient is quantised too, on the wire."""
    backward_time_follows_bits: bool = False
    """Whether a quantised backward pass takes gradient_bits / 32 of its time (on float hardware it does not)."""
    dropout: Dropout = Dropout(rate=0.3)
    """Dropout of the smashed data."""
    mask_coding: Literal["seed", "bitmap"] = "seed"
    """How the server learns what was dropped: 64 bits of seed a message, or a bit for each activation."""
    server_mode: Literal["synced", "per_client"] = "synced"
    """One server part, stepped on the mean of all gradients; or a replica for each user, averaged like the devices'."""
    aggregation: Literal["masked", "plain"] = "masked"
    """Whether an entry is averaged over the users that kept it, or over all (zeros count)."""

    def __post_init__(self) -> None:
        if 16 < self.gradient_bits < 32:
            raise ValueError(f"gradient_bits is {self.gradient_bits}; 1 to 16 are allowed, and 32 for no quantisation")
        if self.masks_at == "server" and self.pruning.importance == "taylor":
            raise ValueError("importance taylor needs the devices' own gradients; set masks_at to device")

    def run(self, world: World) -> Process[None]:
        front: Any = world.initial(world.front)
        back: Any = world.initial(world.back)
        front_state, back_state = world.optimiser.init(front), world.server_optimiser.init(back)
        devices = {user: Device(front, front_state, ServerPart(world, back, back_state)) for user in world.users}
        for number in world.rounds():
            cohort = {user: devices[user] for user in world.selected(number // self.interval)}
            last = (number + 1) % self.interval == 0
            dense = self.distribute(world, cohort, front, back) if number % self.interval == 0 else None
            work = {user: self.user(world, user, number, device, back, last, dense) for user, device in cohort.items()}
            done = yield from gather(world, work)
            if dense:
                yield from dense.withdraw()
            if done and self.server_mode == "synced":
                step = (steps.apply_mean, world.server_optimiser, back, back_state, list(done.values()))
                back, back_state = world.executor.submit(*step, world.weights(list(done), "uniform"))
            if done and last:
                arrived = {user: devices[user] for user in done}
                yield from world.server.node.compute(len(done) * world.executor.charged(front).numel, "aggregation")
                front, back = self.aggregate(world, arrived, front, back)
            world.models((front, back) if last else self.aggregate(world, cohort, front, back))

    def distribute(self, world: World, devices: dict[User, Device], front: Any, back: Any) -> Broadcast:
        """Step 0: the dense aggregate, in which a weight that was pruned on one device lives on if another kept it."""
        for device in devices.values():
            device.replica.weights = back
        return Broadcast(world, list(devices), front, "model")

    def user(
        self, world: World, user: User, number: int, device: Device, back: Any, last: bool, dense: Broadcast | None
    ) -> Process[Any]:
        """Steps 0 to 6; returns the gradients of the server part. Whom step 0 misses goes on with what it has."""
        if dense and (self.masks_at == "server" or (yield from dense.reaches(user))):
            device.weights, device.mask = dense.what, None
        if device.mask is None or (self.prune_every and number % self.interval % self.prune_every == 0):
            yield from device.prune(world, self, user, number)
        started, device.compute_s = world.env.now, 0.0
        x, y = user.batch(number)
        u = self._dropout_draw(world, user, number, device.weights, x)

        forward = (operators.front, world.front, self.dropout, device.weights, x, u)
        z = yield from device.compute(world, user, *forward, kind="client_forward")
        layout = messages.smashed_data(self.dropout, self.mask_coding, z, y, world.dataset.classes, u)
        z = yield from user.send(world.server, z, "activation", layout=layout)

        gradients, dz = yield from self.serve(world, user, device, back, z, y)
        dz, coded_bits = self._coded(world, user, number, dz, u)
        layout = messages.cut_gradient(self.dropout, coded_bits, dz, u)
        dz = yield from world.server.send(user, dz, "gradient", layout=layout)

        noise = self._noise(world, user, number)
        step = (world.front, self.dropout, world.optimiser, self._quantiser)
        backward = (operators.update, *step, device.weights, device.state, device.mask, x, dz, u, noise)
        share = self.gradient_bits / 32 if self.backward_time_follows_bits else 1
        device.weights, device.state, device.gradients = yield from device.compute(
            world, user, *backward, kind="client_backward", share=share
        )
        device.other_s = world.env.now - started - device.compute_s
        if last:
            yield from user.send(world.server, device.weights, "model", layout=device.pruned(self))
        return gradients

    def serve(self, world: World, user: User, device: Device, back: Any, z: Any, y: Any) -> Process[Any]:
        """Step 3: gradients at the common server weights, or a step of the user's replica."""
        if self.server_mode == "per_client":
            return None, (yield from device.replica.serve(user, z, y))
        work = (steps.back_gradients, world.back, back, z, y)
        gradients, dz, _ = yield from world.server.do(*work, kind="server_step", user=user)
        return gradients, dz

    def aggregate(self, world: World, devices: dict[User, Device], front: Any, back: Any) -> tuple[Any, Any]:
        """Step 7: means over the users, weighted by their samples."""
        weights, submit = world.weights(list(devices), "by_samples"), world.executor.submit
        fronts, masks = zip(*((device.weights, device.mask) for device in devices.values()), strict=True)
        if self.server_mode == "per_client":
            back = submit(weighted_mean, [device.replica.weights for device in devices.values()], weights)
        if self.aggregation == "plain" or None in masks:
            return submit(weighted_mean, list(fronts), weights), back
        return submit(masked_mean, front, list(fronts), list(masks), weights), back

    @property
    def _quantiser(self) -> Codec:
        return Identity() if self.gradient_bits == 32 else Uniform(self.gradient_bits)

    def _dropout_draw(self, world: World, user: User, number: int, weights: Any, x: Any) -> Draw | None:
        if not self.dropout.rate:
            return None
        z = world.executor.plan(steps.front, world.front, weights, x).profile.outputs[0].tree
        return Draw(world.streams, "dropout", (user.number, number), self.dropout.draw_shape(tuple(z.shape)), z.dtype)

    def _noise(self, world: World, user: User, number: int) -> dict[str, Draw] | None:
        """Draws of the stochastic rounding of the device's gradients."""
        if self._quantiser.exact:
            return None
        return {
            name: Draw(world.streams, "gradient rounding", (user.number, number, name), tuple(p.shape), world.precision)
            for name, p in world.front.parameters().items()
        }

    def _coded(self, world: World, user: User, number: int, dz: Any, u: Draw | None) -> tuple[Any, int | None]:
        """The cut-layer gradient as the user gets it, and its bits an element where it is quantised."""
        if not self.quantise_cut_gradient or self._quantiser.exact:
            return dz, None
        shape = tuple(specification(dz).tree.shape)
        noise = Draw(world.streams, "cut gradient rounding", (user.number, number), shape, world.precision)
        work = (operators.cut_gradient, self.dropout, self._quantiser, dz, u, noise)
        return world.executor.submit(*work), self.gradient_bits
