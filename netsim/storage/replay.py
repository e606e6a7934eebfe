"""A sequence of requests played to one cache without a network: how often each policy hits."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping

from netsim.storage.eviction import Eviction
from netsim.storage.storage import Storage


def replay(
    requests: Iterable[Hashable], sizes_bytes: Mapping[Hashable, int], capacity_bytes: float, eviction: Eviction
) -> list[bool]:
    """Request items one after the other from a cache that is empty at first and stores each missing one at once.

    Args:
        requests: names of the items, in order, such as the column `expert` of a run's `expert_calls`.
        sizes_bytes: size of each item in bytes.
        capacity_bytes: space of the cache in bytes.
        eviction: the policy.

    Returns:
        For each request, whether it was a hit.
    """
    cache, hits = Storage("cache", capacity_bytes, eviction), []
    for name in requests:
        hits.append(cache.request(name))
        if not hits[-1]:
            cache.store(name, sizes_bytes[name])
    return hits
