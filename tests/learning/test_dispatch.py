"""Rules of dispatch: which site, which expert in place of a missing one, which experts of a gate."""

from collections.abc import Callable
from itertools import combinations
from math import log
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from learning.dispatch import (
    Candidate,
    ChannelAware,
    FromCloud,
    Gating,
    LeastWork,
    MinSites,
    Nearest,
    RandomSite,
    SiteSelection,
    SkipMissing,
    SkipSmall,
    Substitute,
    TopK,
    WaitForFetch,
    WeightToLatency,
)
from learning.dispatch.misses import similarities
from learning.dispatch.weights import NO_EXPERT, renormalised, renormalised_gradient
from learning.models import Experts

SITES = ("a", "b", "c", "d")


def draw(seed: int = 0) -> Callable[[], np.random.Generator]:
    return lambda: np.random.default_rng(seed)


times = st.floats(0.001, 1.0)
held = st.dictionaries(
    st.integers(0, 9),
    st.lists(st.sampled_from(SITES), min_size=1, unique=True),
    min_size=1,
)


@st.composite
def candidates(draw: Any) -> dict[int, list[Candidate]]:
    backlogs_s = {site: draw(times) for site in SITES}
    return {
        expert: [Candidate(site, draw(times), draw(times), backlogs_s[site]) for site in sites]
        for expert, sites in draw(held).items()
    }


@given(candidates())
@pytest.mark.parametrize(
    "selection", [Nearest(), LeastWork(), MinSites(), RandomSite()], ids=lambda s: type(s).__name__
)
def test_each_expert_goes_to_one_of_its_sites(selection: SiteSelection, given: dict[int, list[Candidate]]) -> None:
    selected = selection.select(given, draw())
    assert list(selected) == list(given)
    assert all(selected[expert] in {each.site for each in sites} for expert, sites in given.items())


@given(candidates())
def test_nearest_and_least_work_by_brute_force(given: dict[int, list[Candidate]]) -> None:
    nearest = Nearest().select(given, draw())
    for expert, sites in given.items():
        assert min(each.idle_s for each in sites) == next(e.idle_s for e in sites if e.site == nearest[expert])
    assigned_s = dict.fromkeys(SITES, 0.0)
    chosen = LeastWork().select(given, draw())
    for expert, sites in sorted(given.items()):
        delays_s = {each.site: each.idle_s + each.backlog_s + assigned_s[each.site] for each in sites}
        assert delays_s[chosen[expert]] == min(delays_s.values())
        assigned_s[chosen[expert]] += next(each.work_s for each in sites if each.site == chosen[expert])


@given(candidates())
def test_min_sites_is_within_the_bound_of_greedy_cover(given: dict[int, list[Candidate]]) -> None:
    """Brute force over all sets of sites for the minimum; never more than 1 + ln n times it, and no site too many."""
    selected = set(MinSites().select(given, draw()).values())

    def covers(sites: tuple[str, ...]) -> bool:
        return all({each.site for each in own} & set(sites) for own in given.values())

    fewest = next(n for n in range(1, len(SITES) + 1) if any(covers(some) for some in combinations(SITES, n)))
    assert fewest <= len(selected) <= (1 + log(len(given))) * fewest


def test_min_sites_takes_the_site_with_all_experts_and_of_equal_ones_the_nearer() -> None:
    far, near = Candidate("a", 0.3, 0.1, 0.0), Candidate("b", 0.2, 0.1, 0.0)
    alone = Candidate("c", 0.001, 0.0, 0.0)
    assert set(MinSites().select({0: [alone, far, near], 1: [far, near]}, draw()).values()) == {"b"}


def test_random_sites_are_equally_likely() -> None:
    """3000 draws of three sites: each within four standard deviations (about 26 each) of a third."""
    sites = [Candidate(site, 1.0, 1.0, 0.0) for site in "abc"]
    selected = RandomSite().select(dict.fromkeys(range(3000), sites), draw(5))
    counts = [list(selected.values()).count(site) for site in "abc"]
    assert all(abs(count - 1000) < 4 * 26 for count in counts)
    assert selected == RandomSite().select(dict.fromkeys(range(3000), sites), draw(5))
    assert selected != RandomSite().select(dict.fromkeys(range(3000), sites), draw(6))


def test_what_becomes_of_missing_experts() -> None:
    similarity = torch.tensor([[1, 0.2, 0.9, 0.5], [0.2, 1, -0.1, 0.3], [0.9, -0.1, 1, 0.4], [0.5, 0.3, 0.4, 1.0]])
    assert FromCloud().replaced([0], [1], None) is WaitForFetch().replaced([0], [1], None) is None
    assert SkipMissing().replaced([0, 2], [1], None) == {0: NO_EXPERT, 2: NO_EXPERT}
    assert Substitute().replaced([0, 2], [1, 3], similarity) == {0: 3, 2: 3}
    assert Substitute().replaced([0, 1], [2, 3], similarity) == {0: 2, 1: 3}
    assert Substitute().replaced([0, 3], [1, 2], None) == {0: 1, 3: 1}
    assert Substitute().replaced([0], [], similarity) is None


def linear(weights: dict[str, Tensor], x: Tensor) -> Tensor:
    return x @ weights["w"]


