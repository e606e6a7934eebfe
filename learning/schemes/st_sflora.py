"""Split federated fine-tuning without a downlink of gradients; tokens are chosen by their attention and airtime.

[ST-SFLora, Qiang et al., arXiv 2605.26120; deviations in docs/systems/st_sflora.md]

server -> user   frozen device part             once, if devices do not have it from the beginning
user             forward pass, attention of the class token
user -> server   importance: attention of the patches by rank
server           admission; tokens, share of the band and power of each user
server -> user   allocation
user -> server   class token, tokens kept, merged token; labels
server           gradients of the user's mini-batch at the common adapters and head
server           one step on the mean of the users' gradients
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple

import numpy as np
from annotated_types import Ge
from torch import Tensor

from learning import steps
from learning.adapters import require_adapters
from learning.codecs import FixedWidth
from learning.control.controller import record
from learning.control.rate import Floats
from learning.control.tokens.controller import TokenController, TokenGrant
from learning.control.tokens.importance import importance_by_rank
from learning.control.tokens.upload import UploadCost, upload_cost
from learning.data import Inputs, Rows
from learning.executor.deferred import Deferred, specification
from learning.parties import User
from learning.ports import Process
from learning.protocols.rounds import gather
from learning.protocols.split import CutLink, JointPart, token_draw
from learning.reducers import Selected, importance, patch_tokens, reduce_tokens
from learning.scheme import Scheme
from learning.world import World

IDLE_ROUND_S = 1.0
"""Duration of a round in which no user is admitted, unless its deadline is earlier."""
REPORT_SHARE = 0.5
"""Fraction of a round's deadline that is the deadline of reports, so that the rest is left for uploads."""


