"""Caches: textbook sequences, the optimum by brute force, inclusion, and hit rates that theory knows."""

from collections.abc import Hashable, Sequence
from functools import cache as memoised
from math import exp

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq

from netsim.storage import Belady, Eviction, Lfu, LfuAdmission, Lru, NoEviction, Storage, replay

SEQUENCES = st.lists(st.integers(0, 6), max_size=40)
CAPACITIES = st.integers(0, 6)
POLICIES = (NoEviction(), Lru(), Lfu(), Lfu(half_life_requests=3), LfuAdmission(), LfuAdmission(half_life_requests=5))
REFERENCE_STRING = (7, 0, 1, 2, 0, 3, 0, 4, 2, 3, 0, 3, 2, 1, 2, 0, 1, 7, 0, 1)
"""Silberschatz, Galvin and Gagne, Operating System Concepts, chapter Virtual memory."""


class UnitSizes(dict[Hashable, int]):
    """Every item has one byte."""

    def __missing__(self, name: Hashable) -> int:
        return 1


def played(requests: Sequence[int], items: int, eviction: Eviction) -> list[bool]:
    return replay(requests, UnitSizes(), items, eviction)


def test_lru_has_the_twelve_faults_of_the_textbook() -> None:
    assert played(REFERENCE_STRING, 3, Lru()).count(False) == 12


def test_lfu_by_hand() -> None:
    """a has two requests when c needs room, so b goes, then c for b; at last a and b have two, a the older ones."""
    cache = Storage("edge", 2, Lfu())
    evicted = [cache.store(name, 1).evicted for name in "aabcbc" if not cache.request(name)]
    assert evicted == [(), (), ("b",), ("c",), ("a",)]


def test_lfu_with_a_half_life_forgets() -> None:
    """aaabb, then c: with a half-life of one request a counts 7/4 / 8 = 7/32 and b 3/2 / 2 = 3/4, so a is evicted."""
    for half_life_requests, victim in ((None, "b"), (1.0, "a")):
        cache = Storage("edge", 2, Lfu(half_life_requests))
        for name in "aaabb":
            cache.request(name)
            cache.store(name, 1)
        cache.request("c")
        assert cache.store("c", 1).evicted == (victim,)


def test_admission_keeps_out_what_is_requested_less_often() -> None:
    cache = Storage("edge", 1, LfuAdmission())
    for name, stored in (("a", True), ("a", True), ("b", False), ("b", False), ("b", True), ("a", False)):
        cache.request(name)
        assert cache.store(name, 1).stored == stored


def most_hits(requests: Sequence[int], items: int) -> int:
    """Of all ways to keep, evict and pass over items, the number of hits of the best."""

    @memoised
    def best(position: int, held: frozenset[int]) -> int:
        if position == len(requests):
            return 0
        name = requests[position]
        if name in held:
            return 1 + best(position + 1, held)
        full = len(held) == items
        ways = [held] if full else [held, held | {name}]
        ways += [(held - {victim}) | {name} for victim in held] if full else []
        return max(best(position + 1, way) for way in ways)

    return best(0, frozenset())


@given(st.lists(st.integers(0, 4), max_size=12), st.integers(0, 3))
def test_belady_has_as_many_hits_as_the_best_of_all_ways(requests: list[int], items: int) -> None:
    assert sum(played(requests, items, Belady(tuple(requests)))) == most_hits(requests, items)


@given(SEQUENCES, CAPACITIES, st.sampled_from(POLICIES))
def test_belady_has_no_fewer_hits_than_any_policy(requests: list[int], items: int, eviction: Eviction) -> None:
    optimal = sum(played(requests, items, Belady(tuple(requests))))
    assert sum(played(requests, items, eviction)) <= optimal


def test_belady_refuses_requests_that_it_did_not_know() -> None:
    with pytest.raises(ValueError, match=r"^request 1 is for 5, which is not the one known in advance"):
        played([1, 5], 1, Belady((1, 2)))


