"""A server's storage divided among layers: bundles, profiles, max-plus convolutions, knapsacks, each by enumeration."""

from functools import partial
from itertools import product

import numpy as np
import pytest
from expert_caches import random_problem
from hypothesis import given, settings
from hypothesis import strategies as st

from learning.control.placement.convolution import Convolve, concave, divide_and_conquer, naive, smawk, where_concave
from learning.control.placement.knapsack import MAX_CELLS, Knapsack, by_convolution, by_states, unit_bytes
from learning.control.placement.potential import potential_s
from learning.control.placement.problem import Floats
from learning.control.placement.profiles import Profile, chained, enumerated, undominated
from learning.control.placement.server import layer_values

METHODS = (divide_and_conquer, smawk)


def by_definition(a: Floats, b: Floats) -> list[tuple[float, int]]:
    entries = range(len(a) + len(b) - 1)
    options = [[(a[j] + b[c - j], -j) for j in range(len(a)) if 0 <= c - j < len(b)] for c in entries]
    return [(value, -split) for value, split in map(max, options)]


def drawn(rng: np.random.Generator, length: int, of_concave: bool, integers: bool = True) -> Floats:
    steps = rng.integers(-4, 9, length).astype(float) if integers else rng.normal(1.0, 2.0, length)
    return np.cumsum(-np.sort(-steps) if of_concave else steps)


@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 10**6), sizes=st.tuples(st.integers(1, 14), st.integers(1, 14)))
def test_max_plus_convolutions_agree_and_split_at_the_smallest_index(seed: int, sizes: tuple[int, int]) -> None:
    rng = np.random.default_rng(seed)
    a, b = drawn(rng, sizes[0], of_concave=False), drawn(rng, sizes[1], of_concave=True)
    expected = by_definition(a, b)
    for method in (naive, *METHODS):
        assert list(zip(*method(a, b), strict=True)) == expected
    arbitrary = drawn(rng, sizes[1], of_concave=False)
    assert list(zip(*naive(a, arbitrary), strict=True)) == by_definition(a, arbitrary)


@pytest.mark.parametrize("method", METHODS)
def test_long_arrays_of_any_numbers_have_one_convolution(method: Convolve) -> None:
    rng = np.random.default_rng(5)
    for lengths in ((1, 300), (300, 1), (257, 64), (64, 257)):
        a, b = (drawn(rng, length, shape, integers=False) for length, shape in zip(lengths, (False, True), strict=True))
        assert method(a, b).value == pytest.approx(naive(a, b).value, rel=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_a_method_for_concave_arrays_is_used_for_these_alone(method: Convolve) -> None:
    rough, smooth = np.array([0.0, 0.0, 3.0, 1.0, 7.0]), np.array([0.0, 3.0, 4.0])
    assert (concave(rough), concave(smooth)) == (False, True)
    with pytest.raises(ValueError, match="not concave"):
        method(smooth, rough)
    for a, b in ((rough, smooth), (smooth, rough), (rough, rough)):
        value, split = where_concave(method)(a, b)
        assert value.tolist() == naive(a, b).value.tolist()
        assert [a[j] + b[c - j] for c, j in enumerate(split)] == value.tolist()


@pytest.mark.parametrize("top_k", [1, 2, 3])
def test_bundles_save_what_the_latency_falls_by(top_k: int) -> None:
    for seed in range(10):
        problem = random_problem(seed, experts=5, top_k=top_k)
        rng = np.random.default_rng(seed)
        others = rng.random(problem.shape) < 0.3
        others[1] = False
        for layer, value in enumerate(layer_values(problem, others, 1)):
            cached, placement = rng.random(5) < 0.6, others.copy()
            placement[1, layer] = cached
            saved = problem.saving_s(placement) - problem.saving_s(others)
            assert value._replace(potential_s=np.zeros(5)).value(cached) == pytest.approx(saved, abs=1e-12)
            assert (value.potential_s[others[0, layer]] == 0).all()
            assert len(np.unique(value.bundles, axis=0)) == len(value.bundles)


def test_an_enumerated_profile_is_the_best_for_every_storage_and_a_chained_one_close_to_it() -> None:
    ratios = []
    for seed, top_k, equal_sizes in product(range(10), (1, 2, 3), (True, False)):
        problem = random_problem(seed, experts=5, top_k=top_k, equal_sizes=equal_sizes)
        value = layer_values(problem, problem.empty(), 0)[0]
        sets = [np.array(each) for each in product([False, True], repeat=5)]
        exact, fast = enumerated(value), chained(value)
        for profile in (exact, fast):
            assert (np.diff(profile.size_bytes) > 0).all()
            assert (np.diff(profile.value) > 0).all()
            assert profile.value == pytest.approx([value.value(each) for each in profile.cached], abs=1e-15)
            assert profile.size_bytes.tolist() == [value.size_bytes[each].sum() for each in profile.cached]
        for storage in range(0, int(value.size_bytes.sum()) + 1, 2):
            best = max(value.value(each) for each in sets if value.size_bytes[each].sum() <= storage)
            found = [p.value[np.searchsorted(p.size_bytes, storage, side="right") - 1] for p in (exact, fast)]
            assert found[0] == pytest.approx(best, abs=1e-15)
            assert found[1] <= best + 1e-15
            if top_k == 1 and equal_sizes:
                assert found[1] == pytest.approx(best, abs=1e-15)
            ratios.append(found[1] / best if best > 0 else 1.0)
    assert np.mean(ratios) > 0.95


def profiles(rng: np.random.Generator, layers: int, unit: int) -> list[Profile]:
    """Profiles of integer values, whose sums are exact; sizes are multiples of `unit`."""
    return [
        Profile(
            unit * np.concatenate([[0], np.cumsum(rng.integers(1, 4, sets))]),
            np.concatenate([[0.0], np.cumsum(rng.integers(1, 9, sets))]),
            np.zeros((sets + 1, 1), dtype=np.bool_),
        )
        for sets in rng.integers(1, 5, layers)
    ]


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 10**6), layers=st.integers(1, 5), storage=st.integers(0, 40))
def test_knapsacks_choose_the_best_sets_within_the_storage(seed: int, layers: int, storage: int) -> None:
    given_profiles = profiles(np.random.default_rng(seed), layers, unit=3)

    def totals(chosen: tuple[int, ...]) -> tuple[float, int]:
        pairs = list(zip(given_profiles, chosen, strict=True))
        return sum(float(p.value[i]) for p, i in pairs), sum(int(p.size_bytes[i]) for p, i in pairs)

    every = [totals(chosen) for chosen in product(*(range(len(p.value)) for p in given_profiles))]
    best = max(value for value, size in every if size <= storage)
    knapsacks: list[Knapsack] = [by_states, by_convolution]
    knapsacks += [partial(by_convolution, convolve=where_concave(method)) for method in METHODS]
    for knapsack in knapsacks:
        value, size = totals(tuple(knapsack(given_profiles, storage)))
        assert size <= storage
        assert value == best


