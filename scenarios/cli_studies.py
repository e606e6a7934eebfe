"""Commands that run many scenarios: `netsim sweep` and `netsim reproduce`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console

from scenarios.cli_store import NoStore, StoreFolder
from scenarios.directory import ENDED
from scenarios.document import assignments
from scenarios.errors import DONE, FAILED, Interrupted
from scenarios.printing import print_findings, print_sweep
from scenarios.shipped import named, shipped
from scenarios.signals import end_children, ending_children
from scenarios.storage import opened, store_folder

if TYPE_CHECKING:
    from scenarios.plan import SweepPlan

app = typer.Typer(rich_markup_mode=None)

Out = Annotated[
    Path | None, typer.Option("-o", "--out", help="Folder of the sweep [default: runs/NAME].", show_default=False)
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="PATH=VALUE", help="Override a field, as in --set network.users.count=20."),
]
Jobs = Annotated[int | None, typer.Option(min=1, help="Runs in parallel [default: one per core].", show_default=False)]
EngineName = Annotated[
    Literal["local", "ray"],
    typer.Option(help="Processes on this machine, or a Ray cluster (RAY_ADDRESS)."),
]


def named_argument(group: str, words: str) -> Any:
    """Return an argument that is a file or the name of a shipped one of a group, which shells complete.

    Args:
        group: scenarios, studies or reproductions.
        words: its help.
    """

    def names() -> list[str]:
        return [file.stem for file in shipped(group)]

    return typer.Argument(help=words, show_default=False, autocompletion=names)


@app.command()
def sweep(
    study: Annotated[Path, named_argument("studies", "A study file (YAML), or the name of a shipped one.")],
    out: Out = None,
    settings: Settings = None,
    jobs: Jobs = None,
    engine: EngineName = "local",
    store: StoreFolder = None,
    no_store: NoStore = False,
) -> int:
    """Run all points of a study. Repeat the command to run those that are not complete."""
    from scenarios.plan import plan

    where = store_folder(store, no_store)
    planned = plan(named(study, "studies"), assignments(settings or []))
    return _sweep(planned, out or Path("runs") / planned.study.name, jobs, engine, where)


@app.command()
def reproduce(
    system: Annotated[str, named_argument("reproductions", "One of `netsim list reproductions`.")],
    out: Out = None,
    quick: Annotated[bool, typer.Option("--quick", help="Smoke version with few seeds; not conclusive.")] = False,
    jobs: Jobs = None,
    engine: EngineName = "local",
    store: StoreFolder = None,
    no_store: NoStore = False,
) -> int:
    """Run the study of a paper; print for each claim the paper's figure, the measured one, and the verdict."""
    from scenarios.plan import plan
    from scenarios.reproduce import claims_of, draw, findings, study_of

    where = store_folder(store, no_store)
    planned = plan(study_of(system), quick=quick)
    reproduction, folder = claims_of(planned), out or Path("runs") / planned.study.name
    if code := _sweep(planned, folder, jobs, engine, where):
        return code
    print_findings(reproduction, findings(reproduction, folder), smoke=quick)
    for picture in draw(reproduction, folder):
        print(picture)
    return DONE


def _sweep(planned: SweepPlan, folder: Path, jobs: int | None, engine: str, where: Path | None) -> int:
    """Run the points that are not complete and print the outcome; returns the exit code."""
    from scenarios.engines import ENGINES
    from scenarios.sweep import SweepRunner
    from scenarios.sweep_display import SweepDisplay

    workers = ENGINES[engine](jobs)
    points = SweepRunner(planned, folder)
    with opened(where) as kept:  # only a check: each run opens it again
        where = where if kept else None
    with ending_children() as signalled:
        try:
            with SweepDisplay(Console(stderr=True)) as display:
                points.run(workers, where, display)
            interrupted = signalled()
        except KeyboardInterrupt:
            interrupted = True
        except Exception:  # workers that were ended raise various errors
            if not (interrupted := signalled()):
                raise
    if interrupted:
        end_children()
        done = f"{points.count(*ENDED)} of {len(points.points)} points have ended"
        raise Interrupted(f"interrupted: {done}; the same command goes on with the others")
    print_sweep(points)
    for point in points.failed():
        print(f"failed: {point.label}, seed {point.seed}: {point.error}", file=sys.stderr)
    return FAILED if points.failed() else DONE
