"""Compare simulators on the same task: `python -m benchmarks.peers [--rounds N] [--repeats N]`.

Each runs in a process of its own, in turns, so that a disturbance affects all alike. Peers whose environment is missing
are named in one sentence, with the commands that make it, and left out.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import median

from benchmarks.peers.task import COHORT, MODELS, SAMPLES, STEPS, USERS

ROOT = Path(__file__).parents[2]
ENVIRONMENTS = ROOT / "build" / "peers"
PEERS = ("pfl", "fluke", "flower")
WARM = 6
"""First rounds that are left out: operations are captured, actors started, caches filled."""


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    arguments.add_argument("--rounds", type=int, default=30, help="rounds that are measured, after the first ones")
    arguments.add_argument("--repeats", type=int, default=3, help="runs of each, in turns")
    given = arguments.parse_args()
    drivers = {"loop": Path(sys.executable), "simulator": Path(sys.executable)}
    for peer in PEERS:
        python = ENVIRONMENTS / peer / "bin" / "python"
        if python.exists():
            drivers[f"with_{peer}"] = python
        else:
            print(missing(peer))
    print(
        f"peers: {USERS} users x {SAMPLES} samples, {COHORT} a round; median steps of users per second of wall time, "
        "lowest and highest run, and how many times as fast the simulator is in one process"
    )
    for model in MODELS:
        rates: dict[str, list[float]] = {name: [] for name in drivers}
        for _ in range(given.repeats):
            for name, python in drivers.items():
                rates[name].append(STEPS / median(rounds_s(python, name, model, given.rounds)))
        for name, found in rates.items():
            ratio = median(rates["simulator"]) / median(found)
            print(f"  {model}, {name:12s} {median(found):7.0f} ({min(found):.0f} to {max(found):.0f}); {ratio:.2f}")


def missing(peer: str) -> str:
    """A sentence that says how to make the environment of a peer."""
    folder, needs = (ENVIRONMENTS / peer).relative_to(ROOT), Path("benchmarks", "peers", f"{peer}.txt")
    return (
        f"{peer} is left out: `python -m venv {folder}` and `{folder}/bin/pip install -r {needs}` make its environment."
    )


def rounds_s(python: Path, driver: str, model: str, rounds: int) -> list[float]:
    """Seconds of wall time of each round of one run of a driver, without the first ones.

    Raises RuntimeError, with the end of what the driver printed, if it fails.
    """
    command = [str(python), "-m", f"benchmarks.peers.{driver}", model, str(WARM + rounds)]
    surroundings = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=surroundings, capture_output=True, text=True, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("[")]
    if done.returncode or not lines:
        raise RuntimeError(f"{driver} failed: {(done.stdout + done.stderr)[-2000:]}")
    seconds: list[float] = json.loads(lines[-1])
    return seconds[WARM - 1 :]  # the first round has no time


if __name__ == "__main__":
    main()
