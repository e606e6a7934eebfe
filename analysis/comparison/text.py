"""A comparison as plain text tables, one for each measure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby

import pandas as pd

from analysis.comparison.contrast import Contrast
from analysis.comparison.outcomes import Goal
from analysis.comparison.sentences import percentages, shown, targeted, title
from analysis.style import number, scale

DASH = "–"
"""Text of a cell without a value."""


def tables(rows: Sequence[Contrast], goal: Goal, confidence: float) -> str:
    """Format a comparison as one text table per measure, each under the name of the measure."""
    blocks = []
    for _, group in groupby(rows, key=lambda row: row.measure):
        arms = list(group)
        blocks.append(f"{capital(title(arms[0], goal))}\n{_aligned(formatted(arms, goal, confidence))}")
    return "\n\n".join(blocks)


def formatted(rows: Sequence[Contrast], goal: Goal, confidence: float) -> pd.DataFrame:
    """Format the rows of one measure: mean, difference and its interval, pairs, and variance reduction, as text."""
    size, symbol = unit(rows, goal)
    return pd.DataFrame(
        {
            "Arm": [row.arm for row in rows],
            f"Mean ({symbol})" if symbol else "Mean": [_number(row.mean / size) for row in rows],
            ("Reached in" if targeted(rows[0]) else "Finite in"): [f"{row.reached} of {row.seeds}" for row in rows],
            "Difference": [_difference(row, goal) for row in rows],
            f"{confidence:.0%} CI": [_interval(row, goal) for row in rows],
            "Pairs": [str(row.pairs_reached) if row.reference else DASH for row in rows],
            "Variance less by": [_percent(row.variance_reduction) for row in rows],
        }
    ).drop(columns=[] if any(row.reached < row.seeds for row in rows) else "Finite in", errors="ignore")


def _aligned(frame: pd.DataFrame) -> str:
    """Format a table with columns two spaces apart, the first aligned left and the others right."""
    lines = [list(frame), *frame.to_numpy().tolist()]
    first, *others = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join([line[0].ljust(first), *(cell.rjust(wide) for cell, wide in zip(line[1:], others, strict=True))])
        for line in lines
    )


def unit(rows: Sequence[Contrast], goal: Goal) -> tuple[float, str]:
    """Return size and symbol of the unit in which the means of one measure are shown."""
    if rows[0].unit:
        return scale(max((row.mean for row in rows if math.isfinite(row.mean)), default=0.0), rows[0].unit)
    return (0.01, "%") if percentages(rows[0].measure, goal) else (1.0, "")


def capital(text: str) -> str:
    """Capitalise the first letter and leave the others as they are."""
    return text[:1].upper() + text[1:]


def _difference(row: Contrast, goal: Goal) -> str:
    if not row.reference:
        return "reference"
    difference, _, _, unit = shown(row, goal)
    return f"{_signed(difference)}{_short(unit)}" if math.isfinite(difference) else DASH


def _interval(row: Contrast, goal: Goal) -> str:
    _, low, high, unit = shown(row, goal)
    return f"{_signed(low)} to {_signed(high)}{_short(unit)}" if math.isfinite(low) else DASH


def _short(unit: str) -> str:
    return " points" if unit == " percentage points" else unit


def _signed(value: float) -> str:
    return ("+" if value > 0 else "") + number(value)


def _number(value: float) -> str:
    return number(value) if math.isfinite(value) else DASH


def _percent(share: float) -> str:
    return f"{share:.0%}" if math.isfinite(share) else DASH
