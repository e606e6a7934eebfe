"""Routing distributions: proportions, distances between uses, and counts that a real model left."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from named_streams import NamedStreams
from numpy.typing import NDArray

from learning.routing import Choices, Layer, RecordedRouting, Routing, TokenCounts, UniformRouting, ZipfRouting
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


def test_interests_change_after_the_given_number_of_requests_and_not_before() -> None:
    """Draws equal those of constant interests up to the change; later ones have new favourites, as long as before."""
    constant, changing = ZipfRouting(9.0, own_ranks=True), ZipfRouting(9.0, own_ranks=True, change_after_requests=3)

    def same(number: int) -> bool:
        pairs = [[drawn(law, 20, 2, 8, user, number).tolist() for law in (constant, changing)] for user in range(8)]
        return all(one == other for one, other in pairs)

    assert [same(number) for number in (-1, 0, 2, 3, 5)] == [True, True, True, False, False]

    def favourites(number: int) -> list[int]:
        return [int(np.bincount(drawn(changing, 20, 1, 8, user, number).ravel()).argmax()) for user in range(8)]

    assert favourites(0) == favourites(2) != favourites(3) == favourites(5) != favourites(6)
    with pytest.raises(ValueError, match=r"^change_after_requests is about the interests of each user"):
        ZipfRouting(change_after_requests=3)


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


def counted(table: NDArray[np.int64], per_token: int | None = None) -> TokenCounts:
    """Counts of a dense table (tokens, experts), in any order of rows."""
    tokens, experts = np.nonzero(table)
    order = np.random.default_rng(1).permutation(len(tokens))
    return TokenCounts.of(tokens[order], experts[order], table[tokens, experts][order], per_token)


def saved(tmp_path: Path, tables: dict[tuple[str, str, int], NDArray[np.int64]], **columns: Any) -> str:
    """A file of dense tables by model, domain and layer."""
    rows = [
        {"model": model, "domain": domain, "layer": layer, "token_id": token, "expert": expert, "count": table[at]}
        for (model, domain, layer), table in tables.items()
        for at in np.ndindex(table.shape)
        if table[at] > 0
        for token, expert in [at]
    ]
    file = tmp_path / "counts.parquet"
    frame = pd.DataFrame(rows).assign(**columns)
    frame.astype({"model": "category"}).to_parquet(file)
    return str(file)


def test_recorded_routing_has_the_recorded_proportions_of_each_token(tmp_path: Path) -> None:
    """The experts of token 1 are 3 and one of 1 and 2; those of token 0 are 0 and 1 or 2, those of token 2 are 2, 3."""
    tokens = 20_000
    choices = np.sort(drawn(RecordedRouting(saved(tmp_path, {("m", "d", 3): COUNTS})), tokens, 2, 4, 0))
    pairs, numbers = np.unique(choices, axis=0, return_counts=True)
    found = {tuple(pair): int(number) for pair, number in zip(pairs.tolist(), numbers, strict=True)}
    expected = {(0, 1): 4 / 16, (0, 2): 2 / 16, (1, 3): 1 / 16, (2, 3): 1 / 16 + 8 / 16}
    assert found.keys() == expected.keys()
    for pair, probability in expected.items():
        assert_proportion(found[pair], tokens, probability)


def test_all_layers_of_a_recording_draw_the_same_tokens(tmp_path: Path) -> None:
    """Three tokens that go to experts 0, 1 and 2 in layer 0, and to 2, 1 and 0 in layer 1, repeated or not."""
    first = np.diag([5, 3, 1])
    routing = RecordedRouting(saved(tmp_path, {("m", "d", 0): first, ("m", "d", 1): first[:, ::-1]}), reuse=0.5)
    choices, other = (routing.draw(STREAMS, 200, 1, 3, 4, layer=Layer(number, 2)) for number in (0, 1))
    assert (other == 2 - choices).all()
    assert len(np.unique(choices)) == 3


@pytest.mark.parametrize(("layers", "recorded"), [(1, [0]), (2, [0, 2]), (3, [0, 1, 2]), (5, [0, 0, 1, 2, 2])])
def test_layers_have_the_recorded_ones_at_the_same_depth(layers: int, recorded: list[int], tmp_path: Path) -> None:
    tables = {("m", "d", layer): np.eye(3, dtype=int)[[layer // 7]] for layer in (0, 7, 14)}
    routing = RecordedRouting(saved(tmp_path, tables))
    found = [routing.draw(STREAMS, 1, 1, 3, 0, layer=Layer(number, layers))[0, 0] for number in range(layers)]
    assert found == recorded


def test_users_have_texts_of_their_domains(tmp_path: Path) -> None:
    one, two = np.array([[3, 0]]), np.array([[0, 1]])
    file = saved(tmp_path, {("m", "law", 0): one, ("m", "art", 0): two})
    routing = RecordedRouting(file, domains=("law", "art"))
    assert [int(routing.draw(STREAMS, 50, 1, 2, user).mean() * 2) for user in range(4)] == [0, 2, 0, 2]
    both = drawn(RecordedRouting(file), 4000, 1, 2, 0)
    assert_proportion(int((both == 1).sum()), 4000, 1 / 4)


def test_counts_of_experts_alone(tmp_path: Path) -> None:
    """Of 10 tokens with two of three experts each, 9, 7 and 4 went to these; the first choices tell the two."""
    rows = {"model": "m", "domain": "d", "layer": 0}
    frame = pd.DataFrame(
        [
            {**rows, "selection": selection, "expert": expert, "count": count}
            for selection, counts in (("topk", (9, 7, 4)), ("top1", (6, 3, 1)))
            for expert, count in enumerate(counts)
        ]
    )
    file = str(tmp_path / "counts.parquet")
    frame.to_parquet(file)
    choices = drawn(RecordedRouting(file), 4000, 2, 3, 0)
    for expert, share in enumerate((0.9, 0.7, 0.4)):
        assert_proportion(int((choices == expert).any(1).sum()), 4000, share)
    with pytest.raises(ValueError, match=r"^tokens are to go to 1 of 3 experts, but the recorded ones went to 2 of 3"):
        RecordedRouting(file).check(1, 3)
    frame[frame.selection == "topk"].to_parquet(file)
    RecordedRouting(file).check(2, 3)
    with pytest.raises(ValueError, match="no counts of tokens that each went to 3 distinct experts"):
        RecordedRouting(file).check(3, 3)


@given(st.data())
def test_counts_against_a_count_by_hand(data: st.DataObject) -> None:
    """Whatever tokens went to two distinct experts, the shares of each token are the counts over the occurrences."""
    pairs = st.permutations(range(4)).map(lambda order: order[:2])
    seen = data.draw(st.lists(st.tuples(st.integers(0, 3), pairs), min_size=1, max_size=12))
    table = np.zeros((4, 4), dtype=np.int64)
    for token, pair in seen:
        table[token, list(pair)] += 1
    counts = counted(table, 2)
    assert counts.occurrences.tolist() == [n for t in range(4) if (n := sum(token == t for token, _ in seen))]
    assert (counts._rows(np.arange(len(counts.ends)), 4) == table[table.sum(1) > 0]).all()
    choices = counts.choices(np.random.default_rng(0), np.zeros(50, dtype=np.int64), 4)
    possible = table[table.sum(1) > 0][0] > 0
    assert (np.diff(np.sort(choices), axis=1) > 0).all()
    assert possible[choices].all()


def test_counts_that_no_top_k_gate_leaves_are_refused() -> None:
    for table in ([[3, 1]], [[3, 0]], [[-1, 3]]):
        with pytest.raises(ValueError, match="no counts of tokens that each went to 2 distinct experts"):
            counted(np.array(table), 2)
    assert counted(np.array([[4, 4, 0], [1, 0, 1]])).per_token == 2  # the token that was seen once tells


def test_what_a_recording_does_not_have_is_said_in_one_sentence(tmp_path: Path) -> None:
    file = saved(tmp_path, {("a", "d", 0): COUNTS, ("b", "e", 0): COUNTS})
    wrong = {
        "there is no file .*NETSIM_DATA": RecordedRouting(str(tmp_path / "none.parquet")),
        "has several models, a, b; model must name one": RecordedRouting(file),
        "has no model c; it has a, b": RecordedRouting(file, "c"),
        "has no domain e; it has d$": RecordedRouting(file, "a", ("e",)),
        "recorded ones went to 2 of 4": RecordedRouting(file, "a"),
    }
    for sentence, routing in wrong.items():
        with pytest.raises(ValueError, match=sentence):
            routing.check(2, 5)
    text = tmp_path / "text.parquet"
    text.write_text("no table")
    with pytest.raises(ValueError, match=r"text.parquet cannot be read as Parquet"):
        RecordedRouting(str(text)).check(2, 4)
    pd.DataFrame({"layer": [0], "expert": [1]}).to_parquet(text)
    with pytest.raises(ValueError, match="has no column count; it has layer, expert"):
        RecordedRouting(str(text)).check(2, 4)


@pytest.mark.parametrize("file", ["moe_token_expert.parquet", "moe_expert_counts.parquet"])
def test_recorded_routing_of_a_real_model(file: str) -> None:
    """Shares of experts in draws are those of the table, and a layer in the middle has the recorded middle layer."""
    if "NETSIM_DATA" not in os.environ:
        pytest.skip("NETSIM_DATA names no data folder")
    path, tokens = Path(os.environ["NETSIM_DATA"]) / file, 10_000
    routing = RecordedRouting(str(path), "OLMoE-1B-7B-0924", ("arxiv", "github"))
    routing.check(8, 64)
    choices = routing.draw(STREAMS, tokens, 8, 64, 1, layer=Layer(1, 3))
    assert (np.diff(np.sort(choices), axis=1) > 0).all()
    rows = pq.read_table(path, filters=[("domain", "==", "github"), ("layer", "==", 7)]).to_pandas()
    rows = rows[(rows.model == "OLMoE-1B-7B-0924") & (rows.get("selection", "topk") == "topk")]
    shares = np.bincount(rows.expert, rows["count"], minlength=64) / 208_896
    for number, share in enumerate(shares):
        assert_proportion(int((choices == number).any(1).sum()), tokens, share)
