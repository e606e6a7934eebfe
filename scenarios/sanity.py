"""What a scenario may say and hardly means: found without being refused, and told once beside the results."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, NamedTuple

from netsim.recordings import Timed
from scenarios.errors import Path, dotted
from scenarios.schema import Scenario


class Span(NamedTuple):
    """When something was recorded, in seconds of the run."""

    path: Path
    """Of the recording in the scenario."""
    file: str
    first_s: float
    last_s: float


def spans(scenario: Scenario) -> list[Span]:
    """Of all recordings that have times. Raises ValueError if one cannot be read."""
    return [Span(path, part.file, *part.span_s()) for path, part in _parts(scenario, ()) if isinstance(part, Timed)]


def warnings(recorded: Sequence[Span], end_s: float) -> list[str]:
    """A sentence for each recording of which a run that ends at `end_s` sees nothing."""
    out = []
    for path, file, first_s, last_s in recorded:
        if first_s >= end_s > 0:
            out.append(
                f"{dotted(path)}: the recording {file} begins at {first_s:.10g} s, and the run ends at {end_s:.6g} s; "
                "time_origin says which recorded time is the beginning of the run, such as first_row"
            )
        if last_s < 0:
            out.append(f"{dotted(path)}: the recording {file} is over {-last_s:.10g} s before its time_origin")
    return out


def known_end_s(scenario: Scenario) -> float | None:
    """When a run ends at the latest, if the scenario tells."""
    learning, traffic = scenario.learning, scenario.traffic
    learned_s = learning.stop.time_s if learning else 0.0
    asked_s = traffic.duration_s if traffic and traffic.duration_s else 0.0
    return None if learned_s is None else max(learned_s, asked_s)


def _parts(value: Any, path: Path) -> Iterator[tuple[Path, Any]]:
    """Every described part, and where it stands."""
    if is_dataclass(value):
        yield path, value
        inner: Any = ((field.name, getattr(value, field.name)) for field in fields(value))
    elif isinstance(value, dict):
        inner = value.items()
    else:
        return
    for step, one in inner:
        yield from _parts(one, (*path, step))
