"""The plan of a sweep: every point of a study as a valid scenario."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scenarios.document import Document, document
from scenarios.errors import FieldError, ScenarioError
from scenarios.parts import Parts
from scenarios.schema import Scenario, interpret
from scenarios.study import MAX_POINTS, Setting, Study, quick_version, read_study, settings
from scenarios.yaml12 import dump


@dataclass(frozen=True)
class Point:
    """One run of a sweep: a setting with a seed."""

    label: str
    """Label of its setting."""
    overrides: Mapping[str, Any]
    """Values that replace those of the base scenario, by dotted path of field."""
    scenario: Scenario
    """The base scenario with these values and the seed."""
    _setting: Setting = field(repr=False)
    _document: Document = field(repr=False)

    @property
    def path(self) -> str:
        """Its run directory, relative to the directory of the sweep."""
        return f"points/{self.label}/seed-{self.scenario.seed}"

    def located(self, error: FieldError) -> ScenarioError:
        """Return an error at the building of the scenario with its place in the study."""
        return _located(self._setting, ScenarioError(f"{self._document.place(error.path)}: {error}"))


@dataclass(frozen=True)
class SweepPlan:
    """A study and its points."""

    study: Study
    base: Path
    """Path of the file of the base scenario."""
    overrides: Mapping[str, Any]
    """Values of the base scenario that are set beside its file, by dotted path of field."""
    points: Sequence[Point]

    def text(self, folder: Path) -> str:
        """Return the study as YAML, for a file in `folder`."""
        written: dict[str, Any] = Parts({}).plain(self.study, Study)
        written["base"] = os.path.relpath(self.base, folder)
        return dump({name: value for name, value in written.items() if value})


def plan(file: str | Path, overrides: Mapping[str, Any] | None = None, *, quick: bool = False) -> SweepPlan:
    """Read a study file and its base scenario.

    Args:
        file: the study file (YAML).
        overrides: values that replace those of the base scenario in all settings, by dotted path of field.
        quick: whether to plan the quick version of the study.

    Raises:
        ScenarioError: the study, its base scenario or one of its points is invalid.
    """
    read = Document.read(file, "study")
    study = read_study(read)
    if quick:
        study = quick_version(study)
    base = Path(file).parent / study.base
    first_seed, scenario = 0, None
    wrong: Sequence[str] = ()
    try:
        scenario = document(base, overrides or {})
        first_seed = interpret(scenario).seed
    except ScenarioError as error:
        wrong = error.sentences
    of_base = [f"{read.place(('base',))}: base: {each}" for each in wrong]
    try:
        found = settings(study, read)
        _check_apart(overrides or {}, found)
    except ScenarioError as error:
        raise ScenarioError(*of_base, *error.sentences) from None
    seeds = study.seeds if isinstance(study.seeds, tuple) else range(first_seed, first_seed + study.seeds)
    if len(found) * len(seeds) > MAX_POINTS:
        raise ScenarioError(
            f"{read.place(())}: found {len(found)} settings with {len(seeds)} seeds each; "
            f"at most {MAX_POINTS} runs are allowed"
        )
    points, of_settings = _points(scenario, found, seeds, wrong) if scenario else ([], [])
    if of_base or of_settings:
        raise ScenarioError(*of_base, *of_settings)
    return SweepPlan(study, base, overrides or {}, points)


def _check_apart(overrides: Mapping[str, Any], found: Sequence[Setting]) -> None:
    """Check that no override is of a field that a setting has, or of a section around or inside it, or the seed.

    Raises:
        ScenarioError: one is.
    """
    varied = {"seed": "the study", **{path: setting.place for setting in found for path in setting.overrides}}
    for name in overrides:
        for path, place in varied.items():
            if f"{name}.".startswith(f"{path}.") or f"{path}.".startswith(f"{name}."):
                raise ScenarioError(f"--set {name}: {place} sets {path}; change it there")


def _points(
    base: Document, found: Sequence[Setting], seeds: Sequence[int], wrong: Collection[str]
) -> tuple[list[Point], list[str]]:
    """The points, and sentences about what is wrong in settings, each once.

    Args:
        base: the base scenario.
        found: the settings.
        seeds: seeds of each setting.
        wrong: sentences about the base scenario itself, which hold for every setting.
    """
    points, sentences = [], dict[str, None]()
    for setting in found:
        for seed in seeds:
            changed = deepcopy(base)
            try:
                changed.override({**setting.overrides, "seed": seed}, setting.places)
                points.append(Point(setting.label, setting.overrides, interpret(changed), setting, changed))
            except ScenarioError as error:
                own = [each for each in error.sentences if each not in wrong]
                sentences |= dict.fromkeys(_located(setting, ScenarioError(*own)).sentences)
                break
    return points, list(sentences)


def _located(setting: Setting, error: ScenarioError) -> ScenarioError:
    """An error of a point with its place in the study: the field, or the setting if the field is in the base."""
    places = tuple(f"{place}: " for place in setting.places.values())
    inside = f"{setting.place}: setting {setting.label}: "
    return ScenarioError(*(each if each.startswith(places) else inside + each for each in error.sentences))
