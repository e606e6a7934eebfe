"""Time that a transmission spends at no station, on the way from one to another."""

from __future__ import annotations

from math import inf


class Pause:
    """All such time of one transmission."""

    __slots__ = ("_since_s", "total_s")

    def __init__(self) -> None:
        self.total_s = 0.0
        """Of those that are over."""
        self._since_s = inf

    def begin(self, now_s: float) -> None:
        """It has left a station."""
        self._since_s = now_s

    def end(self, now_s: float) -> None:
        """It is at a station again."""
        self.total_s, self._since_s = self.until_s(now_s), inf

    def until_s(self, now_s: float) -> float:
        """What has passed until now."""
        return self.total_s + max(0.0, now_s - self._since_s)