@dataclass(frozen=True)
class STSFLora(Scheme):
    """Fine-tuning of server-side adapters; tokens, bandwidth and power maximise attention delivered per second."""

    control: TokenController = TokenController()
    """The controller of tokens, bandwidth and power."""
    selector: Literal["attention", "random", "strided"] = "attention"
    """Which patches are kept: those that the class token attends to most, patches drawn independently for each sample,
    or evenly spaced ones. The last two ignore attention, and `control` then takes all patches as equally important."""
    merge: bool = True
    """Whether the mean of the other patches, weighted by their attention, is sent as one more token."""
    delivers_model: bool = False
    """Whether a device downloads its frozen part when it first takes part; otherwise it has it from the beginning."""
    label_bits: Annotated[int, Ge(0)] = 4
    """Bits of one sample's label."""
    weighting: Literal["by_samples", "uniform"] = "by_samples"
    """Weights of the users in a mean: in proportion to their numbers of samples, or uniform."""

    one_chain = True

    @property
    def stand_in(self) -> str | None:
        """Equal importance of all patches, where decisions otherwise depend on users' reports; else None."""
        by_reports = self._uses_reports and self.control.tokens is None
        return "equal importance of all patches, at which more tokens are sent" if by_reports else None

    def run(self, world: World) -> Process[None]:
        front, back = world.initial(world.front), world.initial(world.back)
        part = JointPart(world, back, world.server_optimiser.init(back))
        ready: set[User] = set() if self.delivers_model else set(world.users)
        grants: dict[User, TokenGrant] = {}
        for number in world.rounds():
            grants = (yield from self.round(world, number, part, ready)) or grants
            world.models((front, part.weights), over=[self.link(grant).deployed() for grant in grants.values()])

    def round(self, world: World, number: int, part: JointPart, ready: set[User]) -> Process[dict[User, TokenGrant]]:
        """Round `number`, which ends with an optimiser step of the server's `part`; returns the users' grants.

        `ready` are the users whose devices have their frozen part; users that download it are added.
        """
        start_s, users = world.env.now, world.selected(number)
        dwell_s = {user: self.control.dwell_s(user, number, world.streams) for user in users}
        costs = {user: upload_cost(world, user.batch(number), self.label_bits) for user in users}
        admitted = self.control.admitted(dwell_s, costs, self._extra_tokens)
        for user in world.users:
            user.node.uplink.allocate(None)
        reports = yield from gather(world, {u: self.report(world, u, number, ready) for u in admitted}, REPORT_SHARE)
        left_s = {user: dwell_s[user] - (world.env.now - start_s) for user in reports}
        grants = self.allocate(world, reports, costs, left_s) if reports else {}
        done = yield from gather(world, {u: self.upload(world, u, reports[u], grants[u], part) for u in grants})
        world.report_participation(len(done), len(users))
        if not admitted:
            yield world.env.timeout(min(IDLE_ROUND_S, world.policy.deadline_s))
        part.step(list(done), world.weights(list(done), self.weighting))
        return grants

    def report(self, world: World, user: User, number: int, ready: set[User]) -> Process[Report]:
        """Forward pass of a user's mini-batch, and its report of importance to the server."""
        if user not in ready:
            yield from world.server.send(user, require_adapters(world.front).frozen, "model")
            ready.add(user)
        x, y = user.batch(number)
        work = (steps.scored_front, world.front, world.front.parameters(), x)
        h, attention = yield from user.do(*work, kind="client_forward")
        by_rank = world.executor.submit(importance, attention)
        by_rank = yield from user.send(world.server, by_rank, "importance")
        return Report(x, y, h, attention, by_rank)

    def allocate(
        self, world: World, reports: Mapping[User, Report], costs: Mapping[User, UploadCost], left_s: dict[User, float]
    ) -> dict[User, TokenGrant]:
        """Decide for the users that have reported, and set their shares of the band and their powers.

        Args:
            world: the world.
            reports: the users' reports.
            costs: what their uploads cost.
            left_s: seconds that are left for each upload, of the users that have reported.

        Returns:
            What each admitted user may send.
        """
        known = self.known_importance(world, reports, costs)
        problem = self.control.problem(known, costs, left_s, self._extra_tokens)
        grants, efficiency = self.control.grants(problem, list(reports))
        record(world.journal, None, {"semantic_efficiency": efficiency})
        for user, grant in grants.items():
            user.node.uplink.allocate(grant.share, grant.power_w)
            record(world.journal, user, grant._asdict())
        return grants

    def known_importance(
        self, world: World, reports: Mapping[User, Report], costs: Mapping[User, UploadCost]
    ) -> Floats:
        """(users, patches): importance by rank on which the decision is based, in the order of `reports`."""
        read = self._uses_reports and world.executor.computes
        values = world.executor.value([each.by_rank for each in reports.values()]) if read else [None] * len(reports)
        known = zip((costs[user] for user in reports), values, strict=True)
        return np.stack([importance_by_rank(cost.samples, cost.patches, value) for cost, value in known])

    def upload(self, world: World, user: User, report: Report, grant: TokenGrant, part: JointPart) -> Process[None]:
        """Download of a user's grant and upload of its tokens, of which the server computes the gradients."""
        yield from world.server.send(user, grant, "allocation", FixedWidth(32))
        reducer, link = self.reducer(grant), self.link(grant)
        shape = specification(report.attention).tree.shape
        u = token_draw(world, user, report.x, *shape) if reducer.random else None
        z = world.executor.submit(reduce_tokens, reducer, report.h, report.attention, u)
        z, y = yield from user.send(world.server, (z, report.y), "activation", link.upload)
        yield from part.serve(user, z, y)

    def link(self, grant: TokenGrant) -> CutLink:
        """Messages across the cut of a user with this grant."""
        return CutLink(tokens=self.reducer(grant), label_bits=self.label_bits)

    def reducer(self, grant: TokenGrant) -> Selected:
        """Which tokens a user with this grant sends."""
        return Selected(grant.tokens, self.selector, self.merge)

    def check(self, world: World) -> None:
        """Raises ValueError unless only the server trains, on tokens, and the uplink can be controlled."""
        if require_adapters(world.front).parameters():
            raise ValueError("devices train nothing here; set learning.adapter.blocks to server")
        patches = patch_tokens(world.front, world.dataset.train.x)
        for user in world.users:
            user.node.uplink.allocate(None)
        self.control.check(world.cohort_size, patches)

    @property
    def _uses_reports(self) -> bool:
        return self.control.attention == "reported" and self.selector == "attention"

    @property
    def _extra_tokens(self) -> int:
        """Tokens sent beside the patches: the class token and the merged one."""
        return 1 + self.merge


class Report(NamedTuple):
    """A user's mini-batch after the forward pass, and the importance of its patches as the server received it."""

    x: Inputs
    """Samples, (samples, ...)."""
    y: Rows
    """Labels, (samples,)."""
    h: Deferred[Tensor]
    """Smashed data with all tokens, (samples, 1 + patches, width)."""
    attention: Deferred[Tensor]
    """Attention of the class token, (samples, 1 + patches)."""
    by_rank: Deferred[Tensor]
    """Importance of the patches by rank, (patches,), as the server received it."""
