"""A study: one scenario, the settings to compare, and the seeds with which each setting is repeated."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from math import prod
from typing import Annotated, Any, NamedTuple

from annotated_types import Ge, MinLen

from analysis.claims import Claim
from scenarios.document import Document, default_name
from scenarios.errors import Path, ScenarioError, found
from scenarios.labels import LABEL, labels
from scenarios.parts import Parts
from scenarios.schema import check_name

MAX_POINTS = 10_000
"""Maximum number of runs of a study, and of its settings."""

SCENARIO_FIELDS = {"learning", "network", "compute"}
"""Some fields of a scenario that a study does not have, to tell a scenario file from a study file."""

Values = Annotated[tuple[Any, ...], MinLen(1)]


@dataclass(frozen=True)
class Reproduction:
    """Claims of a paper about the settings of a study, each with the rule that decides whether it holds."""

    paper: str
    """Authors, title and venue of the paper."""

    claims: Annotated[tuple[Claim, ...], MinLen(1)]
    """Claims of the paper, and what must be measured for each to hold."""

    metric: str = "accuracy"
    """Metric of the final value and of the target."""

    split: str = "test"
    """Data of that metric."""

    target: float = 0.8
    """Target value of the metric; time, energy and bits are measured until it is reached."""

    quick: dict[str, Any] = field(default_factory=dict)
    """Values of fields in the quick version, for the settings that do not set these fields themselves."""

    quick_seeds: Annotated[int, Ge(1)] = 3
    """Number of seeds in the quick version."""


@dataclass(frozen=True)
class Study:
    """One scenario under several settings, each repeated with several seeds."""

    base: str
    """Path of a scenario file, relative to the file of the study."""

    name: str = "study"
    """Name of the study and of its folder under `runs/` (default: the name of the file)."""

    grid: dict[str, Values] = field(default_factory=dict)
    """Values of each field, named by its dotted path as after `--set`: every combination is a setting."""

    zip: dict[str, Values] = field(default_factory=dict)
    """Values of each field, all lists of the same length: the n-th values of all fields are the n-th setting."""

    list: tuple[dict[str, Any], ...] = ()
    """Settings one by one: values by field, and optionally a `label`. One of grid, zip and list is needed."""

    every: dict[str, Any] = field(default_factory=dict)
    """Values by field that all settings have, unless they set the field, or a part that it belongs to, themselves."""

    reproduces: Reproduction | None = None
    """Claims that `netsim reproduce` judges by the results; `netsim sweep` ignores them."""

    seeds: Annotated[int, Ge(1)] | Annotated[tuple[Annotated[int, Ge(0)], ...], MinLen(1)] = 1
    """Number of seeds, counted up from the seed of the scenario, or a list of seeds; the same for every setting."""

    def __post_init__(self) -> None:
        check_name(self.name)
        if isinstance(self.seeds, tuple) and len(set(self.seeds)) < len(self.seeds):
            raise ValueError("found a seed twice in seeds; keep one")
        given = [name for name in ("grid", "zip", "list") if getattr(self, name)]
        if len(given) != 1:
            raise ValueError(f"found {' and '.join(given) or 'none'} of grid, zip and list; one of them is needed")


def quick_version(study: Study) -> Study:
    """Return the study with the seeds and fields of its quick version; unchanged if it has no claims."""
    reproduction = study.reproduces
    if reproduction is None:
        return study
    every = {name: (value,) for name, value in reproduction.quick.items()}
    return replace(
        study,
        name=f"{study.name}-quick",
        list=tuple(_filled(reproduction.quick, setting) for setting in study.list),
        grid={**every, **study.grid} if study.grid else {},
        zip={**{name: values * _length(study.zip) for name, values in every.items()}, **study.zip} if study.zip else {},
        seeds=reproduction.quick_seeds,
    )


def _filled(common: Mapping[str, Any], setting: Mapping[str, Any]) -> dict[str, Any]:
    """A setting with common values of the fields that it sets neither by themselves nor with all of their part."""
    parts = tuple(f"{name}." for name in setting)
    return {**{name: value for name, value in common.items() if not f"{name}.".startswith(parts)}, **setting}


def _length(fields: Mapping[str, Sequence[Any]]) -> int:
    return min(len(values) for values in fields.values())


class Setting(NamedTuple):
    """One setting of a study."""

    label: str
    overrides: dict[str, Any]
    """Values that replace those of the base scenario, by dotted path of field."""
    places: dict[str, str]
    """`file:line` of each override."""
    place: str
    """`file:line` of the setting."""


class _Draft(NamedTuple):
    overrides: dict[str, Any]
    paths: dict[str, Path]
    path: Path
    label: Any = None


def read_study(document: Document) -> Study:
    """Interpret a document as a study.

    Raises:
        ScenarioError: it is a scenario, or a field is wrong.
    """
    if "base" not in document.content and SCENARIO_FIELDS & set(document.content):
        raise ScenarioError(f"{document.source}: this is a scenario; `netsim run` runs it")
    document.content.setdefault("name", default_name(document.source))
    return Parts({}).read(Study, document)


def settings(study: Study, document: Document) -> list[Setting]:
    """Return the settings of a study, in its order.

    Args:
        study: the study.
        document: the document that it was read from, for places in messages.

    Raises:
        ScenarioError: the lists of `zip` differ in length, there are too many settings, or a label is invalid or used
            twice.
    """
    drafts = list(_listed(study) if study.list else _combined(study, document))
    known: dict[str, Setting] = {}
    for draft, default in zip(drafts, labels([draft.overrides for draft in drafts]), strict=True):
        setting = _setting(_with(study.every, draft), default, document)
        folded = setting.label.casefold()  # on some file systems, `A` and `a` are the same folder
        if folded in known:
            raise ScenarioError(
                f'{setting.place}: found the label "{setting.label}" twice, first at {known[folded].place}; '
                "keep one, or give the settings a `label`"
            )
        known[folded] = setting
    return list(known.values())


def _with(every: Mapping[str, Any], draft: _Draft) -> _Draft:
    """A draft with the values that all settings have."""
    overrides = _filled(every, draft.overrides)
    paths: dict[str, Path] = {name: ("every", name) for name in overrides}
    return draft._replace(overrides=overrides, paths={**paths, **draft.paths})


def _setting(draft: _Draft, default_label: str, document: Document) -> Setting:
    places = {name: document.place(path) for name, path in draft.paths.items()}
    if "seed" in places:
        raise ScenarioError(f"{places['seed']}: found the field seed in a setting; write `seeds:` beside it")
    label = default_label if draft.label is None else draft.label
    place = document.place(draft.path)
    if not isinstance(label, str) or not LABEL.fullmatch(label):
        raise ScenarioError(
            f"{place}: found {found(label)} as a label; up to 100 letters, digits, spaces and . , = + - _ are allowed"
        )
    return Setting(label, draft.overrides, places, place)


def _listed(study: Study) -> Iterator[_Draft]:
    for number, written in enumerate(study.list):
        overrides = {name: value for name, value in written.items() if name != "label"}
        paths: dict[str, Path] = {name: ("list", number, name) for name in overrides}
        yield _Draft(overrides, paths, ("list", number), written.get("label"))


def _combined(study: Study, document: Document) -> Iterator[_Draft]:
    """Yield the settings of a grid or zip."""
    kind, fields = ("grid", study.grid) if study.grid else ("zip", study.zip)
    lengths = [len(values) for values in fields.values()]
    if study.zip and len(set(lengths)) > 1:
        sizes = " and ".join(str(length) for length in sorted(set(lengths)))
        raise ScenarioError(f"{document.place((kind,))}: zip: found lists of {sizes} values; their lengths must agree")
    count = prod(lengths) if study.grid else lengths[0]
    if count > MAX_POINTS:
        raise ScenarioError(
            f"{document.place((kind,))}: {kind}: found {count} settings; at most {MAX_POINTS} are allowed"
        )
    choices = [range(length) for length in lengths]
    for numbers in product(*choices) if study.grid else zip(*choices, strict=True):
        paths: dict[str, Path] = {name: (kind, name, number) for name, number in zip(fields, numbers, strict=True)}
        overrides = {name: fields[name][number] for name, number in zip(fields, numbers, strict=True)}
        yield _Draft(overrides, paths, (kind,))
