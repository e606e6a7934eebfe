"""Hit rates of all cache sizes from one pass: those of a replay of each size, policy by policy."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.caching import POLICIES, hit_rate_curves, hits
from netsim.storage import EVICTIONS, Belady, Eviction, replay

REQUESTS = st.lists(st.integers(0, 6), min_size=1, max_size=60)


def policy_of(name: str, requests: list[int]) -> Eviction:
    """The policy of the simulator, whose caches are replayed one by one."""
    found: Any = Belady(tuple(requests)) if name == "belady" else EVICTIONS[name]()
    return found


@pytest.mark.parametrize("name", POLICIES)
@given(requests=REQUESTS)
def test_every_size_has_the_hits_of_a_replay(name: str, requests: list[int]) -> None:
    different = len(set(requests))
    expected = [
        sum(replay(requests, dict.fromkeys(requests, 1), size, policy_of(name, requests)))
        for size in range(1, different + 1)
    ]
    assert hits(requests, POLICIES[name](requests)).tolist() == expected


@given(REQUESTS)
def test_larger_caches_have_no_fewer_hits_and_no_policy_more_than_belady(requests: list[int]) -> None:
    curves = {name: hits(requests, policy(requests)) for name, policy in POLICIES.items()}
    for name, curve in curves.items():
        assert (np.diff(curve) >= 0).all(), name
        assert (curve <= curves["belady"]).all(), name
        assert curve[-1] == len(requests) - len(set(requests))  # only the first request for an item is a miss


def test_curves_of_calls() -> None:
    """Forward calls in order of time: a, b, a, a; a cache of one misses b, and with admission keeps a."""
    calls = pd.DataFrame(
        {
            "start_s": [3.0, 1.0, 2.0, 0.0, 0.5],
            "layer": [0, 0, 0, 0, 1],
            "expert": [5, 4, 5, 5, 5],
            "kind": ["expert_forward"] * 4 + ["expert_backward"],
        }
    )
    curves = hit_rate_curves(calls)
    assert curves.index.tolist() == [1, 2]
    assert curves.lru.tolist() == [0.25, 0.5]
    assert curves.lfu_admission.tolist() == [0.5, 0.5]
    assert curves.belady.tolist() == [0.5, 0.5]
