"""The scenario: what one file describes, from YAML to dataclasses and back."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Ge

from learning.description import LearningDescription
from netsim.description import ComputeDescription, EnergyDescription, NetworkDescription, TrafficDescription
from netsim.tables import TABLES
from scenarios.document import Document
from scenarios.errors import ScenarioError, unknown
from scenarios.families import families
from scenarios.parts import Parts
from scenarios.paths import located
from scenarios.plugins import load_installed
from scenarios.yaml12 import dump

NAME = re.compile(r"\w[\w.-]*")
"""What can name a folder everywhere."""


@dataclass(frozen=True)
class TraceDescription:
    """What a run writes down."""

    tables: tuple[str, ...] | None = None
    """Names of the tables to record, as in [rounds, evaluations]; all by default. Leaving one out changes no other."""

    def __post_init__(self) -> None:
        for table in self.tables or ():
            if table not in TABLES:
                raise ValueError(unknown("table", table, TABLES))


@dataclass(frozen=True)
class Scenario:
    """One experiment: a cell, its devices, and what they learn."""

    name: str = "scenario"
    """Name of the run and, under `runs/`, of its folder (default: the name of the file)."""

    seed: Annotated[int, Ge(0)] = 0
    """All random draws follow from it: equal scenarios with equal seeds give equal tables."""

    network: NetworkDescription = field(default_factory=NetworkDescription)
    """Base stations, users and the radio channel between them."""

    compute: ComputeDescription = field(default_factory=ComputeDescription)
    """Processors of devices and of the edge server."""

    energy: EnergyDescription = field(default_factory=EnergyDescription)
    """What transmitting, receiving, computing and waiting cost."""

    learning: LearningDescription | None = None
    """Data, model and learning system; without it, and without traffic, nothing happens in the cell."""

    traffic: TrafficDescription | None = None
    """Requests that users make of the server, beside learning or alone; without it there are none."""

    trace: TraceDescription = field(default_factory=TraceDescription)
    """The tables of the run."""

    def __post_init__(self) -> None:
        check_name(self.name)
        if self.learning is None and self.traffic is not None and self.traffic.duration_s is None:
            raise ValueError("traffic.duration_s is missing; without learning it tells when the run ends")


def check_name(name: str) -> None:
    """Raises ValueError unless a folder can have this name."""
    if not NAME.fullmatch(name):
        raise ValueError(f'the name "{name}" cannot name a folder; use letters, digits, - and _')


def default_name(file: str | Path) -> str:
    """What is named after its file."""
    return "-".join(re.findall(r"[\w.-]+", Path(file).stem.lstrip(".-"))) or "scenario"


def parts() -> Parts:
    """Everything that a scenario can name at this moment, parts of installed packages and of the user included."""
    load_installed()
    return _parts(tuple((protocol, tuple(family.items())) for protocol, family in families().items()))


@cache
def _parts(listed: tuple[tuple[type, tuple[tuple[str, type], ...]], ...]) -> Parts:
    """Built once for the same lists: a study reads hundreds of scenarios."""
    return Parts({protocol: dict(family) for protocol, family in listed})


def load(path: str | Path, overrides: Mapping[str, Any] | None = None) -> Scenario:
    """Read a scenario file; `overrides` maps dotted paths to values, as in {"network.users.count": 50}.

    An override `x.name` that changes the name resets `x` to the defaults of the part of that name.

    Raises:
        ScenarioError: the file or an override is wrong; the message is one sentence.
    """
    return interpret(document(path, overrides or {}))


def document(path: str | Path, overrides: Mapping[str, Any]) -> Document:
    """The file's content after overrides, named after the file unless it says otherwise."""
    read = Document.read(path)
    if "base" in read.content:
        raise ScenarioError(f"{read.source}: this is a study; `netsim sweep` runs it")
    read.content.setdefault("name", default_name(path))
    read.override(overrides)
    return read


def interpret(document: Document) -> Scenario:
    """The scenario that a document describes; its paths are absolute, and counted from the document's folder.

    Raises:
        ScenarioError: it describes none.
    """
    return located(parts().read(Scenario, document), Path(document.source).parent)


def resolved(scenario: Scenario) -> str:
    """YAML with every default written out; loading it gives an equal scenario."""
    return dump(parts().plain(scenario, Scenario))


def json_schema() -> dict[str, Any]:
    """JSON Schema of scenario files, for editors."""
    schema = parts().adapter(Scenario).json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
