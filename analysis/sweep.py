"""A sweep directory: many runs of one study, found by label and seed."""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.run import ENDED, Run, load

INDEX = "sweep.json"

POINT = ["label", "seed", "status", "path", "error"]
"""What is known of every point of a sweep."""


class NotASweep(FileNotFoundError):
    """A folder that holds no sweep."""


def is_sweep(path: Path) -> bool:
    """Whether the folder claims to hold a sweep."""
    return (path / INDEX).is_file()


def load_sweep(sweep_dir: str | Path) -> Sweep:
    """The sweep in `sweep_dir`, whether complete, still going on, or with failed points.

    Raises NotASweep when the folder does not exist or holds no sweep.
    """
    path = Path(sweep_dir)
    if not path.is_dir():
        raise NotASweep(f"{path} is not a folder")
    info = _information(path)
    for point in info["points"]:
        missing = [field for field in ("label", "seed", "path", "status") if field not in point]
        if missing:
            raise NotASweep(f"{path} is not a sweep: a point in its {INDEX} has no {' and no '.join(missing)}")
    return Sweep(path, info)


class Sweep:
    """One sweep: `points` is a DataFrame, `runs` those that came to their end, by label and seed."""

    def __init__(self, path: Path, info: dict[str, Any]) -> None:
        self.path = path
        """The sweep directory."""
        self.info = info
        """sweep.json: name, status and points."""

    @property
    def name(self) -> str:
        """What the study is called, else the folder."""
        return str(self.info.get("name") or self.path.resolve().name)

    @cached_property
    def points(self) -> pd.DataFrame:
        """One row for each point: label, seed, status, path, error, then one column for each field overridden."""
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

    @cached_property
    def runs(self) -> dict[tuple[str, int], Run]:
        """The runs of all points that came to their end (`ENDED`), in the order of the study, by (label, seed).

        Their tables load on first use. Raises NotARun when the folder of such a point holds none.
        """
        done = self.points[self.points["status"].isin(ENDED)]
        return {
            (str(label), int(seed)): load(path)
            for label, seed, path in zip(done["label"], done["seed"], done["path"], strict=True)
        }

    def __repr__(self) -> str:
        return f"<Sweep {self.name!r} of {len(self.info['points'])} points in {self.path}>"


def _information(path: Path) -> dict[str, Any]:
    try:
        info = json.loads((path / INDEX).read_text("utf-8"))
    except FileNotFoundError as error:
        raise NotASweep(f"{path} is not a sweep: it has no {INDEX}") from error
    except json.JSONDecodeError as error:
        raise NotASweep(f"{path} is not a sweep: its {INDEX} is not JSON ({error})") from error
    points = info.get("points") if isinstance(info, dict) else None
    if not isinstance(points, list) or not all(isinstance(point, dict) for point in points):
        raise NotASweep(f"{path} is not a sweep: its {INDEX} lists no points")
    return dict(info)
