"""Routing distributions: proportions, distances between uses, and counts that a real model left."""

import os
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from named_streams import NamedStreams
from numpy.typing import NDArray

from learning.routing import Choices, RecordedRouting, Routing, UniformRouting, ZipfRouting
from stats import assert_proportion

STREAMS = NamedStreams(1)


def drawn(routing: Routing, tokens: int, per_token: int, experts: int, *entity: int) -> Choices:
    return routing.draw(STREAMS, tokens, per_token, experts, *entity)


def test_uniform_routing_sends_a_token_to_different_experts_all_equally_likely() -> None:
    choices = drawn(UniformRouting(), 4000, 2, 5, 0, 3)
    for expert in range(5):
        assert_proportion(int((choices == expert).any(1).sum()), 4000, 2 / 5)


@pytest.mark.parametrize("routing", [UniformRouting(), ZipfRouting(own_ranks=True), ZipfRouting(reuse=0.5)], ids=repr)
def test_a_stand_in_draws_different_experts_by_name(routing: Routing) -> None:
    shape = torch.empty(50, 3, device="meta")
    choices = routing.stand_in(STREAMS, 5, 0, 3)(shape)
    assert (choices.shape, choices.dtype) == (shape.shape, torch.int64)
    assert all(len(set(token)) == 3 and set(token) <= set(range(5)) for token in choices.tolist())
    assert torch.equal(choices, routing.stand_in(STREAMS, 5, 0, 3)(shape))
    assert not torch.equal(choices, routing.stand_in(STREAMS, 5, 1, 3)(shape))
    assert not torch.equal(choices, routing.stand_in(STREAMS, 5, 0, 4)(shape))
    with pytest.raises(ValueError, match=r"^a token cannot go to 3 of 2 experts"):
        routing.stand_in(STREAMS, 2)(torch.empty(4, 3, device="meta"))


def test_zipf_routing_draws_by_popularity_from_those_that_are_left() -> None:
    tokens = 20_000
    choices = drawn(ZipfRouting(exponent=1.5), tokens, 2, 4, 0)
    popularity = np.array([rank**-1.5 for rank in (1, 2, 3, 4)])
    popularity /= popularity.sum()
    for expert, probability in enumerate(popularity):
        assert_proportion(int((choices[:, 0] == expert).sum()), tokens, probability)
    second = choices[choices[:, 0] == 0, 1]
    for expert in (1, 2, 3):
        assert_proportion(int((second == expert).sum()), len(second), popularity[expert] / popularity[1:].sum())


def test_users_have_interests_of_their_own_that_last() -> None:
    def favourite(user: int, number: int) -> int:
        return int(np.bincount(drawn(ZipfRouting(2.0, own_ranks=True), 200, 1, 8, user, number).ravel()).argmax())

    assert all(favourite(user, 0) == favourite(user, 1) for user in range(10))
    assert len({favourite(user, 0) for user in range(10)}) > 3
    assert (
        drawn(ZipfRouting(2.0), 200, 1, 8, 0).tolist() != drawn(ZipfRouting(2.0, own_ranks=True), 200, 1, 8, 0).tolist()
    )


def distances(choices: Choices, expert: int) -> NDArray[np.int64]:
    """Numbers of tokens from one use of an expert to the next."""
    return np.diff(np.flatnonzero((choices == expert).any(1)))


@pytest.mark.parametrize("reuse", [0.0, 0.4, 0.9])
def test_distances_between_uses_have_the_stated_distribution(reuse: float) -> None:
    """Distances of one expert are independent, so that each of them passes the binomial test."""
    q = 2 / 6
    p = (1 - reuse) * q
    found = distances(drawn(UniformRouting(reuse=reuse), 60_000, 2, 6, 0), expert=3)
    assert_proportion(int((found == 1).sum()), len(found), reuse + p)
    for distance in range(2, 8):
        probability = (1 - reuse) * (1 - q) * (1 - p) ** (distance - 2) * p
        assert_proportion(int((found == distance).sum()), len(found), probability)


def test_locality_keeps_the_distribution_of_a_token_and_without_reuse_is_not_there() -> None:
    fresh = ZipfRouting().fresh(STREAMS, 50, 2, 5, 0)
    assert drawn(ZipfRouting(), 50, 2, 5, 0).tolist() == fresh.tolist()
    last = [int(drawn(ZipfRouting(reuse=0.8), 6, 1, 5, request)[-1, 0]) for request in range(4000)]
    harmonic = sum(1 / rank for rank in range(1, 6))
    for expert in range(5):
        assert_proportion(last.count(expert), len(last), 1 / (expert + 1) / harmonic)


