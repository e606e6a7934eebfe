"""The command line `netsim`.

Torch and the schema are imported inside the commands that need them, so that help and usage errors come at once.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from scenarios.document import Document, assignments
from scenarios.errors import FieldError, RunFailed, ScenarioError

if TYPE_CHECKING:
    from scenarios.cost import Cost
    from scenarios.run import Result
    from scenarios.schema import Scenario

DONE, FAILED, WRONG_INPUT, INTERRUPTED = 0, 1, 2, 130

app = typer.Typer(
    name="netsim",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

ScenarioFile = Annotated[Path, typer.Argument(help="A scenario file (YAML).", show_default=False)]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="PATH=VALUE", help="Override a field, as in --set network.users.count=20."),
]
Seed = Annotated[int | None, typer.Option(help="Override the seed.", show_default=False)]
RunFolder = Annotated[Path, typer.Argument(help="The folder of a run.", show_default=False)]


def main(arguments: list[str] | None = None) -> None:
    """Entry point of the console script: one sentence on stderr and an exit code, whatever happens."""
    usage_error: Any = typer.BadParameter.__base__  # typer does not export it under its own name
    try:
        code = typer.main.get_command(app).main(arguments, prog_name="netsim", standalone_mode=False)
    except (ScenarioError, RunFailed) as error:
        print(error, file=sys.stderr)
        code = FAILED if isinstance(error, RunFailed) else WRONG_INPUT
    except usage_error as error:
        print(f"netsim: {' '.join(error.format_message().split())}", file=sys.stderr)
        code = WRONG_INPUT
    except (KeyboardInterrupt, typer.Abort):
        print("interrupted", file=sys.stderr)
        code = INTERRUPTED
    except BrokenPipeError:  # whoever read the output has gone; Python would complain once more when it flushes
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = FAILED
    sys.exit(code or DONE)


@app.callback(invoke_without_command=True)
def help_(context: typer.Context) -> None:
    """Simulate a wireless cell and the learning in it."""
    if context.invoked_subcommand is None:
        print(context.get_help())


@app.command()
def run(
    scenario: ScenarioFile,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Folder of the run [default: runs/NAME].", show_default=False)
    ] = None,
    settings: Settings = None,
    seed: Seed = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print nothing but errors.")] = False,
) -> int:
    """Simulate a scenario: progress on stderr, a summary and the place of the traces on stdout."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    document, described = _load(scenario, settings, seed)
    folder = out or Path("runs") / described.name
    result = _simulate(document, described, folder, quiet)
    if result.status == "interrupted":
        print(f"interrupted at {result.reached}; the traces so far are in {folder / 'traces'}", file=sys.stderr)
        return INTERRUPTED
    if not quiet:
        _print_summary(result)
    return DONE


@app.command()
def check(scenario: ScenarioFile, settings: Settings = None, seed: Seed = None) -> None:
    """Validate a scenario; print it with all defaults, and what it will cost."""
    from scenarios.cost import predict
    from scenarios.schema import resolved

    document, described = _load(scenario, settings, seed)
    cost: Cost | RunFailed | None
    try:
        cost = predict(described)
    except FieldError as error:
        raise _placed(error, document) from error
    except RunFailed as error:
        cost = error
    print(resolved(described))
    if isinstance(cost, RunFailed):
        print(f"the cost is unknown: a trial round {cost}")
    else:
        _print_cost(cost)


@app.command("list")
def list_(
    kind: Annotated[
        str | None, typer.Argument(help="schemes, models, datasets, channels, ...", show_default=False)
    ] = None,
) -> None:
    """What can be named in a scenario, one line each."""
    from scenarios.catalogue import entries

    rows = list(entries(kind))
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    for group, name, line in rows:
        print(f"{group:<{widths[0]}}  {name:<{widths[1]}}  {line}")


@app.command()
def schema() -> None:
    """JSON Schema of the scenario file, for editors."""
    from scenarios.schema import json_schema

    print(json.dumps(json_schema(), indent=2))


