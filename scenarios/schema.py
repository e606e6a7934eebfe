"""The scenario as a dataclass, read from YAML and written to it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt

from learning.description import LearningDescription
from netsim.description import ComputeDescription, EnergyDescription, NetworkDescription, TrafficDescription
from netsim.tables import TABLES
from scenarios.document import Document, document
from scenarios.errors import unknown
from scenarios.families import families
from scenarios.parts import Parts
from scenarios.paths import located
from scenarios.plugins import load_installed
from scenarios.shipped import named
from scenarios.yaml12 import dump

NAME = re.compile(r"\w[\w.-]*")
"""Valid names of folders on all file systems."""


@dataclass(frozen=True)
class TraceDescription:
    """The tables that a run records."""

    tables: tuple[str, ...] | None = None
    """Names of the tables, as in [rounds, evaluations] (default: all). Which tables are recorded does not change their
    content."""

    def __post_init__(self) -> None:
        for table in self.tables or ():
            if table not in TABLES:
                raise ValueError(unknown("table", table, TABLES))


@dataclass(frozen=True)
class LimitsDescription:
    """Limits of a run. A scenario that needs more is rejected, as far as that is known before the run or in its first
    moments: mostly a number is wrong, in unit or sign, and the run would not end within anybody's patience."""

    events: Annotated[float, Gt(0)] = 1e9
    """Events of the simulation, which take a day to compute (our choice): messages, jobs, requests, mini-batches."""
    simulated_time_s: Annotated[float, Gt(0)] = 3.15576e9
    """Simulated seconds (our choice: a century)."""
    memory_bytes: Annotated[float, Gt(0)] | None = None
    """Memory for users and model in bytes; null is the memory of the machine."""
    empty_rounds: Annotated[int, Ge(1)] = 1000
    """Rounds in a row in which no user takes part, such as under a deadline that no user meets. At this number the run
    stops, with status `stalled`. So does a run that only `stop.accuracy` or `stop.patience` can end, if so many rounds
    have had no evaluation on the test set."""


Source = Literal["partition", "weights", "network", "batches"]
"""A source of randomness with a seed of its own, a field of `SeedsDescription`."""


@dataclass(frozen=True)
class SeedsDescription:
    """Seeds of single sources of randomness, to hold one still while the others change, or to change it alone.

    All else follows `seed`, such as client selection, stochastic codecs, dropout and other draws of learning.
    """

    partition: Annotated[int, Ge(0)] | None = None
    """Seed of the division of the data among users; null is `seed`."""
    weights: Annotated[int, Ge(0)] | None = None
    """Seed of the initial weights of model and adapters; null is `seed`. A pretraining has a seed of its own."""
    network: Annotated[int, Ge(0)] | None = None
    """Seed of positions, channels, device speeds, slowdowns, faults and requests; null is `seed`."""
    batches: Annotated[int, Ge(0)] | None = None
    """Seed of the order of samples in mini-batches; null is `seed`."""


@dataclass(frozen=True)
class Scenario:
    """One experiment: a wireless network, the users' devices, and their learning or traffic."""

    name: str = "scenario"
    """Name of the run and, under `runs/`, of its folder (default: the name of the file)."""

    seed: Annotated[int, Ge(0)] = 0
    """Seed of all random draws: equal scenarios with equal seeds give equal tables."""

    seeds: SeedsDescription = field(default_factory=SeedsDescription)
    """Seeds of single sources of randomness, beside `seed`."""

    network: NetworkDescription = field(default_factory=NetworkDescription)
    """Base stations, users and the radio channel between them."""

    compute: ComputeDescription = field(default_factory=ComputeDescription)
    """Processors of users' devices, servers and sites."""

    energy: EnergyDescription = field(default_factory=EnergyDescription)
    """Energy of transmission, reception, computation and idle time, and batteries."""

    learning: LearningDescription | None = None
    """Data, model and learning system; null for none."""

    traffic: TrafficDescription | None = None
    """Requests of users to servers, with learning or without; null for none."""

    trace: TraceDescription = field(default_factory=TraceDescription)
    """The tables that the run records."""

    limits: LimitsDescription = field(default_factory=LimitsDescription)
    """Events, simulated time and memory beyond which the scenario is rejected."""

    def __post_init__(self) -> None:
        check_name(self.name)
        if self.learning is None and self.traffic is not None and self.traffic.duration_s is None:
            raise ValueError("traffic.duration_s is missing; without learning it is the end of the run")
        for name, stream in self.traffic.streams.items() if self.traffic else ():
            if stream.answered_by == "model" and not (self.learning and self.learning.scheme.serves):
                lacks = "the scheme does not answer requests" if self.learning else "there is no learning"
                raise ValueError(f"traffic.streams.{name}.answered_by: found model, but {lacks}; server is allowed")

    def seed_of(self, source: Source) -> int:
        """Return the seed of one source of randomness: its own, or `seed`."""
        own: int | None = getattr(self.seeds, source)
        return self.seed if own is None else own


def check_name(name: str) -> None:
    """Check that a name is a valid name of a folder.

    Raises:
        ValueError: it is not.
    """
    if not NAME.fullmatch(name):
        raise ValueError(f'the name "{name}" cannot name a folder; use letters, digits, - and _')


def parts() -> Parts:
    """Return the families of parts that a scenario can name, with registered parts and those of installed packages."""
    load_installed()
    return _parts(tuple((protocol, tuple(family.items())) for protocol, family in families().items()))


@cache
def _parts(listed: tuple[tuple[type, tuple[tuple[str, type], ...]], ...]) -> Parts:
    """Build them once for each set of parts, since a study reads hundreds of scenarios."""
    return Parts({protocol: dict(family) for protocol, family in listed})


def load(path: str | Path, overrides: Mapping[str, Any] | None = None) -> Scenario:
    """Read a scenario file.

    Args:
        path: the file (YAML), or the name of a shipped one, such as quickstart.
        overrides: values by dotted path, as in {"network.users.count": 50}. An override `x.name` that changes the name
            resets `x` to the defaults of the part of that name.

    Raises:
        ScenarioError: the file or an override is invalid; the message is one sentence.
    """
    return interpret(document(named(path), overrides or {}))


def interpret(document: Document) -> Scenario:
    """Interpret a document as a scenario, whose paths become absolute.

    Raises:
        ScenarioError: a field is invalid.
    """
    return located(parts().read(Scenario, document), Path(document.source).parent)


def resolved(scenario: Scenario) -> str:
    """Return a scenario as YAML with all defaults; loading it gives an equal scenario."""
    return dump(parts().plain(scenario, Scenario))


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of scenario files, for editors."""
    schema = Parts(parts().families, describing=True).adapter(Scenario).json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