def test_similarity_is_the_mean_cosine_of_outputs() -> None:
    generator = torch.Generator().manual_seed(0)
    weights = [{"w": torch.randn(5, 3, generator=generator)} for _ in range(3)]
    weights.append({"w": -2 * weights[0]["w"]})
    probe = torch.randn(1, 40, 5, generator=generator)
    found = similarities(linear, weights, probe)
    for a, b in combinations(range(4), 2):
        cosine = torch.nn.functional.cosine_similarity(linear(weights[a], probe), linear(weights[b], probe), dim=-1)
        assert found[a, b] == found[b, a] == pytest.approx(float(cosine.mean()), abs=1e-6)
    assert found.diagonal().tolist() == pytest.approx([1] * 4)
    assert float(found[0, 3]) == pytest.approx(-1)


def gates(softmax: Any, seed: int) -> tuple[Experts, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(30, 6, generator=generator, dtype=torch.float64)
    return Experts(6, 3, softmax), logits, torch.rand(6, generator=generator, dtype=torch.float64) + 0.01


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("softmax", ["all", "chosen"])
@pytest.mark.parametrize("gating", [ChannelAware(0.0), SkipSmall(0.0), WeightToLatency(1.0)], ids=repr)
def test_policies_without_effect_are_top_k_bit_for_bit(gating: Gating, softmax: Any, seed: int) -> None:
    described, logits, delays_s = gates(softmax, seed)
    exact, found = TopK().choose(described, logits, delays_s), gating.choose(described, logits, delays_s)
    assert torch.equal(found[0], exact[0])
    assert torch.equal(found[1], exact[1])


@pytest.mark.parametrize("softmax", ["all", "chosen"])
@pytest.mark.parametrize("gating", [ChannelAware(3.0), SkipSmall(0.3), WeightToLatency(0.6)], ids=repr)
def test_other_weights_are_scaled_up_to_the_same_sum(gating: Gating, softmax: Any) -> None:
    described, logits, delays_s = gates(softmax, 7)
    ids, weights = gating.choose(described, logits, delays_s)
    exact_ids, exact = TopK().choose(described, logits, delays_s)
    assert torch.allclose(weights.sum(-1), exact.sum(-1), rtol=1e-12)
    assert (weights[ids == NO_EXPERT] == 0).all()
    assert (weights[ids != NO_EXPERT] > 0).all()
    assert not torch.equal(ids, exact_ids)
    probabilities = logits.softmax(-1)
    for token in range(len(logits)):
        own = [(each, w) for each, w in zip(ids[token].tolist(), weights[token].tolist(), strict=True) if each >= 0]
        ratios = [w / float(probabilities[token, each]) for each, w in own]
        assert ratios == pytest.approx([ratios[0]] * len(own))  # as the gate has them, but for the scale


def test_channel_aware_gates_by_logits_less_delays() -> None:
    described, logits, delays_s = gates("all", 3)
    ids, _ = ChannelAware(5.0).choose(described, logits, delays_s)
    assert ids.tolist() == (logits - 5.0 * delays_s).topk(3).indices.tolist()


def test_small_weights_are_skipped_and_never_the_best() -> None:
    described, logits, delays_s = gates("chosen", 3)
    exact_ids, exact = TopK().choose(described, logits, delays_s)
    ids, _ = SkipSmall(0.3).choose(described, logits, delays_s)
    for own, left, weights in zip(exact_ids.tolist(), ids.tolist(), exact.tolist(), strict=True):
        kept = [weight >= 0.3 or place == 0 for place, weight in enumerate(weights)]
        assert left == [each if keep else NO_EXPERT for each, keep in zip(own, kept, strict=True)]
    assert (SkipSmall(1.0).choose(described, logits, delays_s)[0][:, 1:] == NO_EXPERT).all()


def test_weight_to_latency_by_hand() -> None:
    described, logits, delays_s = gates("chosen", 4)
    exact_ids, exact = TopK().choose(described, logits, delays_s)
    ids, _ = WeightToLatency(0.6).choose(described, logits, delays_s)
    for own, left, weights in zip(exact_ids.tolist(), ids.tolist(), exact.tolist(), strict=True):
        best, total = sorted(range(3), key=lambda k: -weights[k] / float(delays_s[own[k]])), 0.0
        kept = set[int]()
        for k in best:
            if total < 0.6 * sum(weights):
                kept.add(k)
                total += weights[k]
        assert left == [own[k] if k in kept else NO_EXPERT for k in range(3)]


def test_weights_of_tokens_that_keep_no_expert_are_zero() -> None:
    weights = torch.tensor([[0.5, 0.25], [0.3, 0.1]], dtype=torch.float64)
    kept = torch.tensor([[False, False], [False, True]])
    assert renormalised(weights, kept).tolist() == [[0, 0], [0, pytest.approx(0.4)]]


def test_gradients_of_renormalised_weights_are_those_of_autograd() -> None:
    weights = torch.tensor([[0.5, 0.25, 0.1], [0.3, 0.1, 0.2], [0.1, 0.2, 0.3]], dtype=torch.float64)
    kept = torch.tensor([[True, False, True], [True, True, True], [False, False, False]])
    pull = torch.tensor([[1.0, 2, 3], [4, 5, 6], [7, 8, 9]], dtype=torch.float64)
    leaf = weights.clone().requires_grad_()
    sums = leaf.sum(-1, keepdim=True)
    expected = torch.stack([leaf[0] * kept[0] * (sums[0] / (leaf[0, 0] + leaf[0, 2])), leaf[1], 0 * leaf[2]])
    expected.backward(pull)
    torch.testing.assert_close(renormalised_gradient(weights, kept, pull), leaf.grad, rtol=1e-12, atol=1e-12)
