"""Commands that read the results of runs and sweeps: `netsim compare`, `describe` and `report`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from scenarios.directory import write_errors
from scenarios.errors import ScenarioError
from scenarios.printing import print_tables

app = typer.Typer(rich_markup_mode=None)


@app.command()
def compare(
    folders: Annotated[list[Path], typer.Argument(metavar="FOLDER...", help="Runs or sweeps.", show_default=False)],
    target: Annotated[float, typer.Option(help="Target value of the metric.")] = 0.8,
    metric: Annotated[str, typer.Option(help="Metric of the target and of the final value.")] = "accuracy",
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

    problems = (
        analysis.DamagedRun,
        analysis.NotARun,
        analysis.NotASweep,
        analysis.NotComparable,
        analysis.NotRecorded,
        analysis.NoSuchTable,
    )
    try:
        yield
    except problems as error:
        raise ScenarioError(str(error)) from error
