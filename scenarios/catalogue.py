"""List of all parts, scenarios and studies with one line each, for `netsim list`."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, get_args, get_origin

from netsim.profiles import DEVICES
from scenarios.errors import ScenarioError, unknown
from scenarios.hints import hints, members, summary, unwrap
from scenarios.kinds import FILES, GROUPS, KINDS
from scenarios.parts import Parts
from scenarios.schema import Scenario, parts
from scenarios.shipped import SCENARIOS, shipped

CELLS = SCENARIOS / "cells"

COMMANDS = {"scenarios": "run", "studies": "sweep", "reproductions": "reproduce"}
"""Command that takes the name of a file, by group of files."""
OF_PROFILES = "compute.devices.flops_per_s.devices"
"""Field that names device profiles, with `name: profile`; likewise `memory_bytes` and `energy.compute`."""


class Entry(NamedTuple):
    """One line of the list."""

    group: str
    name: str
    place: str
    """Path of a field that takes it, the shortest one; of a file, the command that runs it by its name."""
    meaning: str


def entries(kind: str | None = None) -> Iterator[Entry]:
    """Yield all parts, scenarios and studies, or those of one group.

    Raises:
        ScenarioError: there is no such group.
    """
    if kind is not None and kind not in KINDS:
        raise ScenarioError(f"netsim list: {unknown('kind', kind, KINDS)}")
    for group in KINDS if kind is None else [kind]:
        for name, place, meaning in _lines(group):
            yield Entry(group, name, place, meaning)


@cache
def places(known: Parts) -> dict[type, str]:
    """Return the path of the field of a scenario that takes the parts of each family; of several fields, the shortest.

    Fields of sections that have a name each are written as `compute.sites.<name>.storage_bytes`.
    """
    found: dict[type, str] = {}
    ahead: deque[tuple[type, str]] = deque([(Scenario, "")])
    while ahead:
        part, path = ahead.popleft()
        for field in fields(part):
            for inner, below in _inside(hints(part)[field.name], f"{path}.{field.name}".lstrip(".")):
                if inner in known.families and inner not in found:
                    found[inner] = below
                    ahead.extend((each, below) for each in known.families[inner].values())
                elif inner not in known.families and is_dataclass(inner):
                    ahead.append((inner, below))
    return found


def _inside(hint: Any, path: str) -> Iterator[tuple[type, str]]:
    """Yield each type that a field may have, with its path; of lists and named sections that of their items."""
    for member in members(hint):
        bare, _ = unwrap(member)
        if get_origin(bare) is dict:
            yield from _inside(get_args(bare)[1], f"{path}.<name>")
        elif get_origin(bare) is tuple:
            yield from _inside(get_args(bare)[0], f"{path}[0]")
        else:
            yield bare, path


def _lines(group: str) -> Iterator[tuple[str, str, str]]:
    if group in FILES:
        return _files(group)
    return _profiles() if group == "profiles" else _family(group)


def _files(group: str) -> Iterator[tuple[str, str, str]]:
    """Path, or name of the system, command, and first comment of each file."""
    for file in shipped(group):
        name = file.stem if group == "reproductions" else _near(file)
        yield name, f"netsim {COMMANDS[group]} {file.stem}", _first_comment(file)


def _near(file: Path) -> str:
    """Path of a file, relative to the working directory if it is inside."""
    return str(file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file)


def _first_comment(file: Path) -> str:
    return file.read_text(encoding="utf-8").partition("\n")[0].lstrip("# ")


def _profiles() -> Iterator[tuple[str, str, str]]:
    """Profiles of real devices, and cells of standards."""
    for name, device in DEVICES.items():
        speed, memory = device.peak_flops_per_s / 1e9, device.memory_bytes / 1e9
        idle = "" if device.idle_power_w is None else f", {device.idle_power_w:g} W idle"
        meaning = f"{speed:g} GFLOP/s at most, {memory:g} GB, {device.power_w:g} W{idle} ({device.source})"
        yield name, OF_PROFILES, meaning
    for file in sorted(CELLS.glob("*.yaml")):
        yield _near(file), f"netsim run {file.stem}", _first_comment(file)


def _family(group: str) -> Iterator[tuple[str, str, str]]:
    known = parts()
    where = places(known)
    for protocol, family in known.families.items():
        if protocol.__name__ in GROUPS[group]:
            for name, part in family.items():
                yield name, where.get(protocol, ""), summary(part)
