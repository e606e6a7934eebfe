"""Dispatch of tokens to experts over a network: which experts, at which sites, and what is done about misses."""

from learning.dispatch.misses import NO_EXPERT, FromCloud, Miss, SkipMissing, Substitute, WaitForFetch
from learning.dispatch.selection import (
    Candidate,
    Candidates,
    LeastWork,
    MinSites,
    Nearest,
    RandomSite,
    SiteSelection,
)

__all__ = [
    "MISSES",
    "NO_EXPERT",
    "SELECTIONS",
    "Candidate",
    "Candidates",
    "FromCloud",
    "LeastWork",
    "MinSites",
    "Miss",
    "Nearest",
    "RandomSite",
    "SiteSelection",
    "SkipMissing",
    "Substitute",
    "WaitForFetch",
]

SELECTIONS: dict[str, type] = {
    "nearest": Nearest,
    "least_work": LeastWork,
    "min_sites": MinSites,
    "random": RandomSite,
}

MISSES: dict[str, type] = {
    "cloud": FromCloud,
    "wait": WaitForFetch,
    "skip": SkipMissing,
    "substitute": Substitute,
}
