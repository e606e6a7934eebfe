"""Reproducing a paper: its study at the scale of this machine, and what its tables say of the paper's claims."""

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
from scenarios.catalogue import FOLDERS, shipped
from scenarios.errors import ScenarioError, unknown
from scenarios.plan import Plan
from scenarios.study import Reproduction


def study_of(system: str) -> Path:
    """The file of a system's study.

    Raises:
        ScenarioError: there is no such system.
    """
    systems = [file.stem for file in shipped("reproductions")]
    if system not in systems:
        raise ScenarioError(f"netsim reproduce: {unknown('system', system, systems)}")
    return FOLDERS["reproductions"] / f"{system}.yaml"


def asked_of(plan: Plan) -> Reproduction:
    """The claims that a study is to decide, whose settings are all there.

    Raises:
        ScenarioError: it has none, or one is about a setting that the study does not have.
    """
    asked = plan.study.reproduces
    if asked is None:
        raise ScenarioError(f"{plan.study.name}: found no claims in this study; write them under `reproduces:`")
    labels = list(dict.fromkeys(point.label for point in plan.points))
    for claim in asked.claims:
        for arm in filter(None, (claim.arm, claim.against)):
            if arm not in labels:
                raise ScenarioError(f"{plan.study.name}: reproduces.claims: {unknown('setting', arm, labels)}")
    return asked


def findings(asked: Reproduction, directory: Path) -> list[Finding]:
    """What a complete sweep says of each claim; also written to claims.json in its directory.

    Raises:
        ScenarioError: a claim is about something that was not measured.
    """
    try:
        found = judge(asked.claims, load_sweep(directory).runs, Goal(asked.metric, asked.target))
    except NotJudged as error:
        raise ScenarioError(f"netsim reproduce: {error}") from error
    text = json.dumps({"paper": asked.paper, "claims": [_plain(each) for each in found]}, indent=2, allow_nan=False)
    (directory / "claims.json").write_text(text + "\n", encoding="utf-8")
    return found


def draw(asked: Reproduction, directory: Path) -> Sequence[Path]:
    """Pictures of a sweep under `figures/`: the metric over time, energy and bits, where the rounds' time went."""
    folder = directory / "figures"
    folder.mkdir(exist_ok=True)
    pictures = sweep_plots.of_sweep(load_sweep(directory), asked.metric)
    for name, figure in pictures.items():
        figure.savefig(folder / f"{name}.png")
    return [folder / f"{name}.png" for name in pictures]


def _plain(finding: Finding) -> dict[str, Any]:
    """A finding for JSON, which knows no infinity."""
    numbers = {name: value if isfinite(value) else None for name, value in finding._asdict().items() if name in NUMBERS}
    return {**asdict(finding.claim), "rule": finding.claim.rule, **numbers, "verdict": finding.verdict}


NUMBERS = ("mean", "low", "high", "seeds")
