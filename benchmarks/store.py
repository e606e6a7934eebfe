"""What keys and store cost a first run, and what they save a second one: the quickstart, wall time over no store."""

import shutil
import tempfile
from pathlib import Path

from benchmarks.timing import best_s
from learning.store import Store
from scenarios import load, simulate

QUICKSTART = Path(__file__).parents[1] / "scenarios" / "quickstart.yaml"


def main() -> None:
    scenario = load(QUICKSTART)
    other = load(QUICKSTART, {"network.sharing.uplink.bandwidth_mhz": 7})
    dry = load(QUICKSTART, {"learning.executor": "dry"})
    with tempfile.TemporaryDirectory() as folder:
        filled = Path(folder) / "filled"
        _with_store(scenario, filled)
        times = best_s(
            {
                "without": lambda: simulate(scenario),
                "first run": lambda: _with_store(scenario, Path(folder) / "new", anew=True),
                "another network": lambda: _with_store(other, filled),
                "dry": lambda: simulate(dry),
            },
            repeats=5,
        )
    ratios = ", ".join(f"{name} {each / times['without']:.3f}" for name, each in times.items())
    print(f"store: quickstart without a store {times['without']:.2f} s; wall time over that: {ratios}")


def _with_store(scenario: object, folder: Path, *, anew: bool = False) -> None:
    if anew:
        shutil.rmtree(folder, ignore_errors=True)
    store = Store(folder)
    simulate(scenario, store=store)  # type: ignore[arg-type]
    store.close()
