"""Draws the pictures of the README from the runs of scenarios/studies/stragglers.yaml: `python docs/images/draw.py`."""

from pathlib import Path

import analysis
from analysis import plots
from scenarios import load, simulate

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
POLICIES = {
    "Wait for all": {"name": "wait_for_all"},
    "Deadline of 0.4 s": {"name": "deadline", "deadline_s": 0.4},
    "First 9 of 12": {"name": "first_k", "k": 9},
}


def main() -> None:
    """Run the study under each policy, then draw accuracy over time and where the rounds' time went."""
    runs = {}
    for label, policy in POLICIES.items():
        out = ROOT / "runs" / "stragglers" / policy["name"]
        simulate(load(ROOT / "scenarios" / "studies" / "stragglers.yaml", {"learning.policy": policy}), out=out)
        runs[label] = analysis.load(out)
    plots.learning_curves(runs).savefig(HERE / "stragglers_accuracy.png")
    plots.round_time(runs).savefig(HERE / "stragglers_round_time.png")


if __name__ == "__main__":
    main()
