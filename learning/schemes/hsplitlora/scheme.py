"""Heterogeneous split fine-tuning of adapters. [HSplitLoRA, Lin et al., arXiv 2505.02795]

Every user has its own cut, and its own rank for each weight. A round is `local_steps` mini-batches of every user.
server           configuration: ranks by importance within each budget; cuts, if importance has changed enough
server -> user   configuration: cut and ranks, if they are new
server -> user   increments since the user last took part: factors, or full matrices where these are smaller
user             merges them into its frozen blocks
server -> user   frozen blocks that it has not yet: the backbone at first, then what a deeper cut adds
for each local step, all users side by side:
  user -> server   smashed data, labels
  server           forward, backward and step on the user's own adapters and head
  server -> user   cut-layer gradient
  user             backward and step of its adapters
every `probe_every` rounds, with the first step:
  user -> server   importance of each weight on the device, one number each; the server adds those of its own
user -> server   adapters of the device part
server           increments of all users, stacked, merged into the backbone; new adapters, fresh optimisers
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, MinLen

from learning import steps
from learning.codecs import Codec, Identity
from learning.control.ranks import History
from learning.executor.deferred import specification
from learning.local_training import LocalTraining
from learning.parties import User
from learning.ports import Process
from learning.protocols.rounds import gather
from learning.protocols.split import CutLink, ServerPart, exchange
from learning.scheme import Scheme
from learning.schemes.hsplitlora.costs import Budget, check
from learning.schemes.hsplitlora.model import Configuration, Device, Model, Result, fresh_state
from learning.schemes.hsplitlora.operators import Over, Rule
from learning.schemes.hsplitlora.planner import Planner
from learning.schemes.hsplitlora.probe import Probe
from learning.world import World

USUAL_STEPS = 20


@dataclass(frozen=True)
class HSplitLoRA(LocalTraining, Scheme):
    """Split fine-tuning of adapters with a cut and ranks for each user, exactly aggregated (Lin et al., 2025)."""

    local_steps: Annotated[int, Ge(1)] | None = None
    """Mini-batches between aggregations: a round (default: 20, unless `local_epochs` is given)."""
    ranks: Annotated[tuple[Annotated[int, Ge(1)], ...], MinLen(1)] = (1, 2, 4, 8)
    """Ranks that an adapter can have, ascending; a weight can also have none."""
    importance: Literal["rngwp", "random", "uniform"] = "rngwp"
    """Gradient times weight for its cost, as seen in probes; drawn afresh as often as that; or all alike. Under
    `rngwp` decisions depend on values; the dry executor, which has none, takes all weights to be alike."""
    probe_every: Annotated[int, Ge(1)] = 2
    """Rounds from one probe of importance to the next."""
    history: History = History()
    """How scores of several probes are mixed."""
    configuration: Literal["adaptive", "uniform", "fixed"] = "adaptive"
    """Own ranks and cuts; at the scenario's cut one rank for all weights of a device, as its budget allows; or the
    adapter's rank for everybody, without users who cannot afford it."""
    threshold: Annotated[float, Ge(0)] = 0.2
    """Relative change of importance beyond which cuts are chosen anew."""
    time_weight: Annotated[float, Ge(0)] = 1.0
    """What the mean time of a mini-batch counts, against the largest rank everywhere."""
    budget: Budget = "memory"
    """Whether a device part's bytes are limited, or its FLOPs in a mini-batch."""
    budgets: Annotated[tuple[Annotated[float, Gt(0)], ...], MinLen(1)] | None = None
    """Parts of what the largest rank everywhere costs at the scenario's cut: one number for all users, or one for each
    (default: the devices' memory, where it is limited). Who cannot afford any device part is left out of the run."""
    server_budget: Annotated[float, Gt(0)] = 1.0
    """Part of the cost of the largest rank everywhere, for all users, that the server can afford."""
    aggregation: Rule = "stack"
    """Exact mean of increments; or the product of mean factors, padded with zeros where ranks differ, or all equal."""
    over: Over = "all"
    """Whether a user without an adapter on a weight counts in the mean of that weight."""
    draws: Literal["each", "together"] = "each"
    """Whether every user draws inward factors of its own, or all draw the same."""
    weighting: Literal["by_samples", "uniform"] = "by_samples"
    """Weights of the users in a mean: in proportion to their numbers of samples, or uniform."""
    activations: Codec = Identity()
    """Codec of the smashed data."""
    gradients: Codec = Identity()
    """Codec of the cut-layer gradients."""
    label_bits: Annotated[int, Ge(0)] = 32
    """Bits of a label: a token, in a language model."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if list(self.ranks) != sorted(set(self.ranks)):
            raise ValueError(f"ranks = {list(self.ranks)} do not ascend")
        if self.aggregation == "average" and self.configuration != "fixed":
            raise ValueError("aggregation = average needs equal ranks; set configuration to fixed, or use zero_pad")

    def positions(self, user: User, turn: int) -> range:
        usual = self.local_steps is None and self.local_epochs is None
        return LocalTraining(USUAL_STEPS).positions(user, turn) if usual else super().positions(user, turn)

    @property
    def link(self) -> CutLink:
        """What crosses the cut."""
        return CutLink(activations=self.activations, gradients=self.gradients, label_bits=self.label_bits)

    def run(self, world: World) -> Process[None]:
        planner = Planner(self, world)
        model, devices = Model(world, planner.costs.adapted({})), {user: Device() for user in world.users}
        for number in world.rounds():
            yield from self.round(world, number, planner, model, devices)
            world.models((model.plain.bind(model.frozen), model.head))

    def round(
        self, world: World, number: int, planner: Planner, model: Model, devices: dict[User, Device]
    ) -> Process[Any]:
        plan = planner.plan(number)
        probe = Probe(world, planner.costs.sides) if self._probes(number) else None
        work = {
            user: self.user(world, user, number, devices[user], model, plan[user], probe)
            for user in world.selected(number)
        }
        done = yield from gather(world, work)
        if done:
            results, shares = list(done.values()), world.weights(list(done), self.weighting)
            yield from model.aggregate(self.aggregation, self.over, results, shares)
            model.forget(list(devices.values()))
            if probe:
                planner.learn([each.scores for each in results], shares, number / (world.stop.rounds or number + 1))

    def user(
        self,
        world: World,
        user: User,
        number: int,
        device: Device,
        model: Model,
        configuration: Configuration,
        probe: Probe | None,
    ) -> Process[Any]:
        yield from device.receive(world, user, model, configuration)
        front, back = model.cut(configuration)
        own: tuple[int, ...] = (user.number, number) if self.draws == "each" else (number,)
        below, above = (part.adapted.adapters(world.streams, *own, dtype=world.precision) for part in (front, back))
        state = fresh_state(world, world.optimiser, front)
        replica = ServerPart(world, model.above(above), fresh_state(world, world.server_optimiser, back), back)
        scores: tuple[Any, ...] = ()
        weights: Any = below
        for position in (positions := self.positions(user, number)):
            batch, before = user.batch(position), weights
            if probe and position == positions.start:
                seen = probe.of(user, replica, back, self.gradients)
                weights, state = yield from exchange(world, self.link, user, weights, state, batch, seen.serve, front)
                scores = yield from seen.report(front, before, batch[0])
            else:
                weights, state = yield from exchange(
                    world, self.link, user, weights, state, batch, replica.serve, front
                )
        if specification(weights).leaves:
            weights = yield from user.send(world.server, weights, "model")
        merged = world.executor.submit(steps.merge, weights, replica.weights)
        return Result(configuration.adapted, merged, scores)

    def check(self, world: World) -> None:
        """Raises ValueError unless the scenario has an adapter, and weights for it in two layers or more."""
        super().check(world)
        check(world)

    def left_out(self, world: World) -> list[User]:
        """Users whose budget is too small for any device part. Raises ValueError if that is all."""
        return Planner(self, world).left_out()

    def _probes(self, number: int) -> bool:
        return self.importance == "rngwp" and number % self.probe_every == 0
