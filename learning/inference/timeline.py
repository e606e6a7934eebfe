"""Where the time of a forward pass goes: segments that follow each other from its beginning to its end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from learning.protocols.experts import SiteCall


@dataclass
class Timeline:
    """The segments of a pass that began at `start_s`, in seconds, and has come to `now_s`.

    In a layer with experts they are those of the first call that returns; what follows until the user goes on is
    `straggle_s`. So their sum is the duration of the pass.
    """

    start_s: float
    now_s: float = field(init=False)
    trunk_s: float = field(default=0.0, init=False)
    uplink_s: float = field(default=0.0, init=False)
    queue_s: float = field(default=0.0, init=False)
    expert_s: float = field(default=0.0, init=False)
    downlink_s: float = field(default=0.0, init=False)
    straggle_s: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self.now_s = self.start_s

    def trunk(self, end_s: float) -> None:
        """Work of the user's device that has ended at `end_s`."""
        self.trunk_s += end_s - self.now_s
        self.now_s = end_s

    def uplink(self, end_s: float) -> None:
        """Tokens on their way to a gate at the station, until `end_s`."""
        self.uplink_s += end_s - self.now_s
        self.now_s = end_s

    def downlink(self, end_s: float) -> None:
        """Sums of outputs on their way from the station, until `end_s`."""
        self.downlink_s += end_s - self.now_s
        self.now_s = end_s

    def straggle(self, end_s: float) -> None:
        """Waiting for work that goes on beside, until `end_s`."""
        self.straggle_s += end_s - self.now_s
        self.now_s = end_s

    def experts(self, calls: Sequence[SiteCall], end_s: float) -> None:
        """A layer of experts, whose outputs were in at `end_s`; `calls` are in the order of their ends."""
        for call in calls[:1]:
            assert call.stay is not None
            self.uplink_s += call.arrived_s - call.sent_s
            self.expert_s += call.stay.service_s
            # A call may begin late, when a missing expert has been fetched.
            self.queue_s += call.sent_s - self.now_s + call.done_s - call.arrived_s - call.stay.service_s
            self.downlink_s += call.end_s - call.done_s
            self.now_s = call.end_s
        self.straggle(end_s)
