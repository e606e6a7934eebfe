"""The study: one scenario, what is changed in it, and how often each setting is repeated."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from math import prod
from typing import Annotated, Any, NamedTuple

from annotated_types import Ge, MinLen

from analysis.claims import Claim
from scenarios.document import Document
from scenarios.errors import Path, ScenarioError, found
from scenarios.labels import LABEL, labels
from scenarios.parts import Parts
from scenarios.schema import check_name, default_name

MAX_POINTS = 10_000
"""Settings times seeds of one study."""

SCENARIO_FIELDS = {"learning", "network", "compute"}
"""Fields that a scenario has and a study has not."""

Values = Annotated[tuple[Any, ...], MinLen(1)]


@dataclass(frozen=True)
class Reproduction:
    """Claims of a paper about the settings of the study, each with the rule that decides about it."""

    paper: str
    """Authors, title and where it appeared."""

    claims: Annotated[tuple[Claim, ...], MinLen(1)]
    """What the paper says, and what must be measured for it to hold."""

    metric: str = "accuracy"
    """Metric of the final value and of the target."""

    target: float = 0.8
    """Its value up to which time, energy and bits are counted."""

    quick: dict[str, Any] = field(default_factory=dict)
    """Fields that a quick look changes in all settings, unless a setting does."""

    quick_seeds: Annotated[int, Ge(1)] = 3
    """Seeds of a quick look."""


@dataclass(frozen=True)
class Study:
    """One scenario under several settings, each of them repeated with several seeds."""

    base: str
    """Path of a scenario file, relative to the file of the study."""

    name: str = "study"
    """Name of the study and, under `runs/`, of its folder (default: the name of the file)."""

    grid: dict[str, Values] = field(default_factory=dict)
    """Fields, written as after `--set`, and the values of each: every combination is a setting."""

    zip: dict[str, Values] = field(default_factory=dict)
    """Fields and as many values of each: all first values together are a setting, all second values, and so on."""

    list: tuple[dict[str, Any], ...] = ()
    """Settings one by one: fields and their values, and perhaps a `label`. One of grid, zip and list is needed."""

    reproduces: Reproduction | None = None
    """What `netsim reproduce` says of the results; `netsim sweep` runs the study and leaves it out."""

    seeds: Annotated[int, Ge(1)] | Annotated[tuple[Annotated[int, Ge(0)], ...], MinLen(1)] = 1
    """How many seeds, counted up from that of the scenario, or which ones; every setting gets the same."""

    def __post_init__(self) -> None:
        check_name(self.name)
        if isinstance(self.seeds, tuple) and len(set(self.seeds)) < len(self.seeds):
            raise ValueError("found a seed twice in seeds; keep one")
        given = [name for name in ("grid", "zip", "list") if getattr(self, name)]
        if len(given) != 1:
            raise ValueError(f"found {' and '.join(given) or 'none'} of grid, zip and list; one of them is needed")


def quick_look(study: Study) -> Study:
    """The study with the few seeds and the changes of its quick look; as it is if it reproduces nothing."""
    asked = study.reproduces
    if asked is None:
        return study
    every = {name: (value,) for name, value in asked.quick.items()}
    return replace(
        study,
        name=f"{study.name}-quick",
        list=tuple({**asked.quick, **setting} for setting in study.list),
        grid={**every, **study.grid} if study.grid else {},
        zip={**{name: values * _length(study.zip) for name, values in every.items()}, **study.zip} if study.zip else {},
        seeds=asked.quick_seeds,
    )


def _length(fields: Mapping[str, Sequence[Any]]) -> int:
    return min(len(values) for values in fields.values())


class Setting(NamedTuple):
    """What is changed in the base scenario, and where the study says so."""

    label: str
    overrides: dict[str, Any]
    places: dict[str, str]
    """`file:line` of each override."""
    place: str


class _Draft(NamedTuple):
    overrides: dict[str, Any]
    paths: dict[str, Path]
    path: Path
    label: Any = None


def read_study(document: Document) -> Study:
    """The study that a document describes.

    Raises:
        ScenarioError: it describes none.
    """
    if "base" not in document.content and SCENARIO_FIELDS & set(document.content):
        raise ScenarioError(f"{document.source}: this is a scenario; `netsim run` runs it")
    document.content.setdefault("name", default_name(document.source))
    return Parts({}).read(Study, document)


def settings(study: Study, document: Document) -> list[Setting]:
    """The settings of a study, in its order.

    Raises:
        ScenarioError: lists do not fit together, or a label cannot be used.
    """
    drafts = list(_listed(study) if study.list else _combined(study, document))
    known: dict[str, Setting] = {}
    for draft, made_up in zip(drafts, labels([draft.overrides for draft in drafts]), strict=True):
        setting = _setting(draft, made_up, document)
        folded = setting.label.casefold()  # some file systems take `A` and `a` for one folder
        if folded in known:
            raise ScenarioError(
                f'{setting.place}: found the label "{setting.label}" twice, first at {known[folded].place}; '
                "keep one, or give the settings a `label`"
            )
        known[folded] = setting
    return list(known.values())


def _setting(draft: _Draft, made_up: str, document: Document) -> Setting:
    places = {name: document.place(path) for name, path in draft.paths.items()}
    if "seed" in places:
        raise ScenarioError(f"{places['seed']}: found the field seed in a setting; write `seeds:` beside it")
    label = made_up if draft.label is None else draft.label
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
    """The settings of a grid or zip."""
    kind, fields = ("grid", study.grid) if study.grid else ("zip", study.zip)
    lengths = [len(values) for values in fields.values()]
    if study.zip and len(set(lengths)) > 1:
        sizes = " and ".join(str(length) for length in sorted(set(lengths)))
        raise ScenarioError(f"{document.place((kind,))}: zip: found lists of {sizes} values; all have as many")
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
