"""One item of a report: a title, what it shows, and a picture or several to choose from, a table, or lines of text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pandas as pd
import plotly.graph_objects as go


@dataclass(frozen=True)
class Panel:
    """A titled part of a report."""

    title: str
    caption: str
    """What is shown, in a sentence."""
    views: dict[str, go.Figure] = field(default_factory=dict)
    """Pictures by the label under which a reader selects them."""
    note: str = ""
    """What was left out or averaged."""
    table: pd.DataFrame | None = None
    """Shown below the picture."""
    lines: Sequence[str] = ()
    """A list, below picture and table."""
