"""What tests read of a sweep's folder."""

import json
from pathlib import Path
from typing import Any

BANDS = "network.sharing.uplink.bandwidth_mhz"


def index(sweep: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((sweep / "sweep.json").read_text())
    return content


def records(sweep: Path) -> dict[tuple[str, int], dict[str, Any]]:
    """run.json of each point."""
    return {
        (p["label"], p["seed"]): json.loads((sweep / p["path"] / "run.json").read_text())
        for p in index(sweep)["points"]
    }
