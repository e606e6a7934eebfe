"""Is the bound that HASFL decides by honest? Its order of twelve settings against the rounds that they really take."""

from itertools import product
from typing import Any

import numpy as np
import pytest
from scipy.stats import spearmanr

from learning.control.cuts import CutChoice
from learning.control.cuts.controller import Fixed
from runs import TINY
from scenarios import load, simulate

MAX_ROUNDS = 120
BASE: dict[str, Any] = {
    "learning.partition": "iid",
    "learning.optimiser": {"name": "sgd", "learning_rate": 0.1},
    "learning.stop": {"rounds": MAX_ROUNDS, "accuracy": 0.7},
}


@pytest.mark.slow
def test_the_bound_orders_settings_as_they_come_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rank correlation of measured rounds to 70 % with what noise and drift lose; below 0.5 it would tell nothing.

    The more is lost, the more rounds the bound predicts, whatever the target, so the order needs none.
    """
    forecasts, plan = [], Fixed.plan

    def watched(self: Fixed, forecast: Any, number: int) -> Any:
        forecasts.append(forecast)
        return plan(self, forecast, number)

    monkeypatch.setattr(Fixed, "plan", watched)
    measured, lost = [], []
    for interval, samples, cut in product((1, 8), (1, 4, 16), (1, 2)):
        controller = {"name": "fixed", "batches": [samples], "cuts": [cut]}
        scheme = {"name": "hasfl", "controller": controller, "interval": interval, "constants": {"estimate": True}}
        result = simulate(load(TINY, {**BASE, "learning.scheme": scheme}))
        bound = forecasts[-1].problem(samples).bound
        measured.append(result.reached.rounds)
        lost.append(bound.target - bound.progress(CutChoice(np.full(4, samples), np.full(4, cut))))
    assert measured[0::2][:3] == measured[1::2][:3]  # where every round aggregates, cuts change nothing
    assert spearmanr(measured, lost).statistic >= 0.5