@given(SEQUENCES, CAPACITIES)
def test_what_an_lru_cache_holds_a_larger_one_holds_too(requests: list[int], items: int) -> None:
    smaller, larger = Storage("smaller", items, Lru()), Storage("larger", items + 1, Lru())
    for name in requests:
        for cache in (smaller, larger):
            cache.request(name)
            cache.store(name, 1)
        assert all(larger.holds(each) for each in range(7) if smaller.holds(each))


@given(
    st.lists(st.tuples(st.sampled_from(["request", "put", "drop"]), st.integers(0, 6)), max_size=40),
    st.lists(st.integers(0, 9), min_size=7, max_size=7),
    st.integers(0, 20),
    st.sampled_from(POLICIES),
)
def test_bytes_are_exact_and_what_was_placed_stays(
    steps: list[tuple[str, int]], sizes: list[int], capacity_bytes: int, eviction: Eviction
) -> None:
    cache = Storage("edge", capacity_bytes, eviction)
    held: set[int] = set()
    placed: set[int] = set()
    for action, name in steps:
        if action == "drop" and name in held:
            cache.drop(name)
            held, placed = held - {name}, placed - {name}
        elif action == "put" and sum(sizes[each] for each in held | {name}) <= capacity_bytes:
            cache.put(name, sizes[name])
            held, placed = held | {name}, placed | {name}
        elif action == "request":
            assert cache.request(name) == (name in held)
            result = cache.store(name, sizes[name])
            assert set(result.evicted) <= held - placed
            assert result.stored or sum(sizes[each] for each in held | {name}) > capacity_bytes
            held = (held - set(result.evicted)) | ({name} if result.stored else set())
        assert cache.used_bytes == sum(sizes[each] for each in held) <= capacity_bytes
        assert {each for each in range(7) if cache.holds(each)} == held


def test_without_eviction_the_first_contents_stay() -> None:
    assert played([0, 1, 2, 2, 0, 1, 2], 2, NoEviction()) == [False, False, False, False, True, True, False]


def test_a_content_larger_than_the_cache_evicts_nothing() -> None:
    cache = Storage("edge", 10, Lru())
    for name, size_bytes, stored in (("a", 4, True), ("b", 11, False)):
        cache.request(name)
        assert cache.store(name, size_bytes).stored == stored
    assert cache.holds("a")


ZIPF = 1 / np.arange(1, 201) ** 0.8
POPULARITY = ZIPF / ZIPF.sum()
CACHED = 40


def measured(eviction: Eviction, popularity: np.ndarray, items: int, requests: int = 40_000) -> float:
    """Hit rate under independent requests, the first quarter of them left out."""
    drawn = np.random.Generator(np.random.Philox(key=5)).choice(len(popularity), requests, p=popularity)
    return float(np.mean(played(drawn.tolist(), items, eviction)[requests // 4 :]))


def test_lru_hits_as_often_as_che_says() -> None:
    """Che, Tung and Wang, IEEE JSAC 20(7), 2002: what was requested within the characteristic time is held.

    Fricker, Robert and Roberts (ITC 2012) find errors far below 0.01 at this size; 0.01 allows for the draws too.
    """
    time = brentq(lambda t: (1 - np.exp(-POPULARITY * t)).sum() - CACHED, 1, 1e5)
    expected = sum(p * (1 - exp(-p * time)) for p in POPULARITY)
    assert abs(measured(Lru(), POPULARITY, CACHED) - expected) < 0.01


def test_lfu_holds_the_most_popular_and_one_that_changes() -> None:
    """The counts of items this far apart are in order of popularity soon.

    All places but one belong to the most popular; the last one belongs to whichever of the others was requested last.
    """
    popularity = 0.5 ** np.arange(1, 9)
    popularity /= popularity.sum()
    head, tail = popularity[:2], popularity[2:]
    assert abs(measured(LfuAdmission(), popularity, 3) - popularity[:3].sum()) < 0.01
    assert abs(measured(Lfu(), popularity, 3) - (head.sum() + (tail**2).sum() / tail.sum())) < 0.01
