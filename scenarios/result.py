"""The outcome of a run, as Python code and notebooks get it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa
from torch import nn

from learning.trained import TrainedModel
from netsim.trace import Trace
from scenarios.progress import RunningTotals, operations
from scenarios.schema import Scenario

if TYPE_CHECKING:
    import pandas as pd

    from analysis import Run

Status = Literal["running", "complete", "diverged", "stalled", "failed", "interrupted"]


@dataclass(frozen=True, repr=False)
class Result:
    """Outcome of a run, with its tables."""

    scenario: Scenario
    status: Status
    """Status at the end; `diverged` only if the scenario stops on divergence."""
    wall_time_s: float
    reached: RunningTotals
    """Rounds, simulated time, bits, energy, and latest metrics at the end of the run."""
    devices_gone: int
    """Number of devices that will never return; a run ends early if that is all of them."""
    operations: Mapping[str, int]
    """Number of torch operations: `asked` (requested), `run` (executed) and `stored` (found in the result cache)."""
    events: int
    """Number of events of the simulation."""
    tables: Mapping[str, Any]
    """Number of rows and content hash of each table, by name."""
    warnings: Sequence[str]
    """One sentence for each part of the scenario that had no effect and was probably meant to have one."""
    directory: Path | None
    """Folder of the run; None if it was not recorded."""
    _trace: Trace
    _models: Sequence[TrainedModel] = ()

    @property
    def accuracy(self) -> float | None:
        """Test accuracy at the last evaluation, if values were computed, and classes or labels are predicted."""
        return self.reached.metrics.get("accuracy")

    @property
    def simulated_time_s(self) -> float:
        """Simulated time at the end of the run."""
        return self.reached.time_s

    @property
    def run(self) -> Run:
        """The run as `analysis.load` reads it, with all measures and views.

        Raises:
            ValueError: it was not recorded.
        """
        from analysis import load

        if self.directory is None:
            raise ValueError("this run was not recorded; give simulate(..., out=FOLDER)")
        return load(self.directory)

    def model(self, user: int | None = None) -> nn.Module:
        """Return the trained model as a module of torch, from samples (batch, ...) to logits (batch, classes).

        Args:
            user: number of the user whose model it is, if users have models of their own; of the team, if teams have.

        Raises:
            ValueError: no model was trained, or there is none for this `user`.
        """
        own = len(self._models) > 1
        if not self._models:
            raise ValueError("the run has no trained model: its scheme trains none, or no values were computed")
        if own and (user is None or not 0 <= user < len(self._models)):
            whose = self._models[0].name.rstrip("0123456789")
            raise ValueError(f"each {whose} has a model of its own; give user, from 0 to {len(self._models) - 1}")
        return self._models[user if own and user is not None else 0].module()

    def table(self, name: str) -> pa.Table:
        """Return the table `name` of the trace, such as `rounds` or `transfers`, for pyarrow."""
        return self._trace.frame(name)

    def frame(self, name: str) -> pd.DataFrame:
        """Return the table `name` of the trace for pandas, with the unit of each column in `attrs["units"]`."""
        from analysis.parquet import in_pandas

        return in_pandas(self.table(name))

    def summary(self) -> dict[str, str]:
        """Return the outcome in words, as `netsim run` prints it."""
        return {
            "simulated time": f"{self.simulated_time_s:.6g} s",
            **(self._learned() if self.scenario.learning else {}),
            **(_requested(self.reached) if self.scenario.traffic else {}),
            "wall time": f"{self.wall_time_s:.1f} s",
            "traces": f"{self.directory / 'traces' if self.directory else ''}",
        }

    def _learned(self) -> dict[str, str]:
        """Totals of the learning rounds; requests of the traffic are not among them."""
        reached = self.reached
        return {
            "rounds": f"{reached.rounds}",
            **{f"final {metric}": _value(value) for metric, value in reached.metrics.items()},
            **({"diverged": self._divergence()} if reached.divergence else {}),
            "uplink": f"{reached.uplink_bits:.4g} bits",
            "downlink": f"{reached.downlink_bits:.4g} bits",
            "energy of users": f"{reached.energy_j:.4g} J",
            "users dropped from rounds": f"{reached.dropped}",
            **({"devices gone permanently": f"{self.devices_gone}"} if self.devices_gone else {}),
            "torch operations": operations(self.operations),
        }

    def _divergence(self) -> str:
        stopped = "; the run stopped there (learning.stop.on_divergence)" if self.status == "diverged" else ""
        return f"{self.reached.divergence}{stopped}"

    def __repr__(self) -> str:
        return f"<Result of {self.scenario.name!r}: {self.status} after {self.reached.rounds} rounds, {self.reached}>"

    def _repr_html_(self) -> str:
        from analysis.notebook import html_table

        return html_table(f"{self.scenario.name}: {self.status}", self.summary())


def _value(value: float) -> str:
    return f"{value:.4f}" if abs(value) < 1e6 else f"{value:.4g}"


def _requested(reached: RunningTotals) -> dict[str, str]:
    """Outcomes of requests, and the latency of those that were served."""
    rows = {"requests": ", ".join(f"{count} {outcome}" for outcome, count in reached.requests.items()) or "none"}
    if served := sorted(reached.latencies_s):
        p95_s = served[ceil(0.95 * len(served)) - 1]
        rows["latency when served"] = f"mean {fmean(served):.4g} s, 95 % within {p95_s:.4g} s"
    return rows
