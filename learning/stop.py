"""When a run ends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le


@dataclass(frozen=True)
class Stop:
    """When a run ends: as soon as one of the criteria given holds at the end of a round."""

    rounds: Annotated[int, Ge(1)] | None = None
    """Number of rounds."""
    time_s: Annotated[float, Gt(0)] | None = None
    """Simulated seconds."""
    accuracy: Annotated[float, Gt(0), Le(1)] | None = None
    """Test accuracy at the latest evaluation."""
    on_divergence: Literal["continue", "stop"] = "continue"
    """What happens when the test loss of an evaluation is no longer finite: `continue` goes on until one of the
    criteria holds; `stop` ends the run after that round, with status `diverged`."""

    def __post_init__(self) -> None:
        if self.rounds is None and self.time_s is None and self.accuracy is None:
            raise ValueError("no criterion is given; give rounds, time_s or accuracy, or several of them")
