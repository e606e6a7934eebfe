"""Segments of a forward pass, by hand."""

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest

from learning.inference.timeline import Timeline


@dataclass
class Made:
    """A call of which all instants are given."""

    sent_s: float
    arrived_s: float
    stay: Any
    done_s: float
    end_s: float


def test_segments_follow_the_first_call_that_returns_and_then_wait_for_the_last() -> None:
    """A stage until 1; the first call begins at 1.5, when its expert has been fetched, and is back at 4, the last at
    6; in the next layer nothing is called, and shared experts take until 7.5; the head until 8."""
    first = Made(1.5, 2.0, SimpleNamespace(wait_s=0.25, service_s=1.0), 3.25, 4.0)
    last = Made(1.0, 2.0, SimpleNamespace(wait_s=0.0, service_s=3.0), 5.0, 6.0)
    timeline = Timeline(0.5)
    timeline.trunk(1.0)
    timeline.experts([first, last], 6.0)
    timeline.trunk(7.0)
    timeline.experts([], 7.5)
    timeline.trunk(8.0)
    segments = {name: value for name, value in vars(timeline).items() if name not in ("start_s", "now_s")}
    assert segments == {
        "trunk_s": 0.5 + 1.0 + 0.5,
        "uplink_s": 0.5,
        "queue_s": 0.5 + 0.25,
        "expert_s": 1.0,
        "downlink_s": 0.75,
        "straggle_s": 2.0 + 0.5,
    }
    assert sum(segments.values()) == pytest.approx(8.0 - 0.5)