def test_the_reuse_that_gives_a_median_distance_of_two_tokens() -> None:
    choices = drawn(UniformRouting(reuse=0.4), 20_000, 8, 64, 0)
    assert np.median(np.concatenate([distances(choices, expert) for expert in range(64)])) == 2


COUNTS = np.array([[6, 4, 2, 0], [0, 1, 1, 2], [0, 0, 8, 8]])
"""Three tokens, seen six times, twice and eight times, each time with two of four experts."""


def test_recorded_routing_has_the_recorded_proportions_of_each_token() -> None:
    """The experts of token 1 are 3 and one of 1 and 2; those of token 0 are 0 and 1 or 2, those of token 2 are 2, 3."""
    tokens = 20_000
    choices = np.sort(drawn(RecordedRouting(COUNTS, 2), tokens, 2, 4, 0))
    pairs, numbers = np.unique(choices, axis=0, return_counts=True)
    found = {tuple(pair): int(number) for pair, number in zip(pairs.tolist(), numbers, strict=True)}
    expected = {(0, 1): 4 / 16, (0, 2): 2 / 16, (1, 3): 1 / 16, (2, 3): 1 / 16 + 8 / 16}
    assert found.keys() == expected.keys()
    for pair, probability in expected.items():
        assert_proportion(found[pair], tokens, probability)


def test_all_layers_of_a_recording_draw_the_same_tokens() -> None:
    """Three tokens that go to experts 0, 1 and 2 in layer 0, and to 2, 1 and 0 in layer 1."""
    first, second = np.diag([5, 3, 2]), np.diag([5, 3, 2])[:, ::-1]
    choices = drawn(RecordedRouting(first, 1), 200, 1, 3, 4)
    assert (drawn(RecordedRouting(second, 1, layer=1), 200, 1, 3, 4) == 2 - choices).all()
    assert len(np.unique(choices)) == 3


def test_counts_that_no_top_k_gate_leaves_are_refused() -> None:
    for counts in ([[3, 1]], [[3, 0]], [[-1, 3]]):
        with pytest.raises(ValueError, match="no counts of tokens that each went to 2 distinct experts"):
            RecordedRouting(np.array(counts), 2)
    with pytest.raises(ValueError, match=r"^tokens are to go to 1 of 4 experts, but the recorded ones went to 2 of 4"):
        drawn(RecordedRouting(COUNTS, 2), 5, 1, 4)


def test_recorded_routing_of_a_real_model() -> None:
    """Expert shares of draws by token are those that were recorded, and those of the same model's separate counts."""
    if "NETSIM_DATA" not in os.environ:
        pytest.skip("NETSIM_DATA names no data folder")
    folder, tokens, text = Path(os.environ["NETSIM_DATA"]), 20_000, ("OLMoE-1B-7B-0924", "github", 7)
    chosen = [("model", "==", text[0]), ("domain", "==", text[1]), ("layer", "==", text[2])]
    rows = pq.read_table(folder / "moe_token_expert.parquet", filters=chosen)
    token, expert, count = (rows[name].to_numpy().astype(np.int64) for name in ("token_id", "expert", "count"))
    choices = drawn(RecordedRouting.of(token, expert, count, experts=64, per_token=8, layer=7), tokens, 8, 64, 0)
    assert (np.diff(np.sort(choices), axis=1) > 0).all()
    recorded = np.bincount(expert, count, minlength=64) / (count.sum() / 8)
    for number, share in enumerate(recorded):
        assert_proportion(int((choices == number).any(1).sum()), tokens, share)
    totals = pq.read_table(folder / "moe_expert_counts.parquet", filters=[*chosen, ("selection", "==", "topk")])
    expert, count = (totals[name].to_numpy().astype(np.int64) for name in ("expert", "count"))
    alone = RecordedRouting.of(np.zeros_like(expert), expert, count, experts=64, per_token=8, layer=7)
    assert np.abs(alone.counts[0] / (alone.counts.sum() / 8) / recorded - 1).max() < 0.21  # what the two differ by
