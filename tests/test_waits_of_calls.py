"""Waits of expert calls at a site beside queueing theory: Poisson calls of equal work, M/D/1."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.validation.findings import batch_mean
from expert_cells import FLOPS, SITES, Cell, calls, layer_of, passes, ran
from learning.ports import Process
from learning.world import World
from netsim.description import SiteDescription

CALLS = 3000
SPEEDS: Mapping[str, float] = {"edge": 100.0, "user0": 1e6}
"""FLOP/s of the site. At the edge a call takes 5 s, and its messages about a millisecond."""


@pytest.mark.parametrize(("site", "load"), [("edge", 0.7), ("user0", 0.3)])
def test_calls_wait_as_in_theory(site: str, load: float) -> None:
    """The mean wait is load / (2 (1 - load)) services (Pollaczek and Khinchine), within its confidence interval."""
    service_s = FLOPS / SPEEDS[site]
    gaps_s = np.random.default_rng(5).exponential(service_s / load, CALLS)

    def script(world: World) -> Process[None]:
        layer, user, chosen = layer_of(world, {site: [0], "cloud": [1]}), world.users[0], torch.tensor([[0]])
        works: list[Any] = []
        for gap_s in gaps_s.tolist():
            yield world.env.timeout(gap_s)
            works.append(world.env.process(passes(world, layer, user, chosen)))
        yield world.env.all_of(works)

    sites = SITES | {"edge": SiteDescription(SPEEDS["edge"], station=0)}
    rows = calls(ran(script, Cell(sites, executor="dry"))).sort_values("start_s")
    assert rows.service_s.tolist() == pytest.approx([service_s] * CALLS)
    since_s, late = rows.start_s.diff().to_numpy()[300:], rows.wait_s.to_numpy()[300:] / service_s
    control = since_s[:, None] / service_s - 1 / load
    finding = batch_mean("M/D/1", "mean wait", "Pollaczek-Khinchine", late, load / (2 * (1 - load)), control)
    assert finding.agrees, f"{finding.ours:g}, not {finding.expected:g} +- {finding.interval:g}"
    assert finding.interval < 0.35 * finding.expected
