"""Arms of a comparison: sets of runs that differ in their seed only."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from analysis.files import DamagedRun
from analysis.run import ENDED, NotARun, Run, load
from analysis.sweep import Sweep, is_sweep, load_sweep

Item = Run | Sweep | str | Path
"""Items that can be compared: runs and sweeps, or their directories."""

IGNORED_FIELDS = ("name", "seed")
"""Fields of a scenario in which runs of one arm may differ."""

COMPARED_TABLES = ("rounds", "evaluations", "requests")
"""Tables that measures of a comparison are made of."""

MAX_FIELDS = 3
"""Maximum number of differing fields in a label."""
MAX_NAMED = 5
"""Maximum number of runs or points named in one warning."""


@dataclass
class Arm:
    """Runs of the same scenario, by seed."""

    label: str
    runs: dict[int, Run] = field(default_factory=dict)


class _Entry(NamedTuple):
    key: str
    label: str
    """Label of the setting in a sweep; empty for a single run, whose label depends on the other runs."""
    seed: int
    run: Run


def arms(items: Iterable[Item]) -> tuple[list[Arm], list[str]]:
    """Group runs into arms.

    In a sweep, each label is an arm. Single runs are of the same arm if their scenarios differ in seed and name only.

    Args:
        items: runs, sweeps, or their directories.

    Returns:
        The arms with unique labels, in the order in which they first appear, and a warning for each run or set of
        points that is left out.

    Raises:
        NotARun: a directory holds neither a run nor a sweep.
        NotASweep: the index of a sweep cannot be read.
    """
    warnings: list[str] = []
    entries = [entry for number, item in enumerate(items) for entry in _entries(number, _opened(item), warnings)]
    grouped: dict[str, Arm] = {}
    for key, label, seed, run in entries:
        if damage := _damage(run):
            warnings.append(f"{run.path} is left out: {damage}")
            continue
        arm = grouped.setdefault(key, Arm(label))
        if seed in arm.runs:
            warnings.append(f"{run.path} is left out: {arm.runs[seed].path} is the same scenario with the same seed")
        else:
            arm.runs[seed] = run
    _label([arm for arm in grouped.values() if not arm.label])
    _make_unique(list(grouped.values()))
    return list(grouped.values()), warnings


def _opened(item: Item) -> Run | Sweep:
    if isinstance(item, (Run, Sweep)):
        return item
    path = Path(item)
    if path.is_dir() and not is_sweep(path) and not (path / "run.json").is_file():
        raise NotARun(f"{path} is neither a run nor a sweep: it has no run.json and no sweep.json")
    return load_sweep(path) if is_sweep(path) else load(path)


def _entries(number: int, item: Run | Sweep, warnings: list[str]) -> Iterator[_Entry]:
    if isinstance(item, Sweep):
        warnings += _unfinished(item)
        for label, seed, path in item.ended():
            try:
                yield _Entry(f"{number} {label}", label, seed, load(path))
            except NotARun as damage:
                warnings.append(f"{path} is left out: {damage}")
    elif (status := item.info.get("status")) not in ENDED:
        warnings.append(f"{item.path} is left out: it is {status}, not complete")
    else:
        try:
            same = {name: value for name, value in item.scenario.items() if name not in IGNORED_FIELDS}
            yield _Entry(json.dumps(same, sort_keys=True), "", item.seed, item)
        except DamagedRun as damage:
            warnings.append(f"{item.path} is left out: {damage}")


def _damage(run: Run) -> str:
    """What makes the tables unreadable that are compared; empty if nothing does."""
    recorded = run.info.get("tables")
    try:
        for table in COMPARED_TABLES:
            if table in run.tables:
                getattr(run, table)
            elif isinstance(recorded, dict) and table in recorded:
                return f"its table {table} is lost"
    except DamagedRun as damage:
        return str(damage)
    return ""


def _unfinished(sweep: Sweep) -> list[str]:
    left_out = sweep.points[~sweep.points["status"].isin(ENDED)]
    if left_out.empty:
        return []
    named = [
        f"{label}, seed {seed} ({status}{f': {error}' if error else ''})"
        for label, seed, status, error in left_out[["label", "seed", "status", "error"]].itertuples(index=False)
    ]
    return [f"of {len(sweep.points)} points of {sweep.name}, {len(left_out)} left out: {listed(named, '; ')}"]


def listed(names: Sequence[object], separator: str = ", ") -> str:
    """Join names for a sentence: the first MAX_NAMED, and the number of the others."""
    more = len(names) - MAX_NAMED
    return separator.join(map(str, names[:MAX_NAMED])) + (f" and {more} more" if more > 0 else "")


def _label(plain: list[Arm]) -> None:
    """Label arms of single runs by the names of their scenarios if these are unique, else by the fields that differ.

    If more than MAX_FIELDS fields differ, the label is the directory of the first run.
    """
    first = [next(iter(arm.runs.values())) for arm in plain]
    names = [{run.name for run in arm.runs.values()} for arm in plain]
    if all(len(name) == 1 for name in names) and len(set.union(set(), *names)) == len(plain):
        labels = [run.name for run in first]
    else:
        labels = _differences([_flat(run.scenario) for run in first])
    for arm, run, label in zip(plain, first, labels, strict=True):
        arm.label = label or str(run.path)


def _differences(scenarios: list[dict[str, Any]]) -> list[str]:
    fields = dict.fromkeys(field for scenario in scenarios for field in scenario if field not in IGNORED_FIELDS)
    differing = [field for field in fields if len({json.dumps(each.get(field)) for each in scenarios}) > 1]
    if len(differing) > MAX_FIELDS:
        return [""] * len(scenarios)
    return [
        ", ".join(f"{_short(field)}={scenario[field]}" for field in differing if field in scenario)
        for scenario in scenarios
    ]


def _flat(section: dict[str, Any], above: str = "") -> dict[str, Any]:
    """Values of a scenario by dotted path of field."""
    flat: dict[str, Any] = {}
    for name, value in section.items():
        path = f"{above}{name}"
        flat |= _flat(value, f"{path}.") if isinstance(value, dict) else {path: value}
    return flat


def _short(path: str) -> str:
    """The end of a field's path, for labels: `policy` for `learning.policy.name`."""
    return ".".join(path.removesuffix(".name").split(".")[-1 if path.endswith(".name") else -2 :])


def _make_unique(every: list[Arm]) -> None:
    seen: Counter[str] = Counter()
    for arm in every:
        seen[arm.label] += 1
        if seen[arm.label] > 1:
            arm.label = f"{arm.label} ({seen[arm.label]})"
