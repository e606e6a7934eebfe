"""Split federated fine-tuning in one direction, with the tokens that are worth their airtime.

[ST-SFLora, Qiang et al., arXiv 2605.26120; deviations in docs/systems/st_sflora.md]

server -> user   frozen device part             once, if it is not there from the beginning
user             forward pass, attention of the class token
user -> server   importance: attention of the patches by rank
server           who can be admitted; tokens, part of the band and power of each
server -> user   allocation
user -> server   class token, tokens kept, merged token; labels
server           gradients of the user's mini-batch at the common adapters and head
server           one step on the mean of the users' gradients
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Ge, Gt, Interval

from learning import steps
from learning.control.tokens import TokenProblem
from learning.control.tokens.solvers import MAX_COMBINATIONS
from learning.executor.deferred import specification
from learning.parties import User, label_bits
from learning.ports import Process
from learning.protocols.rounds import gather
from learning.protocols.split import token_draw
from learning.reducers.tokens import Selected, importance
from learning.scheme import Scheme
from learning.schemes.st_sflora.cell import ALLOCATION_BITS, Cell, Costs, Grant, Report, fixed, ranked, reduced, solved
from learning.schemes.st_sflora.standing import Standing
from learning.schemes.tsflora import require_tokens
from learning.world import World

PAUSE_S = 1.0
"""Length of a round in which nobody may begin, unless its deadline is earlier."""
REPORTING = 0.5
"""Part of a deadline after which no report is waited for, so that uploads have the rest."""


@dataclass(frozen=True)
class STSFLora(Scheme):
    """Fine-tuning of server-side adapters; tokens, bandwidth and power maximise attention delivered in a second."""

    solver: Literal["published", "improved", "brute"] = "published"
    """The paper's alternation, a search over the latency, or all combinations (for few users and patches)."""
    tokens: Annotated[int, Ge(1)] | None = None
    """Patch tokens that everybody sends, or all that there are (default: the solver decides)."""
    min_tokens: Annotated[int, Ge(1)] = 4
    """Patch tokens that a user sends at least, where the solver decides."""
    selector: Literal["attention", "random", "strided"] = "attention"
    """Patches that the class token attends to most, drawn afresh for each sample, or evenly spaced."""
    merge: bool = True
    """Whether the mean of the other patches, weighted by their attention, is sent as one token."""
    attention: Literal["reported", "flat"] = "reported"
    """What the solver goes by: users' reports, or equal importance of all patches. Reports make decisions depend on
    values; the dry executor, which has none, goes by flat ones, and so do other selectors, which ignore attention."""
    max_energy_j: Annotated[float, Gt(0)] = 0.8
    """What a user may radiate for an upload."""
    fixed_power: Annotated[float, Interval(gt=0, le=1)] | None = None
    """Part of the most power with which everybody sends (default: the solver chooses powers)."""
    bandwidth: Literal["chosen", "equal"] = "chosen"
    """Whether the solver shares out the band, or whoever sends has an equal part."""
    csi: Literal["instantaneous", "average"] = "instantaneous"
    """Whether the solver knows the channel of the moment, or its mean over fading."""
    standing: Standing | None = None
    """How long users stay in the cell; who cannot be done by then is not admitted (default: for ever)."""
    delivers_model: bool = False
    """Whether a device gets its frozen part over the air when it first takes part; else it has it from the start."""
    label_bits: Annotated[int, Ge(0)] = 4
    """Bits of a label."""
    weighting: Literal["by_samples", "uniform"] = "by_samples"
    """Weights of the users in a mean: in proportion to their numbers of samples, or uniform."""

    @property
    def stand_in(self) -> str | None:
        """What decides about tokens in a dry run, where that is reports in any other."""
        return None if self._flat or self.tokens else "equal importance of all patches, at which more tokens are sent"

    @property
    def _flat(self) -> bool:
        return self.attention == "flat" or self.selector != "attention"

    def run(self, world: World) -> Process[None]:
        front, back = world.initial(world.front), world.initial(world.back)
        state, costs = world.server_optimiser.init(back), Costs(world, self.label_bits)
        ready: set[User] = set() if self.delivers_model else set(world.users)
        for number in world.rounds():
            back, state = yield from self.round(world, number, costs, ready, back, state)
            world.models((front, back))

    def round(self, world: World, number: int, costs: Costs, ready: set[User], back: Any, state: Any) -> Process[Any]:
        """Returns the server's weights and its optimiser's state after it."""
        start_s, asked = world.env.now, world.selected(number)
        stays_s = {user: self.stays_s(world, user, number) for user in asked}
        begin = self.admitted(costs, stays_s, number)
        for user in world.users:
            user.node.uplink.allocate(None)
        reports = yield from gather(world, {u: self.report(world, u, number, ready) for u in begin}, REPORTING)
        room_s = {user: stays_s[user] - (world.env.now - start_s) for user in reports}
        grants = self.allocate(world, number, costs, reports, room_s)
        done = yield from gather(world, {u: self.upload(world, u, reports[u], grants[u], back) for u in grants})
        world.took_part(len(done), len(asked))
        if not begin:
            yield world.env.timeout(min(PAUSE_S, world.policy.deadline_s))
        if not done:
            return back, state
        step = (steps.apply_mean, world.server_optimiser, back, state, list(done.values()))
        return world.executor.submit(*step, world.weights(list(done), self.weighting))

    def report(self, world: World, user: User, number: int, ready: set[User]) -> Process[Any]:
        """What a user does before it knows what it may send."""
        if user not in ready:
            yield from world.server.send(user, world.front.frozen, "model")  # type: ignore[union-attr]  # see `check`
            ready.add(user)
        x, y = user.batch(number)
        work = (steps.scored_front, world.front, world.front.parameters(), x)
        h, attention = yield from user.do(*work, kind="client_forward")
        by_rank = world.executor.submit(importance, attention)
        return Report(x, y, h, attention, (yield from user.send(world.server, by_rank, "importance")))

    def allocate(
        self, world: World, number: int, costs: Costs, reports: Mapping[User, Report], room_s: Mapping[User, float]
    ) -> dict[User, Grant]:
        """Decide, put it down, and set parts of the band and powers."""
        if not reports:
            return {}
        users = list(reports)
        each = [costs.of(user, number) for user in users]
        cell = Cell.of(users, self.csi, self.fixed_power)
        problem = TokenProblem(
            importance=ranked(world, costs.patches, reports, self._flat),
            gain_hz_per_w=cell.gain_hz_per_w,
            room_s=np.array([room_s[user] for user in users]),
            token_bits=np.array([mini_batch.token_bits for mini_batch in each]),
            total_hz=cell.total_hz,
            max_power_w=cell.max_power_w,
            max_energy_j=self.max_energy_j,
            min_tokens=self.min_tokens,
            extra_tokens=1 + self.merge,
            overhead_bits=np.array([float(mini_batch.label_bits) for mini_batch in each]),
            own_power=self.fixed_power is None,
            own_width=self.bandwidth == "chosen",
        )
        problem = problem if self.tokens is None else fixed(problem, self.tokens)
        grants, efficiency = solved(problem, users, self.solver)
        world.journal.decision(None, "semantic_efficiency", efficiency)
        for user, grant in grants.items():
            user.node.uplink.allocate(grant.share, grant.power_w)
            for name, value in grant._asdict().items():
                world.journal.decision(user.number, name, value)
        return grants

    def upload(self, world: World, user: User, report: Report, grant: Grant, back: Any) -> Process[Any]:
        """Tokens up; returns the gradients of the server's part."""
        yield from world.server.send(user, None, "allocation", bits=ALLOCATION_BITS)
        reducer = Selected(grant.tokens, self.selector, self.merge)
        shape = specification(report.attention).tree.shape
        u = token_draw(world, user, report.x, *shape) if reducer.random else None
        z = world.executor.submit(reduced, reducer, report.h, report.attention, u)
        extra = label_bits(report.y, self.label_bits)
        z = yield from user.send(world.server, z, "activation", extra_bits=extra)
        work = (steps.back_gradients, world.back, back, z, report.y)
        gradients, _, _ = yield from world.server.do(*work, kind="server_step", user=user)
        return gradients

    def admitted(self, costs: Costs, stays_s: Mapping[User, float], number: int) -> list[User]:
        """Whose standing time is enough for the least upload at nominal speed, with equal parts of the band (Eq. 9)."""
        if self.standing is None:
            return list(stays_s)
        least = self.min_tokens if self.tokens is None else min(self.tokens, costs.patches)
        rates, tokens = Cell.of(list(stays_s), self.csi, self.fixed_power).equal_bps(), least + 1 + self.merge
        takes_s = {u: costs.of(u, number).min_s(u, tokens, rate) for u, rate in zip(stays_s, rates, strict=True)}
        return [user for user, takes in takes_s.items() if takes <= stays_s[user]]

    def stays_s(self, world: World, user: User, number: int) -> float:
        """Standing time, from the beginning of the round."""
        return np.inf if self.standing is None else self.standing.seconds(user.number, number, world.streams)

    def check(self, world: World) -> None:
        """Raises ValueError unless only the server trains, on tokens, and the uplink can be controlled."""
        patches = require_tokens(world)
        if world.front.parameters():
            raise ValueError("devices train nothing here; set learning.adapter.blocks to server")
        for user in world.users:
            user.node.uplink.allocate(None)
        if self.tokens is not None:
            return
        if self.min_tokens > patches:
            raise ValueError(f"min_tokens is {self.min_tokens}, but there are {patches} patches")
        choices = patches - self.min_tokens + 1
        if self.solver == "brute" and choices**world.wanted > MAX_COMBINATIONS:
            raise ValueError(
                f"{world.wanted} users with {choices} choices each are more than "
                f"{MAX_COMBINATIONS} combinations; take another solver"
            )
