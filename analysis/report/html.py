"""Assembly of panels, headline numbers and tables in one HTML file that works offline, with light and dark theme."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from string import Template

import pandas as pd
from plotly.io.json import to_json_plotly
from plotly.offline import get_plotlyjs

from analysis.report.headline import Tile
from analysis.report.panel import Panel

TEMPLATE = Path(__file__).with_name("page.html")


def document(
    name: str, status: str, facts: str, tiles: Iterable[Tile], panels: Sequence[Panel], details: Iterable[str]
) -> str:
    """Return the page as HTML.

    Args:
        name: title.
        status: status of the run or sweep.
        facts: a line below the title.
        tiles: headline numbers.
        panels: panels in the order of the page.
        details: sections at its end, from `folded`.
    """
    views = {_identity(panel): [figure.to_dict() for figure in panel.views.values()] for panel in panels if panel.views}
    return Template(TEMPLATE.read_text("utf-8")).substitute(
        name=escape(name),
        status=escape(status),
        facts=escape(facts),
        tiles="".join(map(_tile, tiles)),
        panels="".join(map(_section, panels)),
        details="".join(details),
        views=to_json_plotly(views).replace("<", "\\u003c"),  # else a string could close the script element
        plotly=get_plotlyjs(),
    )


def folded(title: str, content: pd.DataFrame | str) -> str:
    """Return a table or plain text as an HTML section that is closed at first."""
    inner = f"<pre>{escape(content)}</pre>" if isinstance(content, str) else _table(content)
    return f"<details><summary>{escape(title)}</summary>{inner}</details>\n"


def _table(frame: pd.DataFrame) -> str:
    """HTML of a table; a missing value is an empty cell, and line breaks in cells are kept."""
    rows = [("th", list(frame)), *(("td", row) for row in frame.astype(object).to_numpy().tolist())]
    lines = ["".join(f"<{tag}>{_cell(value)}</{tag}>" for value in row) for tag, row in rows]
    return f'<div class="scroll"><table>{"".join(f"<tr>{line}</tr>" for line in lines)}</table></div>'


def _cell(value: object) -> str:
    return "" if value is None or value is pd.NA else escape(str(value))


def _identity(panel: Panel) -> str:
    return panel.title.lower().replace(" ", "-").replace("'", "")


def _section(panel: Panel) -> str:
    return (
        f'<section><div class="heading"><h2>{escape(panel.title)}</h2>{_selector(panel)}</div>'
        f'<p class="caption">{escape(panel.caption)}</p>'
        + (f'<div class="plot" id="{_identity(panel)}"></div>' if panel.views else "")
        + (_table(panel.table) if panel.table is not None else "")
        + _listed(panel.lines)
        + (f'<p class="note">{escape(panel.note)}</p>' if panel.note else "")
        + "</section>\n"
    )


def _listed(lines: Sequence[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>" if lines else ""


def _selector(panel: Panel) -> str:
    if len(panel.views) < 2:
        return ""
    options = "".join(f"<option>{escape(label)}</option>" for label in panel.views)
    return f'<select id="{_identity(panel)}-view" aria-label="{escape(panel.title)}: view">{options}</select>'


def _tile(tile: Tile) -> str:
    return (
        f'<div class="tile"><div class="label">{escape(tile.label)}</div><div class="value">{escape(tile.value)}</div>'
        f'<div class="detail">{escape(tile.detail)}</div></div>\n'
    )
