"""Draws the pictures of the README from the studies of stragglers and of requests to a model.

netsim sweep scenarios/studies/stragglers.yaml
netsim sweep scenarios/studies/moe_serving.yaml -o runs/moe_serving_sweep
python docs/images/draw.py
"""

from pathlib import Path

import analysis
from analysis import plots

HERE = Path(__file__).parent
RUNS = HERE.parents[1] / "runs"


def main() -> None:
    """Draw accuracy over time and where the rounds' time went under each policy, and where a token's time goes."""
    policies = runs_of("stragglers", seed=18)
    plots.learning_curves(policies).savefig(HERE / "stragglers_accuracy.png")
    plots.round_time(policies).savefig(HERE / "stragglers_round_time.png")
    plots.pass_time(runs_of("moe_serving_sweep", seed=5)).savefig(HERE / "moe_serving.png")


def runs_of(study: str, seed: int) -> dict[str, analysis.Run]:
    """The runs of a study with one seed, by label."""
    return {label: run for (label, own), run in analysis.load_sweep(RUNS / study).runs.items() if own == seed}


if __name__ == "__main__":
    main()
