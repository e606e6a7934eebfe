"""Figures of runs and sweeps in files, one or two columns wide, as journals print them: `netsim figure`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from analysis import plots, sweep_plots
from analysis.comparison.arms import Arm, Item, arms
from analysis.comparison.outcomes import Goal
from analysis.run import Run, load
from analysis.style import NothingToDraw
from analysis.sweep import Sweep, is_sweep

WIDTHS_IN = {1: 3.5, 2: 7.16}
"""Widths of one and two columns in inches, those of IEEE journals."""

SMALL: dict[Any, Any] = {
    "font.size": 8.0,
    "axes.linewidth": 0.6,
    "lines.linewidth": 1.2,
    "pdf.fonttype": 42,
    "svg.hashsalt": "netsim",
}
"""Settings of matplotlib for figures of these widths; text in a PDF stays text."""

UNDATED = {".pdf": {"CreationDate": None}, ".svg": {"Date": None}}
"""Metadata that keep the date out of a file, by the end of its name: equal runs give equal files."""


@dataclass(frozen=True)
class Choice:
    """What a figure shows, beside the runs."""

    goal: Goal = Goal()
    """Metric that is drawn, and its target in a figure of costs."""
    round: int | None = None
    """Number of the round of a timeline; None is the slowest."""
    arms: tuple[str, ...] = ()
    """Labels of the settings that are drawn, in this order; empty for all of them."""


def _first(found: Sequence[Arm]) -> dict[str, Run]:
    """The run of the first seed of each arm."""
    return {arm.label: next(iter(arm.runs.values())) for arm in found}


def _only(found: Sequence[Arm]) -> Run:
    """The first run, whose timeline is drawn."""
    return next(iter(_first(found).values()))


KINDS: dict[str, Callable[[Sequence[Arm], Choice], Figure]] = {
    "metric-over-time": lambda found, choice: sweep_plots.curves(
        found, choice.goal.metric, "time_s", choice.goal.split
    ),
    "metric-over-energy": lambda found, choice: sweep_plots.curves(
        found, choice.goal.metric, "energy_j", choice.goal.split
    ),
    "metric-over-bits": lambda found, choice: sweep_plots.curves(found, choice.goal.metric, "bits", choice.goal.split),
    "last-metric": lambda found, choice: sweep_plots.finals(found, choice.goal.metric, choice.goal.split),
    "metric-over-snr": lambda found, choice: sweep_plots.over_snr(found, choice.goal.metric),
    "pareto": lambda found, choice: sweep_plots.pareto(found, choice.goal),
    "round-time": lambda found, choice: plots.round_time(_first(found)),
    "pass-time": lambda found, choice: plots.pass_time(_first(found)),
    "gantt": lambda found, choice: plots.gantt(_only(found), choice.round),
    "staleness": lambda found, choice: plots.staleness(_first(found)),
    "latency": lambda found, choice: plots.latency(_first(found)),
    "goodput": lambda found, choice: plots.goodput(_first(found)),
}
"""Function that draws each kind of figure. Curves and Pareto fronts are means over seeds, with the range as a band;
other figures show the first seed of each setting, and a timeline the first run."""


def draw(items: Iterable[Item], kind: str, choice: Choice = Choice(), columns: int = 1) -> Figure:
    """Draw a figure of runs and sweeps.

    Args:
        items: runs, sweeps, or their directories. A run that has not ended is drawn if it is the only item.
        kind: a key of KINDS.
        choice: metric, target and round.
        columns: width in columns of a journal, 1 or 2.

    Raises:
        NothingToDraw: the runs lack what the figure shows, or have no setting of a label in `choice.arms`.
        NotRecorded: a run never evaluated the metric.
        NotARun: a directory holds neither a run nor a sweep.
        NotASweep: the index of a sweep cannot be read.
    """
    found = _chosen(_arms(list(items)), choice.arms)
    with mpl.rc_context(SMALL):
        figure = KINDS[kind](found, choice)
    figure.set_size_inches(WIDTHS_IN[columns], figure.get_figheight())
    return figure


def save(figure: Figure, file: Path) -> None:
    """Save a figure in the format that the end of the file's name says, such as .pdf, .svg or .png.

    Raises:
        NothingToDraw: no such format is known; the message lists those that are.
        OSError: the file cannot be written.
    """
    formats = sorted(figure.canvas.get_supported_filetypes())
    if file.suffix.lower().lstrip(".") not in formats:
        known = ", ".join(f".{each}" for each in formats)
        raise NothingToDraw(f"{file}: figures cannot be written as {file.suffix or 'this'}; the formats are {known}")
    file.parent.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(SMALL):
        figure.savefig(file, metadata=UNDATED.get(file.suffix.lower()))


def _arms(items: Sequence[Item]) -> list[Arm]:
    if len(items) == 1 and not isinstance(items[0], Sweep) and not _is_sweep(items[0]):
        run = items[0] if isinstance(items[0], Run) else load(items[0])
        return [Arm(run.name, {run.seed: run})]
    found, warnings = arms(items)
    if not found:
        raise NothingToDraw("; ".join(["there is nothing to draw: no complete run is left", *warnings]))
    return found


def _chosen(found: Sequence[Arm], labels: Sequence[str]) -> Sequence[Arm]:
    by_label = {arm.label: arm for arm in found}
    if strangers := [label for label in labels if label not in by_label]:
        raise NothingToDraw(f"there is no setting {strangers[0]!r} to draw; there are {', '.join(by_label)}")
    return [by_label[label] for label in labels] or found


def _is_sweep(item: Item) -> bool:
    return not isinstance(item, Run | Sweep) and is_sweep(Path(item))
