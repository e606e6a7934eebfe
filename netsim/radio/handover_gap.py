"""Handover gaps: the time in which a transmission has no serving station, between two of them."""

from __future__ import annotations

from math import inf


class HandoverGap:
    """The handover gaps of one transmission, added up in seconds."""

    __slots__ = ("_since_s", "total_s")

    def __init__(self) -> None:
        self.total_s = 0.0
        """Length of the gaps that are over."""
        self._since_s = inf

    def begin(self, now_s: float) -> None:
        """The transmission leaves its station at `now_s`."""
        self._since_s = now_s

    def end(self, now_s: float) -> None:
        """The transmission arrives at its next station at `now_s`."""
        self.total_s, self._since_s = self.until_s(now_s), inf

    def until_s(self, now_s: float) -> float:
        """Length in seconds of all gaps until `now_s`, one that is still open included."""
        return self.total_s + max(0.0, now_s - self._since_s)
