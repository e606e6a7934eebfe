"""Dispatch of tokens to experts over a network: which experts, at which sites, and what is done about misses."""

from learning.dispatch.gating import ChannelAware, Gating, SkipSmall, TopK, WeightToLatency
from learning.dispatch.misses import FromCloud, Miss, SkipMissing, Substitute, WaitForFetch
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
    "GATINGS",
    "MISSES",
    "SELECTIONS",
    "Candidate",
    "Candidates",
    "ChannelAware",
    "FromCloud",
    "Gating",
    "LeastWork",
    "MinSites",
    "Miss",
    "Nearest",
    "RandomSite",
    "SiteSelection",
    "SkipMissing",
    "SkipSmall",
    "Substitute",
    "TopK",
    "WaitForFetch",
    "WeightToLatency",
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

GATINGS: dict[str, type] = {
    "top_k": TopK,
    "channel_aware": ChannelAware,
    "skip": SkipSmall,
    "weight_to_latency": WeightToLatency,
}
