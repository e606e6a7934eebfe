"""Draws the pictures of the README from the study of stragglers.

netsim sweep scenarios/studies/stragglers.yaml
python docs/images/draw.py
"""

from pathlib import Path

import analysis
from analysis import plots

HERE = Path(__file__).parent
SWEEP = HERE.parents[1] / "runs" / "stragglers"
SEED = 18


def main() -> None:
    """Draw accuracy over time and where the rounds' time went, under each policy."""
    runs = {label: run for (label, seed), run in analysis.load_sweep(SWEEP).runs.items() if seed == SEED}
    plots.learning_curves(runs).savefig(HERE / "stragglers_accuracy.png")
    plots.round_time(runs).savefig(HERE / "stragglers_round_time.png")


if __name__ == "__main__":
    main()
