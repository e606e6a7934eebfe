"""Reproduction of a paper: a study of its system, and verdicts on the paper's claims from the tables."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from math import isfinite
from pathlib import Path
from typing import Any

from analysis import load_sweep, sweep_plots
from analysis.claims import Finding, NotJudged, judge
from analysis.comparison.outcomes import Goal
from scenarios.directory import replace
from scenarios.errors import ScenarioError, unknown
from scenarios.plan import SweepPlan
from scenarios.shipped import FOLDERS, shipped
from scenarios.study import Reproduction


def study_of(system: str) -> Path:
    """Return the study file of a system that is shipped with the package, such as hasfl.

    Raises:
        ScenarioError: there is no such system.
    """
    systems = [file.stem for file in shipped("reproductions")]
    if system not in systems:
        raise ScenarioError(f"netsim reproduce: {unknown('system', system, systems)}")
    return FOLDERS["reproductions"] / f"{system}.yaml"


def claims_of(plan: SweepPlan) -> Reproduction:
    """Return the claims of a study, after a check that it has the settings which they are about.

    Raises:
        ScenarioError: the study has no claims, or one is about a setting that it does not have.
    """
    reproduction = plan.study.reproduces
    if reproduction is None:
        raise ScenarioError(f"{plan.study.name}: found no claims in this study; write them under `reproduces:`")
    labels = list(dict.fromkeys(point.label for point in plan.points))
    for claim in reproduction.claims:
        for arm in filter(None, (claim.arm, claim.against)):
            if arm not in labels:
                raise ScenarioError(f"{plan.study.name}: reproduces.claims: {unknown('setting', arm, labels)}")
    return reproduction


def findings(reproduction: Reproduction, directory: Path) -> list[Finding]:
    """Judge each claim by a complete sweep, and write the findings to claims.json in its directory.

    Args:
        reproduction: the claims.
        directory: the directory of the sweep.

    Raises:
        ScenarioError: a claim is about something that was not measured.
    """
    goal = Goal(reproduction.metric, reproduction.target, reproduction.split)
    try:
        found = judge(reproduction.claims, load_sweep(directory).runs, goal)
    except NotJudged as error:
        raise ScenarioError(f"netsim reproduce: {error}") from error
    content = {"paper": reproduction.paper, "claims": [_plain(each) for each in found]}
    text = json.dumps(content, indent=2, allow_nan=False)
    replace(directory / "claims.json", text + "\n")
    return found


def draw(reproduction: Reproduction, directory: Path) -> Sequence[Path]:
    """Draw the figures of a sweep: the metric over time, energy and bits, and the causes of the rounds' time.

    Args:
        reproduction: names the metric and its data.
        directory: the directory of the sweep; figures are written to `figures/` in it.

    Returns:
        The PNG files.
    """
    folder = directory / "figures"
    folder.mkdir(exist_ok=True)
    pictures = sweep_plots.of_sweep(load_sweep(directory), reproduction.metric, reproduction.split)
    for name, figure in pictures.items():
        figure.savefig(folder / f"{name}.png")
    return [folder / f"{name}.png" for name in pictures]


def _plain(finding: Finding) -> dict[str, Any]:
    """A finding as values of JSON, in which a number that is not finite is null."""
    numbers = {name: value if isfinite(value) else None for name, value in finding._asdict().items() if name in NUMBERS}
    return {**asdict(finding.claim), "rule": finding.claim.rule, **numbers, "verdict": finding.verdict}


NUMBERS = ("mean", "low", "high", "seeds")
"""Fields of a finding that are numbers."""
