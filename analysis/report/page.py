"""One self-contained HTML page about a run: opens offline, in light and in dark, with interactive plots."""

from __future__ import annotations

import json
from html import escape
from pathlib import Path
from string import Template

import pandas as pd
from plotly.io.json import to_json_plotly
from plotly.offline import get_plotlyjs

from analysis.report import gantt, headline, learning, round_time, spending
from analysis.report.panel import Panel
from analysis.run import Run, load

TEMPLATE = Path(__file__).with_name("page.html")

TRAFFIC_COLUMNS = ["user", "direction", "kind", "bits", "lost"]


def write(run_dir: str | Path, out: Path | None = None) -> Path:
    """Write the report of the run in `run_dir` to `out` (default: report.html in the run directory); returns its path.

    A run that is still going on, or died, is reported as far as its tables reach. Raises NotARun as `load` does.
    """
    run = load(run_dir)
    out = out or run.path / "report.html"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(render(run), "utf-8")
    return out


def render(run: Run) -> str:
    """The report as HTML text."""
    begun = _has_a_round(run)
    panels = _panels(run) if begun else [Panel("Nothing to show yet", "No round of this run has ended.")]
    views = {_identity(panel): [figure.to_dict() for figure in panel.views.values()] for panel in panels if panel.views}
    return Template(TEMPLATE.read_text("utf-8")).substitute(
        name=escape(run.name),
        status=escape(str(run.info.get("status", "status unknown"))),
        facts=escape(headline.facts(run)),
        tiles="".join(map(_tile, headline.tiles(run) if begun else [])),
        panels="".join(map(_section, panels)),
        users=_folded("Users", _html_table(headline.users(run))) if begun else "",
        scenario=escape(run.scenario_text),
        information=escape(json.dumps(run.info, indent=2)),
        views=to_json_plotly(views).replace("<", "\\u003c"),  # no string may close the script element it stands in
        plotly=get_plotlyjs(),
    )


def _has_a_round(run: Run) -> bool:
    """Whether a first round has reached every table that the pictures need; tables are not written all at once."""
    rows = run.describe().groupby("table")["rows"].first()
    full, there = ["users", "rounds", "critical_path", "energy"], ["transfers", "computations"]
    return bool((rows.reindex(full, fill_value=0) > 0).all() and set(there) <= set(rows.index))


def _panels(run: Run) -> list[Panel]:
    path = run.critical_path
    return [
        learning.panel(run),
        gantt.panel(run),
        round_time.by_round(path),
        round_time.by_kind(path),
        round_time.by_user(path),
        spending.energy(run.energy),
        spending.traffic(run.table("transfers", TRAFFIC_COLUMNS)),
    ]


def _identity(panel: Panel) -> str:
    return panel.title.lower().replace(" ", "-").replace("'", "")


def _section(panel: Panel) -> str:
    return (
        f'<section><div class="heading"><h2>{escape(panel.title)}</h2>{_selector(panel)}</div>'
        f'<p class="caption">{escape(panel.caption)}</p>'
        + (f'<div class="plot" id="{_identity(panel)}"></div>' if panel.views else "")
        + (f'<p class="note">{escape(panel.note)}</p>' if panel.note else "")
        + "</section>\n"
    )


def _selector(panel: Panel) -> str:
    if len(panel.views) < 2:
        return ""
    options = "".join(f"<option>{escape(label)}</option>" for label in panel.views)
    return f'<select id="{_identity(panel)}-view" aria-label="{escape(panel.title)}: view">{options}</select>'


def _tile(tile: headline.Tile) -> str:
    return (
        f'<div class="tile"><div class="label">{escape(tile.label)}</div><div class="value">{escape(tile.value)}</div>'
        f'<div class="detail">{escape(tile.detail)}</div></div>\n'
    )


def _folded(title: str, content: str) -> str:
    return f'<details><summary>{escape(title)}</summary><div class="scroll">{content}</div></details>\n'


def _html_table(frame: pd.DataFrame) -> str:
    return frame.to_html(index=False, border=0, justify="unset", na_rep="")
