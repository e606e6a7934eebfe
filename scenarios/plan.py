"""The plan of a sweep: every point of a study as a valid scenario."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scenarios.document import Document
from scenarios.errors import FieldError, ScenarioError
from scenarios.parts import Parts
from scenarios.schema import Scenario, document, interpret
from scenarios.study import MAX_POINTS, Setting, Study, quick_look, read_study, settings
from scenarios.yaml12 import dump


@dataclass(frozen=True)
class Point:
    """One run of a sweep."""

    label: str
    """Of its setting."""
    overrides: Mapping[str, Any]
    """What the setting changes in the base scenario."""
    scenario: Scenario
    _setting: Setting = field(repr=False)
    _document: Document = field(repr=False)

    @property
    def path(self) -> str:
        """Its run directory, in that of the sweep."""
        return f"points/{self.label}/seed-{self.scenario.seed}"

    def refusal(self, error: FieldError) -> ScenarioError:
        """What a scenario says that cannot be built, with the place in the study."""
        return _refusal(self._setting, ScenarioError(f"{self._document.place(error.path)}: {error}"))


@dataclass(frozen=True)
class Plan:
    """A study and its points."""

    study: Study
    base: Path
    points: Sequence[Point]

    def text(self, folder: Path) -> str:
        """YAML of the study, for a file in another folder."""
        written: dict[str, Any] = Parts({}).plain(self.study, Study)
        written["base"] = os.path.relpath(self.base, folder)
        return dump({name: value for name, value in written.items() if value})


def plan(file: str | Path, *, quick: bool = False) -> Plan:
    """Read a study file and all that it names; `quick` takes the few seeds and small settings of its quick look.

    Raises:
        ScenarioError: it is wrong, or a point of it is; the message is one sentence.
    """
    read = Document.read(file, "study")
    study = read_study(read)
    if quick:
        study = quick_look(study)
    base = Path(file).parent / study.base
    try:
        scenario = document(base, {})
        first_seed = interpret(scenario).seed
    except ScenarioError as error:
        raise ScenarioError(f"{read.place(('base',))}: base: {error}") from None
    found = settings(study, read)
    seeds = study.seeds if isinstance(study.seeds, tuple) else range(first_seed, first_seed + study.seeds)
    if len(found) * len(seeds) > MAX_POINTS:
        raise ScenarioError(
            f"{read.place(())}: found {len(found)} settings with {len(seeds)} seeds each; "
            f"at most {MAX_POINTS} runs are allowed"
        )
    return Plan(study, base, list(_points(scenario, found, seeds)))


def _points(base: Document, found: Sequence[Setting], seeds: Sequence[int]) -> Iterator[Point]:
    for setting in found:
        for seed in seeds:
            changed = deepcopy(base)
            try:
                changed.override({**setting.overrides, "seed": seed}, setting.places)
                yield Point(setting.label, setting.overrides, interpret(changed), setting, changed)
            except ScenarioError as error:
                raise _refusal(setting, error) from None


def _refusal(setting: Setting, error: ScenarioError) -> ScenarioError:
    """An error of a point, with its place in the study: of the field, or of the setting if the base has the field."""
    if str(error).startswith(tuple(f"{place}: " for place in setting.places.values())):
        return error
    return ScenarioError(f"{setting.place}: setting {setting.label}: {error}")