@app.command()
def describe(folder: RunFolder) -> None:
    """The tables of a run: columns, units, meanings, row counts."""
    from scenarios.tables import describe

    console = _console()
    for contents in describe(folder):
        table = Table(
            box=None, title=f"{contents.name}: {contents.rows} rows", title_justify="left", title_style="bold"
        )
        for heading in ("column", "type", "unit", "meaning"):
            table.add_column(heading, overflow="fold")
        for column in contents.columns:
            table.add_row(column.name, column.kind, column.unit, column.meaning)
        console.print(table, "")


@app.command()
def report(
    folder: RunFolder,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="The page [default: FOLDER/report.html].", show_default=False)
    ] = None,
) -> None:
    """Write one self-contained HTML page with interactive plots of a run."""
    from analysis.report import write
    from scenarios.directory import record

    if record(folder) is None:
        raise ScenarioError(f"{folder}: found no run there; name the folder that `netsim run` wrote")
    page = out or folder / "report.html"
    write(folder, page)
    print(page)


def _load(file: Path, settings: list[str] | None, seed: int | None) -> tuple[Document, Scenario]:
    overrides = assignments(settings or [])
    if seed is not None:
        overrides["seed"] = seed
    from scenarios.schema import document, interpret

    read = document(file, overrides)
    return read, interpret(read)


def _placed(error: FieldError, document: Document) -> ScenarioError:
    return ScenarioError(f"{document.place(error.path) if error.path else document.source}: {error}")


def _simulate(document: Document, scenario: Scenario, folder: Path, quiet: bool) -> Result:
    from scenarios.progress import Display
    from scenarios.run import simulate

    stop = scenario.learning.stop if scenario.learning else None
    console = Console(stderr=True, quiet=quiet)
    try:
        with Display(console, scenario.name, stop.rounds if stop else None, stop.time_s if stop else None) as display:
            return simulate(scenario, folder, display)
    except FieldError as error:
        raise _placed(error, document) from error


def _print_summary(result: Result) -> None:
    reached = result.reached
    rows = {
        "rounds": f"{reached.rounds}",
        "simulated time": f"{reached.time_s:.6g} s",
        **{f"final {metric}": f"{value:.4f}" for metric, value in reached.metrics.items()},
        "uplink": f"{reached.uplink_bits:.4g} bits",
        "downlink": f"{reached.downlink_bits:.4g} bits",
        "energy of users": f"{reached.energy_j:.4g} J",
        "users dropped from rounds": f"{reached.dropped}",
        "torch operations": f"{result.operations['run']} run of {result.operations['asked']} asked for",
        "wall time": f"{result.wall_time_s:.1f} s",
        "traces": f"{result.directory / 'traces' if result.directory else ''}",
    }
    _print_rows(result.scenario.name, rows)


def _print_cost(cost: Cost | None) -> None:
    if cost is None:
        print("no learning: nothing happens in this scenario")
        return
    table = Table(box=None, title="expected cost, extrapolated from the first rounds", title_justify="left")
    for heading in ("", "a round", "the run"):
        table.add_column(heading, justify="left" if not heading else "right")
    table.add_row("rounds", "", "unknown" if cost.rounds is None else f"at most {cost.rounds}")
    quantities = {
        "simulated time": (cost.simulated_time_s, "s"),
        "uplink": (cost.uplink_bits, "bits"),
        "downlink": (cost.downlink_bits, "bits"),
        "computation": (cost.flops, "FLOPs"),
        "wall time": (cost.wall_time_s, "s"),
    }
    for name, (value, unit) in quantities.items():
        total = None if value is None or cost.rounds is None else value * cost.rounds
        table.add_row(name, *("unknown" if each is None else f"about {each:.3g} {unit}" for each in (value, total)))
    _console().print(table)


def _print_rows(title: str, rows: dict[str, str]) -> None:
    table = Table(box=None, title=title, title_justify="left", title_style="bold", show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows.items():
        table.add_row(name, value)
    _console().print(table)


def _console() -> Console:
    return Console(highlight=False, soft_wrap=not sys.stdout.isatty())
