"""The command line `netsim`.

Torch and the schema are imported inside the commands that need them, so that help and usage errors come at once.
"""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console

from scenarios import cli_results, cli_store, cli_studies
from scenarios.cli_store import NoStore, StoreFolder
from scenarios.cli_studies import Settings, named_argument
from scenarios.directory import ENDED, record
from scenarios.document import Document, assignments, document
from scenarios.errors import (
    DONE,
    FAILED,
    INTERRUPTED,
    WRONG_INPUT,
    FieldError,
    Interrupted,
    RunFailed,
    ScenarioError,
    nearest,
)
from scenarios.hidden_packages import hidden
from scenarios.kinds import KINDS
from scenarios.printing import plug_in_warnings, print_cost, print_difference, print_rows, print_summary, print_warnings
from scenarios.shipped import named
from scenarios.signals import end_process, ending_on_signals
from scenarios.storage import opened, store_folder

if TYPE_CHECKING:
    from learning.store import Store
    from scenarios.progress import Display
    from scenarios.result import Result
    from scenarios.schema import Scenario

app = typer.Typer(
    name="netsim",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

app.add_typer(cli_studies.app)
app.add_typer(cli_results.app)
app.add_typer(cli_store.app, name="store")

NOT_ONE_OF = re.compile(r"'([^']*)' is not one of (.*)\.")
"""What typer says of a value that is none of a few: the value, and those that are allowed in quotation marks."""

ScenarioFile = Annotated[Path, named_argument("scenarios", "A scenario file (YAML), or the name of a shipped one.")]
Seed = Annotated[int | None, typer.Option(help="Override the seed.", show_default=False)]


def main(arguments: list[str] | None = None) -> None:
    """Carry out a command: one sentence on stderr and an exit code, whatever happens.

    Without arguments they are those of this process, which is then that of the command, and signals end it at once.
    """
    if arguments is None:
        ending_on_signals()
        end_process(_exit_code(None))
    sys.exit(_exit_code(arguments))


def _exit_code(arguments: list[str] | None) -> int:
    usage_error: Any = typer.BadParameter.__base__  # typer does not export it under its own name
    try:
        with plug_in_warnings():
            code = typer.main.get_command(app).main(arguments, prog_name="netsim", standalone_mode=False)
        if code == INTERRUPTED:  # returned by typer after a signal, without a message
            print("interrupted", file=sys.stderr)
    except (ScenarioError, RunFailed) as error:
        print(error, file=sys.stderr)
        code = FAILED if isinstance(error, RunFailed) else WRONG_INPUT
    except usage_error as error:
        print(f"netsim: {_usage_sentence(error.format_message())}", file=sys.stderr)
        code = WRONG_INPUT
    except (Interrupted, KeyboardInterrupt, typer.Abort) as error:
        print(str(error) or "interrupted", file=sys.stderr)
        code = INTERRUPTED
    except BrokenPipeError:  # the reader of the output has ended; avoids a second error when Python flushes
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = FAILED
    return code or DONE


def _usage_sentence(message: str) -> str:
    """What typer says of wrong usage in one line, with the nearest of the values that are allowed."""
    sentence = " ".join(message.replace("Value error, ", "").split())
    if found := NOT_ONE_OF.search(sentence):
        close = nearest(found[1], re.findall(r"'([^']*)'", found[2]))
        sentence += f" Did you mean '{close}'?" if close else ""
    return sentence


def _print_version(asked: bool) -> None:
    if asked:
        from scenarios.source import version

        print(f"netsim {version()}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def help_(
    context: typer.Context,
    asked_version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
    modules: Annotated[
        list[str] | None,
        typer.Option(
            "--import",
            metavar="MODULE",
            help="Import a module (or .py file) with parts of your own; may be given several times.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Simulate learning over wireless networks."""
    if sentence := hidden():
        raise ScenarioError(f"netsim: {sentence}")
    if modules:
        from scenarios.plugins import import_own

        for module in modules:
            import_own(module)
    if context.invoked_subcommand is None:
        print(context.get_help())


@app.command()
def run(
    scenario: Annotated[
        Path,
        named_argument(
            "scenarios", "A scenario file (YAML), or the name of a shipped one; with --check the folder of a run."
        ),
    ],
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Folder of the run [default: runs/NAME].", show_default=False)
    ] = None,
    settings: Settings = None,
    seed: Seed = None,
    init_from: Annotated[
        Path | None,
        typer.Option(help="File of initial weights (learning.init_from), relative to here.", show_default=False),
    ] = None,
    store: StoreFolder = None,
    no_store: NoStore = False,
    repeats: Annotated[bool, typer.Option("--check", help="Repeat a recorded run and compare its tables.")] = False,
    again: Annotated[
        bool, typer.Option("--replace", help="Replace a finished run of another scenario in the folder.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print errors only.")] = False,
    engine: Annotated[
        Literal["local", "ray"],
        typer.Option(help="Workers (learning.workers) on this machine, or on a Ray cluster (RAY_ADDRESS)."),
    ] = "local",
) -> int:
    """Simulate a scenario: progress on stderr, a summary and the path of the traces on stdout.

    After a crash, repeat the command: results are read from the result cache, and the tables are the same.
    """
    if repeats:
        if out or settings or store or init_from or seed is not None:
            raise ScenarioError(
                "netsim: run --check takes the folder of a run alone: no -o, --set, --seed, --store or --init-from"
            )
        import scenarios.run

        return _check_run(scenario, quiet)
    read = _read(scenario, settings, seed, init_from)
    import scenarios.run  # noqa: F401  takes seconds, with torch
    from scenarios.schema import interpret

    described = interpret(read)
    folder = out or Path("runs") / described.name
    if not again:
        _check_not_lost(folder, described)
    with opened(store_folder(store, no_store)) as kept:
        result = _simulate(read, described, folder, quiet, kept, engine)
    if result.status == "interrupted":
        raise Interrupted(f"interrupted at {result.reached}; the traces so far are in {folder / 'traces'}")
    if not quiet:
        print_summary(result)
    return DONE


@app.command()
def check(scenario: ScenarioFile, settings: Settings = None, seed: Seed = None) -> None:
    """Validate a scenario, print it with all defaults, and predict its cost.

    What `run` rejects, or what fails in its first rounds, ends with the same message and exit code here.
    """
    read = _read(scenario, settings, seed)
    from scenarios.cost import predict
    from scenarios.granularity import granularity
    from scenarios.sanity import beyond_reach, implausible, known_end_s, spans, unasked, warnings
    from scenarios.schema import Scenario, interpret, parts, resolved
    from scenarios.unusual import unusual

    described = interpret(read)
    try:
        with opened(store_folder(None)) as kept:
            cost = predict(described, kept)
    except FieldError as error:
        raise _placed(error, read) from error
    print(resolved(described))
    print_rows("granularity", granularity(described))
    print_cost(cost)
    end_s = known_end_s(described)
    if end_s is None and not isinstance(cost, str) and cost.rounds is not None:
        end_s = cost.rounds * cost.simulated_time_s
    unseen = [] if end_s is None else warnings(spans(described), end_s)
    print_warnings([*unusual(parts().plain(described, Scenario)), *implausible(described)])
    print_warnings([*unasked(described), *beyond_reach(described), *unseen])


@app.command("list")
def list_(
    kind: Annotated[
        str | None,
        typer.Argument(
            help="schemes, models, datasets, channels, ...", show_default=False, autocompletion=lambda: list(KINDS)
        ),
    ] = None,
) -> None:
    """List what a scenario can name, one line each: kind, name, a field that takes it, and meaning.

    Of files, the third column is the command that runs them.
    """
    from scenarios.catalogue import entries

    rows = list(entries(kind))
    widths = [max(len(row[column]) for row in rows) for column in (0, 1, 2)]
    for row in rows:
        print(*(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=False)), row.meaning, sep="  ")


@app.command()
def schema() -> None:
    """Print the JSON Schema of the scenario file, for editors."""
    from scenarios.schema import json_schema

    print(json.dumps(json_schema(), indent=2))


def _read(file: Path, settings: list[str] | None, seed: int | None, init_from: Path | None = None) -> Document:
    overrides = assignments(settings or [])
    if init_from is not None:
        overrides["learning.init_from"] = os.path.abspath(init_from)
    if seed is not None:
        overrides["seed"] = seed
    return document(named(file), overrides)


def _placed(error: FieldError, document: Document) -> ScenarioError:
    return ScenarioError(f"{document.place(error.path) if error.path else document.source}: {error}")


def _simulate(
    document: Document,
    scenario: Scenario,
    folder: Path,
    quiet: bool,
    store: Store | None,
    engine: Literal["local", "ray"],
) -> Result:
    from scenarios.run import simulate

    try:
        with _display(scenario, quiet) as display:
            return simulate(scenario, folder, display, store, engine)
    except FieldError as error:
        raise _placed(error, document) from error


def _display(scenario: Scenario, quiet: bool) -> Display:
    from scenarios.progress import Display, horizon

    return Display(Console(stderr=True, quiet=quiet), scenario.name, *horizon(scenario))


def _check_not_lost(folder: Path, scenario: Scenario) -> None:
    """Check that a folder holds no finished run of another scenario, which would be replaced.

    Raises:
        ScenarioError: it does; the message names some fields that differ.
    """
    from scenarios.changes import changed_fields

    if (record(folder) or {}).get("status") in ENDED and (changed := changed_fields(folder, scenario)):
        raise ScenarioError(
            f"{folder}: holds a finished run of another scenario ({changed}); "
            "name another folder with -o, or replace it with --replace"
        )


def _check_run(folder: Path, quiet: bool) -> int:
    from scenarios.repeat import other_processor, recorded, repeat

    scenario = recorded(folder)
    print_warnings([sentence] if (sentence := other_processor(folder)) else [])
    with _display(scenario, quiet) as display:
        difference = repeat(folder, scenario, display)
    if difference is None:
        print("identical")
        return DONE
    print_difference(difference)
    return FAILED