def test_where_sizes_have_no_common_unit_storage_is_rounded_and_never_exceeded() -> None:
    storage = 10**7
    sizes = np.array([0, 1_000_003, 2_500_000, 6_000_001])
    layers = [Profile(sizes, np.array([0.0, 2.0, 4.0, 9.0]), np.zeros((4, 1), dtype=np.bool_))] * 3
    assert unit_bytes(layers, storage) == -(-storage // MAX_CELLS)
    chosen = by_convolution(layers, storage)
    assert sizes[chosen].sum() <= storage
    assert sorted(chosen) == sorted(by_states(layers, storage)) == [1, 2, 3]
    assert unit_bytes(profiles(np.random.default_rng(0), 3, unit=3), 30) == 3
    sizes = np.array([0, storage // 3 + 1, storage - 1])  # three of the first exceed the storage by less than a unit
    layers = [Profile(sizes, np.array([0.0, 1.0, 1.5]), np.zeros((3, 1), dtype=np.bool_))] * 3
    assert sorted(by_convolution(layers, storage)) == sorted(by_states(layers, storage)) == [0, 1, 1]


def test_of_equal_sets_a_profile_has_one() -> None:
    sizes, values = np.array([0, 2, 2, 1, 3, 4]), np.array([0.0, 5.0, 5.0, 0.0, 4.0, 6.0])
    assert undominated(sizes, values).tolist() == [0, 1, 5]


def test_the_potential_is_the_largest_saving_by_one_expert_for_tokens_that_wait_for_it_alone() -> None:
    problem = random_problem(4, experts=5, top_k=2)
    expected = np.zeros((2, 5))
    for user, layer, experts, probability in zip(*problem.activations, strict=True):
        for expert in experts:
            device_s = problem.device_s[user] if problem.held[user, layer, expert] else np.inf
            before_s, after_s = min(problem.cloud_s[user], device_s), min(problem.server_s[user])
            expected[layer, expert] += probability * max(before_s - after_s, 0.0)
    assert potential_s(problem) == pytest.approx(1e-9 * expected, rel=1e-12, abs=0)
