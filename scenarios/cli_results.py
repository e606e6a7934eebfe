"""Commands that read the results of runs and sweeps: `netsim compare`, `describe`, `export`, `figure`, `report`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal, get_args

import typer

from scenarios.directory import write_errors
from scenarios.errors import ScenarioError
from scenarios.printing import print_tables

app = typer.Typer(rich_markup_mode=None)

Kind = Literal[
    "metric-over-time",
    "metric-over-energy",
    "metric-over-bits",
    "last-metric",
    "metric-over-snr",
    "pareto",
    "round-time",
    "pass-time",
    "gantt",
    "staleness",
    "latency",
    "goodput",
]
"""Kinds of figures, the keys of `analysis.figures.KINDS`, which takes a second to import."""


@app.command()
def compare(
    folders: Annotated[list[Path], typer.Argument(metavar="FOLDER...", help="Runs or sweeps.", show_default=False)],
    target: Annotated[
        float | None,
        typer.Option(
            help="Target value of the metric [default: the hardest that all runs reached].",
            show_default=False,
        ),
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option(
            help="Metric of the target and of the final value [default: perplexity, or accuracy, or the first].",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Compare runs paired by seed, with confidence intervals: cost to a target, final value, round latency."""
    import analysis

    with _sentences_of_analysis():
        print(analysis.compare(folders, target=target, metric=metric))


@app.command()
def describe(folder: Annotated[Path, typer.Argument(help="The folder of a run.", show_default=False)]) -> None:
    """Print the tables of a run: columns, units, meanings, numbers of rows."""
    import analysis

    with _sentences_of_analysis():
        print_tables(analysis.load(folder).describe())


def _kinds(incomplete: str) -> list[str]:
    """Kinds of figures for a shell to complete from their first letter on; before, it completes names of folders.

    A shell cannot know which word after the folders is the kind.
    """
    return list(get_args(Kind)) if incomplete else []


@app.command()
def figure(
    folders: Annotated[
        list[Path],
        typer.Argument(metavar="FOLDER...", help="Runs or sweeps.", show_default=False, autocompletion=_kinds),
    ],
    kind: Annotated[Kind, typer.Argument(help="What to draw.", show_default=False)],
    out: Annotated[Path, typer.Option("-o", "--out", help="The file: .pdf, .svg or .png.", show_default=False)],
    metric: Annotated[str, typer.Option(help="Metric of a curve or of the target.")] = "accuracy",
    split: Annotated[str, typer.Option(help="Data that the metric is of.")] = "test",
    target: Annotated[float, typer.Option(help="Target value of the metric, for pareto.")] = 0.8,
    arm: Annotated[
        list[str] | None,
        typer.Option(help="Label of a setting to draw; can be repeated [default: all].", show_default=False),
    ] = None,
    round: Annotated[
        int | None, typer.Option(help="Round of a Gantt chart [default: the slowest].", show_default=False)
    ] = None,
    columns: Annotated[int, typer.Option(min=1, max=2, help="Width in columns of a journal.")] = 1,
) -> None:
    """Draw a figure for a paper: curves over time, energy, bits or SNR with the range over seeds, and others.

    pareto: time and energy to the target; round-time and pass-time: their parts on the critical path; gantt: timeline
    of a round; staleness: histogram; latency and goodput: distribution functions.
    """
    with _sentences_of_analysis():
        from analysis.comparison.outcomes import Goal
        from analysis.figures import Choice, draw, save

        drawn = draw(folders, kind, Choice(Goal(metric, target, split), round, tuple(arm or ())), columns)
        with write_errors(out, "figure"):
            save(drawn, out)
    print(out)


@app.command()
def export(
    folder: Annotated[Path, typer.Argument(help="The folder of a run.", show_default=False)],
    out: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--out",
            help="The file, or folder for TensorBoard [default: FOLDER/timeline.json, FOLDER/tensorboard].",
            show_default=False,
        ),
    ] = None,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Write scalars over simulated time for TensorBoard instead.")
    ] = False,
) -> None:
    """Write a run as a timeline that Perfetto (ui.perfetto.dev) and Chrome open: devices, servers, rounds, metrics."""
    import analysis

    if tensorboard:
        board = out or folder / "tensorboard"
        with _sentences_of_analysis(), write_errors(board, "scalars"):
            from analysis.tensorboard import write_tensorboard

            write_tensorboard(analysis.load(folder), board)
        print(board)
        return
    file = out or folder / "timeline.json"
    with _sentences_of_analysis():
        from analysis import files
        from analysis.trace_events import trace_events

        timeline = trace_events(analysis.load(folder))
        with write_errors(file, "timeline"):
            files.write(file, timeline)
    print(file)


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(help="The folder of a run or sweep.", show_default=False)],
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="The page [default: FOLDER/report.html].", show_default=False)
    ] = None,
) -> None:
    """Write one self-contained HTML page with interactive plots of a run or a sweep."""
    from analysis.report import write

    page = out or folder / "report.html"
    with write_errors(page, "report"), _sentences_of_analysis():  # NotARun is an OSError, too
        write(folder, page)
    print(page)


@contextmanager
def _sentences_of_analysis() -> Iterator[None]:
    """Context in which errors of `analysis` about its input are raised as ScenarioError."""
    import analysis
    from analysis.tensorboard import MissingTensorBoard

    problems = (
        MissingTensorBoard,
        analysis.DamagedRun,
        analysis.NotARun,
        analysis.NotASweep,
        analysis.NotComparable,
        analysis.NotRecorded,
        analysis.NoSuchTable,
        analysis.NothingToDraw,
    )
    try:
        yield
    except problems as error:
        raise ScenarioError(str(error)) from error
