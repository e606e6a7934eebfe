"""A panel of a report: title, caption, and figures, a table or lines of text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pandas as pd
import plotly.graph_objects as go


@dataclass(frozen=True)
class Panel:
    """A panel of a report."""

    title: str
    caption: str
    """Description of the content, in a sentence."""
    views: dict[str, go.Figure] = field(default_factory=dict)
    """Figures by label; if there are several, the reader selects one."""
    note: str = ""
    """Sentences about what is left out or averaged."""
    table: pd.DataFrame | None = None
    """Table below the figure."""
    lines: Sequence[str] = ()
    """List of sentences below figure and table."""
