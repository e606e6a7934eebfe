"""Panel of the forward passes of a model whose experts are called over the network: where a token's time goes."""

from __future__ import annotations

import pandas as pd

from analysis import measures, style
from analysis.report.bars import stacked
from analysis.report.panel import Panel


def panel(forward_passes: pd.DataFrame, expert_calls: pd.DataFrame) -> Panel:
    """Draw the mean time of a forward pass by its parts, for prefill and decode passes of each stream.

    Args:
        forward_passes: the table `forward_passes`, with at least one row.
        expert_calls: the table `expert_calls`.
    """
    by_phase = measures.pass_time_by(measures.with_phase(forward_passes), ["stream", "phase"])
    labels = [f"{phase} of {stream}" for stream, phase in by_phase.index]
    figure, symbol = stacked(by_phase.set_axis(labels), style.PASS_PARTS, "s", horizontal=True)
    figure.update_layout(height=150 + 40 * len(labels), xaxis={"title": f"Mean time ({symbol})"})
    figure.update_yaxes(autorange="reversed")
    shown = {"Passes": by_phase["passes"].map("{:,}".format), "Tokens": by_phase["tokens"].map("{:,}".format)}
    times = {title: by_phase[name].map(_time) for name, title in (("mean_s", "Mean"), ("p95_s", "95th percentile"))}
    table = pd.DataFrame({**shown, **times}).set_axis(labels).rename_axis("Pass").reset_index()
    return Panel(
        "Where a token's time goes",
        "Mean time of a forward pass: the prefill pass of a prompt or sample ends with the first output token, a "
        "decode pass with one more. In a layer with experts the parts are those of the call that returns first, and "
        "the rest is waiting for the last.",
        {"": figure},
        table=table,
        lines=_hits(expert_calls),
    )


def _time(seconds: float) -> str:
    return style.quantity(seconds, "s")


def _hits(expert_calls: pd.DataFrame) -> list[str]:
    """Sentences about hits, and about the sites that were called."""
    if expert_calls.empty:
        return []
    shares = expert_calls["node"].value_counts(normalize=True)
    sites = ", ".join(f"{node} {share:.1%}" for node, share in shares.items())
    hits = f"{expert_calls['hit'].mean():.1%} of {len(expert_calls):,} calls of experts were hits."
    return [hits, f"Calls by site: {sites}."]
