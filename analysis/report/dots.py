"""Panel of dot plots of arms: the mean of each measure with its interval, and the value of each seed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from analysis import style
from analysis.comparison import Comparison
from analysis.comparison.contrast import Contrast
from analysis.comparison.sentences import targeted, title
from analysis.comparison.text import capital, unit
from analysis.report.panel import Panel

TITLE_WIDTH, ARM_WIDTH = 16, 24
"""Maximum numbers of letters in a line of a plot's title, and of the label of an arm."""


def panel(
    heading: str, caption: str, comparison: Comparison, measures: Sequence[str], colours: Mapping[str, str]
) -> Panel:
    """Draw one plot for each measure that was recorded, side by side.

    Args:
        heading: title of the panel.
        caption: description of the panel.
        comparison: the arms compared.
        measures: names of the measures.
        colours: colour of each arm by label.
    """
    recorded = {name: rows for name in measures if (rows := [row for row in comparison.rows if row.measure == name])}
    if not recorded:
        return Panel(heading, "These runs have not recorded any of these measures.")
    figure = make_subplots(cols=len(recorded), shared_yaxes=True, horizontal_spacing=0.03)
    for column, rows in enumerate(recorded.values(), start=1):
        size, symbol = unit(rows, comparison.goal)
        words = capital(title(rows[0], comparison.goal)) + (f"\u00a0({symbol})" if symbol else "")
        figure.update_xaxes(title=style.lines(words, TITLE_WIDTH), row=1, col=column)
        for row in rows:
            figure.add_trace(_seeds(row, comparison, size, colours[row.arm]), row=1, col=column)
            figure.add_trace(_mean(row, size, colours[row.arm]), row=1, col=column)
        if rows[0].reached:
            figure.add_vline(rows[0].mean / size, line={"dash": "dot", "width": 1, "color": style.GREY}, col=column)
    labels = [style.lines(arm, ARM_WIDTH) for arm in comparison.arms]
    figure.update_yaxes(autorange="reversed", type="category", tickvals=comparison.arms, ticktext=labels)
    height = 15 * (1 + max(label.count("<br>") + 1 for label in labels))
    figure.update_layout(height=160 + height * len(comparison.arms), showlegend=False)
    return Panel(heading, caption, {"": figure}, _note(recorded))


def _note(recorded: Mapping[str, Sequence[Contrast]]) -> str:
    missed = max(sum(row.seeds - row.reached for row in rows) for rows in recorded.values())
    has_target = any(targeted(rows[0]) for rows in recorded.values())
    why = "did not reach the target" if has_target else "ended in a value that is not finite"
    return f"{missed} runs {why} and have no dot." if missed else ""


def _seeds(row: Contrast, comparison: Comparison, size: float, colour: str) -> go.Scatter:
    outcomes = comparison.outcomes.query("arm == @row.arm and measure == @row.measure and reached")
    return go.Scatter(
        x=outcomes["value"].to_numpy() / size,
        y=[row.arm] * len(outcomes),
        mode="markers",
        marker={"color": colour, "size": 5, "opacity": 0.4},
        customdata=outcomes["seed"].to_numpy(),
        hovertemplate="seed %{customdata}: %{x:.4g}<extra></extra>",
    )


def _mean(row: Contrast, size: float, colour: str) -> go.Scatter:
    margin = (row.mean_high - row.mean_low) / 2 / size
    return go.Scatter(
        x=[row.mean / size],
        y=[row.arm],
        mode="markers",
        marker={"color": colour, "size": 10},
        error_x={"array": [margin], "color": colour, "thickness": 2, "width": 4, "visible": math.isfinite(margin)},
        hovertemplate="mean %{x:.4g}<extra>%{y}</extra>",
    )
