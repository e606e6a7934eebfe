"""Output of the commands on stdout: formatted tables on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from rich.console import Console
from rich.table import Table

from scenarios.errors import BrokenPlugIn
from scenarios.progress import operations

if TYPE_CHECKING:
    import pandas as pd

    from analysis.claims import Finding
    from scenarios.cost import RunCost
    from scenarios.repeat import Difference
    from scenarios.result import Result
    from scenarios.study import Reproduction
    from scenarios.sweep import SweepRunner


def print_summary(result: Result) -> None:
    """Print the outcome of a run."""
    print_rows(result.scenario.name, result.summary())
    print_warnings(result.warnings)


def print_warnings(sentences: Sequence[str]) -> None:
    """Print warnings about a scenario, one line each."""
    for sentence in sentences:
        print(f"warning: {sentence}")


@contextmanager
def plug_in_warnings() -> Iterator[None]:
    """Print warnings about broken plug-ins in here as one line on stderr."""
    with warnings.catch_warnings():
        show_others = warnings.showwarning

        def show(
            message: Warning | str,
            category: type[Warning],
            filename: str,
            lineno: int,
            file: TextIO | None = None,
            line: str | None = None,
        ) -> None:
            if issubclass(category, BrokenPlugIn):
                print(f"warning: {message}", file=sys.stderr)
            else:
                show_others(message, category, filename, lineno, file, line)

        warnings.showwarning = show
        yield


def print_sweep(sweep: SweepRunner) -> None:
    """Print the outcome of a sweep."""
    before = f" ({sweep.skipped} of them before)" if sweep.skipped else ""
    diverged = f", {sweep.count('diverged')} stopped as diverged" if sweep.count("diverged") else ""
    rows = {
        "points": f"{sweep.count('complete')} of {len(sweep.points)} complete{diverged}{before}",
        "torch operations": operations(sweep.operations),
        "wall time": f"{sweep.wall_time_s:.1f} s",
        "runs": f"{sweep.directory / 'points'}",
    }
    print_rows(sweep.name, rows)


def print_findings(reproduction: Reproduction, found: Sequence[Finding], *, smoke: bool = False) -> None:
    """Print for each claim the figure in the paper, the figure measured here, the rule, and the verdict.

    Only findings are counted at the end, not claims that are checks or hold by construction. With `smoke` a verdict
    says no more than whether the rule was met, as the runs were too short to conclude from.
    """
    screen = console()
    screen.print(reproduction.paper, style="bold")
    if smoke:
        screen.print("SMOKE: short runs that only show that the study works; nothing follows from their figures")
    for number, finding in enumerate(found, 1):
        claim, pairs = finding.claim, "paired seeds" if finding.claim.against else "seeds"
        against = f" against {claim.against}" if claim.against else ""
        rows = {
            "claim": claim.says,
            "figure in the paper": claim.figure or "none given",
            "figure here": f"{finding.mean:.4g}, {finding.low:.4g} to {finding.high:.4g} ({finding.seeds} {pairs})",
            "of": f"{claim.arm}{against}",
            "rule": claim.rule,
            **(
                {"rule met here": "no" if finding.verdict == "does not hold" else "yes"}
                if smoke
                else {"verdict": finding.verdict}
            ),
        }
        print_rows(f"{claim.nature.replace('_', ' ')} {number}", rows)
    if not smoke:
        print_verdicts(found)


def print_verdicts(found: Sequence[Finding]) -> None:
    """Print the number of findings by verdict, and the number of claims of each other nature."""
    verdicts = Counter[str](each.verdict for each in found if each.claim.nature == "finding")
    others = Counter(each.claim.nature.replace("_", " ") for each in found if each.claim.nature != "finding")
    judged = f"{verdicts.total()} findings: {_counts(verdicts)}" if verdicts else "no findings"
    console().print(f"{judged}; not counted: {_counts(others)}" if others else judged)


def _counts(counter: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counter.items())


def print_tables(description: pd.DataFrame) -> None:
    """Print the tables of a run: columns, units, meanings, row counts, and which are damaged."""
    screen = console()
    for name, columns in description.groupby("table", sort=False):
        rows = columns["rows"].iloc[0]
        if columns["rows"].isna().any():
            screen.print(f"{name}: damaged; {columns['meaning'].iloc[0]}", "", markup=False)
            continue
        table = Table(box=None, title=f"{name}: {rows:.0f} rows", title_justify="left", title_style="bold")
        for heading in ("column", "type", "unit", "meaning"):
            table.add_column(heading, overflow="fold")
        for cells in columns[["column", "type", "unit", "meaning"]].itertuples(index=False):
            table.add_row(*cells)
        screen.print(table, "")


def print_difference(difference: Difference) -> None:
    """Print the first row in which a run and its repetition differ."""
    title = f"different: table {difference.table}, row {difference.row}"
    table = Table(box=None, title=title, title_justify="left", title_style="bold")
    for heading in ("", "column", "recorded", "now"):
        table.add_column(heading, overflow="fold")
    for cell in difference.cells:
        table.add_row("*" if cell.differs else "", cell.column, cell.recorded, cell.now)
    console().print(table)


def print_cost(cost: RunCost | str) -> None:
    """Print the predicted cost of a scenario, or why it cannot be predicted."""
    if isinstance(cost, str):
        print(cost)
        return
    table = Table(box=None, title="expected cost, extrapolated from the first rounds", title_justify="left")
    for heading in ("", "a round", "the run"):
        table.add_column(heading, justify="left" if not heading else "right")
    table.add_row("rounds", "", "unknown" if cost.rounds is None else f"at most {cost.rounds}")
    quantities = {
        "simulated time": (cost.simulated_time_s, "s"),
        "uplink": (cost.uplink_bits, "bits"),
        "downlink": (cost.downlink_bits, "bits"),
        "events": (cost.events, ""),
        "tables, uncompressed": (cost.tables_bytes, "bytes"),
        "computation": (cost.flops, "FLOPs"),
        "wall time": (cost.wall_time_s, "s"),
    }
    for name, (value, unit) in quantities.items():
        total = None if value is None or cost.rounds is None else value * cost.rounds
        table.add_row(name, *("unknown" if each is None else f"about {each:.3g} {unit}" for each in (value, total)))
    if cost.pretraining_wall_s:
        table.add_row("pretraining, wall time", "", f"about {cost.pretraining_wall_s:.3g} s")
    console().print(table)
    if cost.pretraining_wall_s:
        print("pretraining is not included above; once it is in the result cache, it takes no time")
    if cost.stand_in:
        print(f"a run decides by computed values; this prediction uses a stand-in: {cost.stand_in}")


def print_rows(title: str, rows: Mapping[str, str]) -> None:
    """Print a table of names and values under a title."""
    table = Table(box=None, title=title, title_justify="left", title_style="bold", show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows.items():
        table.add_row(name, value)
    console().print(table)


def console() -> Console:
    """Console on stdout that folds long lines on a terminal only."""
    return Console(highlight=False, soft_wrap=not sys.stdout.isatty())
