"""Old and new names of fields and values, for error messages. CHANGELOG.md has the same table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import is_dataclass
from typing import Any

from scenarios.hints import hints, members, unwrap

FIELDS: Mapping[str, tuple[str, ...]] = {
    "attention": ("control.attention",),
    "bandwidth": ("control.bandwidth",),
    "budget": ("control.budget",),
    "budgets": ("control.budgets",),
    "channel": ("csi",),
    "configuration": ("control.configuration",),
    "csi": ("control.csi",),
    "deepest_m": ("max_depth_m",),
    "fastest_kmh": ("max_speed_kmh",),
    "fastest_m_per_s": ("max_speed_m_per_s",),
    "fixed_power": ("control.fixed_power",),
    "history": ("control.history",),
    "importance": ("control.importance",),
    "largest_rate": ("max_rate",),
    "law": ("scheduler", "model", "slowdown"),
    "least": ("min_users", "min_weight"),
    "least_characters": ("min_characters",),
    "least_db": ("min_db",),
    "least_distance_m": ("min_distance_m",),
    "least_tokens": ("control.min_tokens",),
    "longest_interval": ("max_interval",),
    "longest_s": ("max_s",),
    "most_characters": ("max_characters",),
    "most_energy_j": ("control.max_energy_j",),
    "most_samples": ("max_samples",),
    "probe_every": ("control.probe_every",),
    "ranks": ("control.ranks",),
    "rest_s": ("pause_s",),
    "server_budget": ("control.server_budget",),
    "slowest_kmh": ("min_speed_kmh",),
    "slowest_m_per_s": ("min_speed_m_per_s",),
    "solver": ("control.solver",),
    "standing": ("control.dwell_time",),
    "threshold": ("control.threshold",),
    "time_weight": ("control.time_weight",),
    "tokens": ("control.tokens",),
    "weights": ("weighting",),
    "when_full": ("on_out_of_memory",),
}
"""New names of a field by its old name; of several, the one that the section has. A dot leads into a section."""

VALUES: Mapping[tuple[str, str], str] = {
    ("csi", "mean"): "average",
    ("csi", "present"): "instantaneous",
    ("on_out_of_memory", "leave_out"): "exclude",
    ("on_out_of_memory", "refuse"): "reject",
    ("ranges", "seen"): "observed",
    ("ranges", "stated"): "equal",
    ("weighting", "data"): "by_samples",
}
"""New value by field and old value."""


def new_name(part: type, field: str) -> str | None:
    """Return the new name of an unknown field of a part; None if it is not an old name."""
    return next((new for new in FIELDS.get(field, ()) if _has(part, new)), None)


def new_value(field: str, value: Any) -> str | None:
    """Return the new name of the value of a field; None if it is not an old value."""
    return VALUES.get((field, value)) if isinstance(value, str) else None


def _has(part: type, path: str) -> bool:
    first, _, rest = path.partition(".")
    hint = hints(part).get(first)
    if hint is None or not rest:
        return hint is not None
    inner = (unwrap(member)[0] for member in members(hint))
    return any(isinstance(each, type) and is_dataclass(each) and _has(each, rest) for each in inner)
