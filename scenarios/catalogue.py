"""List of all parts, scenarios and studies with one line each, for `netsim list`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from netsim.profiles import DEVICES
from scenarios.errors import ScenarioError, unknown
from scenarios.hints import summary
from scenarios.schema import parts

GROUPS = {
    "schemes": ("Scheme",),
    "models": ("Architecture",),
    "datasets": ("DatasetLoader",),
    "channels": ("PathLoss", "Fading", "RateLaw", "RateRecording"),
    "stragglers": ("SlowdownLaw", "Policy", "Participation", "StalenessWeight"),
    "schedulers": ("SchedulingPolicy", "Fidelity"),
    "faults": ("Availability",),
    "traffic": ("Arrivals", "SizeLaw"),
    "placements": ("StationPlacement", "UserPlacement"),
    "mobility": ("Mobility",),
    "antennas": ("Antenna",),
    "shadowing": ("Shadowing",),
    "disciplines": ("Discipline",),
    "eviction": ("Eviction",),
    "energy": ("ComputeEnergy",),
    "partitions": ("Partition",),
    "optimisers": ("Optimiser", "Schedule"),
    "codecs": ("Codec",),
    "reducers": ("TokenReducer",),
    "controllers": ("CutController", "SplitRule"),
    "routing": ("Routing",),
    "expert_placements": ("ExpertPlacement",),
    "generation": ("Generator", "WeightPolicy"),
    "dispatch": ("SiteSelection", "Miss", "Gating", "Prefetch"),
    "numbers": ("PerUser", "Epochs"),
}
"""Names of the Protocols of the families in each group; each family is in one group."""

SCENARIOS = Path(__file__).parent
FOLDERS = {"studies": SCENARIOS / "studies", "reproductions": SCENARIOS / "reproductions"}
"""Folders whose files are not scenarios."""
CELLS = SCENARIOS / "cells"
FILES = ("scenarios", *FOLDERS)
"""Groups of files."""


def entries(kind: str | None = None) -> Iterator[tuple[str, str, str]]:
    """Yield group, name and description of all parts, scenarios and studies, or of one group.

    Raises:
        ScenarioError: there is no such group.
    """
    groups = [*GROUPS, "profiles", *FILES]
    if kind is not None and kind not in groups:
        raise ScenarioError(f"netsim list: {unknown('kind', kind, groups)}")
    for group in groups if kind is None else [kind]:
        for name, line in _lines(group):
            yield group, name, line


def _lines(group: str) -> Iterator[tuple[str, str]]:
    if group in FILES:
        return _files(group)
    return _profiles() if group == "profiles" else _family(group)


def shipped(group: str) -> list[Path]:
    """Return the files of a group that are shipped with the package: scenarios, studies, or reproductions."""
    if group in FOLDERS:
        return sorted(FOLDERS[group].glob("*.yaml"))
    return [file for file in sorted(SCENARIOS.rglob("*.yaml")) if file.parent not in FOLDERS.values()]


def _files(group: str) -> Iterator[tuple[str, str]]:
    """Path, or name of the system, and first comment of each file."""
    for file in shipped(group):
        yield file.stem if group == "reproductions" else _near(file), _first_comment(file)


def _near(file: Path) -> str:
    """Path of a file, relative to the working directory if it is inside."""
    return str(file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file)


def _first_comment(file: Path) -> str:
    return file.read_text(encoding="utf-8").partition("\n")[0].lstrip("# ")


def _profiles() -> Iterator[tuple[str, str]]:
    """Profiles of real devices, and cells of standards."""
    for name, device in DEVICES.items():
        speed, memory = device.peak_flops_per_s / 1e9, device.memory_bytes / 1e9
        idle = "" if device.idle_power_w is None else f", {device.idle_power_w:g} W idle"
        yield name, f"{speed:g} GFLOP/s at most, {memory:g} GB, {device.power_w:g} W{idle} ({device.source})"
    for file in sorted(CELLS.glob("*.yaml")):
        yield _near(file), _first_comment(file)


def _family(group: str) -> Iterator[tuple[str, str]]:
    for protocol, family in parts().families.items():
        if protocol.__name__ in GROUPS[group]:
            for name, part in family.items():
                yield name, summary(part)
