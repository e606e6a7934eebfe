"""Kinds of what `netsim list` lists, in a file of its own, so that shells complete them at once."""

from __future__ import annotations

from scenarios.shipped import FOLDERS

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

FILES = ("scenarios", *FOLDERS)
"""Groups of files."""

KINDS = (*GROUPS, "profiles", *FILES)
"""All kinds, in the order of the list."""
