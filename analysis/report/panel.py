"""One item of a report: a title, what it shows, and a picture or several to choose from."""

from __future__ import annotations

from dataclasses import dataclass, field

import plotly.graph_objects as go


@dataclass(frozen=True)
class Panel:
    """A titled picture of a report."""

    title: str
    caption: str
    """What is shown, in a sentence."""
    views: dict[str, go.Figure] = field(default_factory=dict)
    """Pictures by the label under which a reader selects them; without any, the caption says why."""
    note: str = ""
    """What was left out or averaged."""
