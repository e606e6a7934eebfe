"""A sweep directory: the runs of a study, by label and seed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path, PurePath
from typing import Any

import pandas as pd

from analysis import files
from analysis.files import Unreadable
from analysis.notebook import html_table
from analysis.run import ENDED, Run, load

INDEX = "sweep.json"
"""Name of the file that lists the points of a sweep."""

POINT = ["label", "seed", "status", "path", "error"]
"""Columns of `Sweep.points` that every sweep has."""


class NotASweep(FileNotFoundError):
    """The folder does not exist or does not hold a sweep."""


def is_sweep(path: Path) -> bool:
    """Return whether a folder has the index file of a sweep."""
    return (path / INDEX).is_file()


def load_sweep(sweep_dir: str | Path) -> Sweep:
    """Load the sweep in a directory; it may be complete, running, interrupted, or have failed points.

    Args:
        sweep_dir: the folder that `netsim sweep` wrote.

    Raises:
        NotASweep: the folder does not exist or does not hold a sweep.
    """
    path = Path(sweep_dir)
    if not path.is_dir():
        raise NotASweep(f"{path} is not a folder")
    info = _information(path)
    for point in info["points"]:
        if fault := _fault(point):
            raise NotASweep(f"{path} is not a sweep: a point in its {INDEX} has {fault}")
    listed = Counter((point["label"], point["seed"]) for point in info["points"])
    for (label, seed), times in listed.most_common(1):
        if times > 1:
            raise NotASweep(f"{path} is not a sweep: its {INDEX} lists {label}, seed {seed} twice")
    return Sweep(path, info)


class Sweep:
    """One sweep: `points` is a DataFrame of all points, `runs` has the runs that ended, by label and seed."""

    def __init__(self, path: Path, info: dict[str, Any]) -> None:
        self.path = path
        """The sweep directory."""
        self.info = info
        """Content of sweep.json: name, status and points."""

    @property
    def name(self) -> str:
        """Name of the study, else of the folder."""
        return str(self.info.get("name") or self.path.resolve().name)

    @cached_property
    def points(self) -> pd.DataFrame:
        """One row per point: label, seed, status, path and error, then one column per overridden field."""
        rows = [
            {
                **{field: point.get(field) for field in POINT},
                "path": self.path / point["path"],
                "error": point.get("error") or "",
                **{field: value for field, value in (point.get("overrides") or {}).items() if field not in POINT},
            }
            for point in self.info["points"]
        ]
        return pd.DataFrame(rows, columns=list(dict.fromkeys([*POINT, *(field for row in rows for field in row)])))

    def ended(self) -> Iterator[tuple[str, int, Path]]:
        """Yield label, seed and run directory of all points that ended (see `ENDED`), in the order of the study."""
        for point in self.info["points"]:
            if point["status"] in ENDED:
                yield point["label"], point["seed"], self.path / point["path"]

    @cached_property
    def runs(self) -> dict[tuple[str, int], Run]:
        """Runs of all points that ended, by (label, seed), in the order of the study.

        Their tables load on first use.

        Raises:
            NotARun: the folder of such a point does not hold a run.
        """
        return {(label, seed): load(path) for label, seed, path in self.ended()}

    def __repr__(self) -> str:
        return f"<Sweep {self.name!r} of {len(self.info['points'])} points in {self.path}>"

    def _repr_html_(self) -> str:
        labels = self.points["label"].astype(str).unique()
        counts = ", ".join(f"{count} {status}" for status, count in self.points["status"].value_counts().items())
        rows = {"points": counts, "settings": ", ".join(labels), "folder": str(self.path)}
        return html_table(f"{self.name}: {self.info.get('status', 'status unknown')}", rows)


def _information(path: Path) -> dict[str, Any]:
    try:
        info = files.json_object(path / INDEX)
    except FileNotFoundError as error:
        raise NotASweep(f"{path} is not a sweep: it has no {INDEX}") from error
    except Unreadable as error:
        raise NotASweep(f"{path} is not a sweep: its {INDEX} {error}") from error
    points = info.get("points")
    if not isinstance(points, list) or not all(isinstance(point, dict) for point in points):
        raise NotASweep(f"{path} is not a sweep: its {INDEX} lists no points")
    return info


def _fault(point: dict[str, Any]) -> str:
    """What is wrong with a point of the index, as an object: "no path and no status"; empty if nothing is."""
    if missing := [field for field in ("label", "seed", "path", "status") if field not in point]:
        return f"no {' and no '.join(missing)}"
    if isinstance(point["seed"], bool) or not isinstance(point["seed"], int):
        return "a seed that is no whole number"
    for field in ("label", "path", "status"):
        if not (isinstance(point[field], str) and point[field].isprintable()):
            return f"a {field} that is no text on one line"
    if PurePath(point["path"]).is_absolute() or ".." in PurePath(point["path"]).parts:
        return "a path that leads out of the folder"
    if not isinstance(point.get("overrides") or {}, dict):
        return "overrides that are no object"
    if not isinstance(point.get("error") or "", str):
        return "an error that is no text"
    return ""
