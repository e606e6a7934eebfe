"""LT codes: published values, brute force, statistics of graphs, and peeling beside density evolution."""

import numpy as np
import pytest
import torch
from lt_worlds import STREAMS, graph_of, graphs_of, soliton
from scipy.stats import chisquare

from learning.fountain.degrees import (
    edge_degrees,
    ideal_soliton,
    mean_degree,
    robust_soliton,
    soliton_overhead,
    without_degree_one,
)
from learning.fountain.evolution import erased_share, erasure_threshold
from learning.fountain.graph import Graph, draw_graph, encode, symbol_draws
from learning.fountain.peeling import peel
from learning.fountain.selection import Windows, log_weights
from stats import assert_mean, assert_proportion

RAPTOR = {1: 0.007969, 2: 0.493570, 3: 0.166220, 4: 0.072646, 5: 0.082558, 8: 0.056058, 9: 0.037229}
RAPTOR |= {19: 0.055590, 65: 0.025023, 66: 0.003135}
"""Degree distribution of Shokrollahi, Raptor codes, 2006, table 1, for 65,536 inputs and an overhead of 0.038."""


def raptor() -> torch.Tensor:
    degrees = torch.zeros(66, dtype=torch.float64)
    for degree, share in RAPTOR.items():
        degrees[degree - 1] = share
    return degrees / degrees.sum()


@pytest.mark.parametrize("k", [1, 2, 10, 1000])
def test_soliton_distributions_sum_to_one(k):
    assert float(ideal_soliton(k).sum()) == pytest.approx(1, abs=1e-12)
    if k > 1:
        assert float(robust_soliton(k).sum()) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize(
    ("k", "c", "delta", "overhead", "mean"), [(10_000, 0.2, 0.05, 1.3118, 14.69), (128, 0.1, 0.5, 1.298, 6.81)]
)
def test_the_robust_soliton_has_the_computed_values(k, c, delta, overhead, mean):
    assert soliton_overhead(k, c, delta) == pytest.approx(overhead, abs=1e-3)
    assert float(mean_degree(robust_soliton(k, c, delta))) == pytest.approx(mean, abs=1e-2)


def test_the_robust_soliton_of_128_inputs_term_by_term():
    degrees = robust_soliton(128)
    assert degrees[:2].tolist() == pytest.approx([0.044, 0.404], abs=1e-3)
    spike = degrees[19] - degrees[20] * (21 * 20) / (20 * 19)  # degree 20 = round(k/R) has more than the ideal soliton
    ripple = 0.1 * np.log(256) * np.sqrt(128)
    assert float(spike) == pytest.approx(ripple * np.log(ripple / 0.5) / 128 / 1.298, rel=1e-3)


@pytest.mark.parametrize(("c", "delta"), [(0, 0.5), (0.1, 0), (0.1, 1)])
def test_a_robust_soliton_out_of_range_is_refused(c, delta):
    with pytest.raises(ValueError, match="c must be positive and delta between 0 and 1"):
        robust_soliton(10, c, delta)


def test_degrees_that_are_left_out_go_to_the_others_in_proportion():
    degrees = without_degree_one(soliton(64, 10))
    assert float(degrees[0]) == 0
    assert float(degrees[1] / degrees[2]) == pytest.approx(float(soliton(64)[1] / soliton(64)[2]))
    assert float(soliton(64, 10).sum()) == pytest.approx(1)


def test_the_degree_at_a_random_edge_is_weighted_by_the_degree():
    degrees = torch.tensor([0.5, 0.25, 0.25], dtype=torch.float64)
    assert edge_degrees(degrees).tolist() == pytest.approx([0.5 / 1.75, 0.5 / 1.75, 0.75 / 1.75])


def test_drawn_degrees_have_the_distribution():
    degrees, m = soliton(64, 12), 20_000
    drawn = graph_of(64, m, degrees).degrees
    counts = np.bincount(drawn, minlength=13)[1:]
    assert chisquare(counts, m * degrees.numpy()).pvalue > 1e-4


def test_neighbours_are_distinct_and_uniform_without_weights():
    k, m = 16, 20_000
    graph = graph_of(k, m, soliton(k, 6))
    for d in range(1, 7):
        rows = graph.neighbours[graph.degrees == d][:, :d]
        assert (rows.sort(-1).values.diff(dim=-1) > 0).all()
    counts = np.bincount(graph.neighbours[graph.degrees == 1][:, 0], minlength=k)
    assert chisquare(counts).pvalue > 1e-4


def test_weighted_neighbours_are_a_weighted_sample_without_replacement():
    """Two of three inputs: the probability of an ordered pair is w_a/W times w_b/(W - w_a)."""
    weights, m = torch.tensor([3.0, 2.0, 1.0], dtype=torch.float64), 20_000
    graph = graph_of(3, m, torch.tensor([0.0, 1.0], dtype=torch.float64), log_weights=weights.log())
    for a in range(3):
        for b in set(range(3)) - {a}:
            expected = float(weights[a] / 6 * weights[b] / (6 - weights[a]))
            pairs = (graph.neighbours[:, :2] == torch.tensor([a, b])).all(-1)
            assert_proportion(int(pairs.sum()), m, expected)


def test_a_symbol_is_regenerated_from_the_seed_and_its_index():
    """Both ends draw as many symbols as they need; the graph of a symbol does not depend on that."""
    k, degrees = 32, soliton(32, 8)
    long, short = graph_of(k, 200, degrees, 7), graph_of(k, 90, degrees, 7)
    assert torch.equal(long.symbols(0, 90).neighbours, short.neighbours)
    assert torch.equal(long.symbols(0, 90).used, short.used)
    assert not torch.equal(long.neighbours, graph_of(k, 200, degrees, 8).neighbours)
    alone = symbol_draws(STREAMS, k, 200, 7).tensor()[140:141]
    row = draw_graph(alone, degrees, torch.zeros(k, dtype=torch.float64))
    assert torch.equal(row.neighbours, long.symbols(140, 141).neighbours)


def test_a_message_of_another_prior_has_another_graph_of_the_same_degrees():
    priors = torch.tensor([5.0] * 16 + [0.1] * 16, dtype=torch.float64)
    plain, weighted = (graph_of(32, 100, soliton(32, 8), log_weights=log_weights(priors, kappa)) for kappa in (0, 1))
    assert torch.equal(plain.degrees, weighted.degrees)
    assert not torch.equal(plain.neighbours, weighted.neighbours)


def test_without_exponent_and_importance_the_code_is_plain_lt_bit_for_bit():
    priors = torch.linspace(-8, 8, 64, dtype=torch.float64)
    plain, unweighted = (
        graph_of(64, 300, soliton(64)),
        graph_of(64, 300, soliton(64), log_weights=log_weights(priors, 0)),
    )
    assert torch.equal(plain.neighbours, unweighted.neighbours)
    assert torch.equal(plain.used, unweighted.used)


def test_selection_weights_have_mean_one_and_follow_entropy_and_importance():
    priors = torch.tensor([0.0, 3.0, -3.0, 40.0], dtype=torch.float64)
    weights = log_weights(priors, 0.5).exp()
    assert float(weights.mean()) == pytest.approx(1)
    assert weights[0] > weights[1] > weights[3] > 0
    assert float(weights[1]) == pytest.approx(float(weights[2]))
    p = 1 / (1 + np.exp(3.0))
    entropy = -p * np.log2(p) - (1 - p) * np.log2(1 - p)
    assert float(weights[1] / weights[0]) == pytest.approx(((1e-3 + entropy) / 1.001) ** 0.5)
    important = log_weights(priors, 0.5, torch.tensor([0.0, 1.0, 0.0, 0.0], dtype=torch.float64)).exp()
    assert float(important[1] / important[2]) == pytest.approx(np.e)


def test_expanding_windows_confine_symbols_with_their_probability():
    windows, k, m = Windows((4, 16), (0.25, 0.75)), 16, 20_000
    degrees = torch.tensor([0.0, 0.0, 0.0, 0.0, 0.0, 1.0], dtype=torch.float64)
    u = symbol_draws(STREAMS, k, m, 3).tensor()
    graph = draw_graph(u, degrees, torch.zeros(k, dtype=torch.float64), windows)
    inside = graph.degrees == 4  # the small window has no more
    assert (graph.neighbours[inside][:, :4] < 4).all()
    assert (graph.degrees[~inside] == 6).all()
    assert_proportion(int(inside.sum()), m, 0.25)


@pytest.mark.parametrize(
    ("sizes", "probabilities", "message"),
    [
        ((4, 4), (0.5, 0.5), "must increase"),
        ((4,), (0.5, 0.5), "1 sizes and 2 probabilities"),
        ((4, 8), (0.5, 0.6), "sum to 1"),
    ],
)
def test_windows_that_contradict_themselves_are_refused(sizes, probabilities, message):
    with pytest.raises(ValueError, match=message):
        Windows(sizes, probabilities)


def test_encoding_is_the_exclusive_or_of_the_neighbours():
    k = 24
    graph, bits = graph_of(k, 60, soliton(k)), torch.randint(0, 2, (3, k), generator=torch.Generator().manual_seed(1))
    coded = encode(graph, bits)
    for j in range(60):
        inputs = graph.neighbours[j][graph.used[j]]
        for image in range(3):
            assert int(coded[image, j]) == np.bitwise_xor.reduce(bits[image, inputs].numpy())


def solved(graph: Graph, received: np.ndarray, k: int) -> set[int]:
    """Inputs that peeling reveals, by a list of symbols and their hidden neighbours."""
    hidden = [set(graph.neighbours[j][graph.used[j]].tolist()) for j in np.flatnonzero(received)]
    known: set[int] = set()
    while singles := {min(rest) for rest in hidden if len(rest) == 1}:
        known |= singles
        hidden = [rest - known for rest in hidden]
    return known


def test_peeling_of_several_receivers_beside_a_list_of_equations():
    k, m = 40, 70
    graph, generator = graph_of(k, m, soliton(k)), torch.Generator().manual_seed(2)
    bits = torch.randint(0, 2, (k,), generator=generator)
    received = torch.rand((12, m), generator=generator) < torch.linspace(0.2, 1, 12)[:, None]
    symbols = torch.where(received, encode(graph, bits), 0)  # of the others nothing is known
    found, known = peel(graph, symbols, k, received)
    for receiver in range(12):
        assert set(torch.nonzero(known[receiver]).flatten().tolist()) == solved(graph, received[receiver].numpy(), k)
    assert (found[known] == bits.expand(12, -1)[known]).all()
    assert known.any(-1).any()
    assert not known.all()


@pytest.mark.parametrize(("m", "share"), [(160, 0.47), (192, 0.96), (256, 1.0)])
def test_peeling_succeeds_as_often_as_measured(m, share):
    """k = 128, D = 30; the shares given are of 100 graphs, so both samples vary: four standard errors of both."""
    k, graphs = 128, 150
    code = graphs_of(graphs, k, m, soliton(k, 30))
    _, known = peel(code, torch.zeros(graphs, m, dtype=torch.int64), k)
    error = np.sqrt(share * (1 - share) * (1 / 100 + 1 / graphs)) + 0.005
    assert abs(float(known.all(-1).double().mean()) - share) < 4 * error


def test_the_ideal_soliton_of_many_inputs_needs_one_symbol_for_each():
    """Its generating function is Omega'(x) = -ln(1 - x), the capacity of the erasure channel: Luby 2002."""
    assert erasure_threshold(ideal_soliton(2000), residual=0.01) == pytest.approx(1, abs=1e-3)


def test_the_threshold_of_a_published_raptor_distribution():
    """It is designed for an overhead of 0.038 with one per cent of inputs left, with a margin for 65,536 inputs."""
    assert 1 < erasure_threshold(raptor(), residual=0.01) < 1.038
    assert float(mean_degree(raptor())) == pytest.approx(5.87, abs=0.01)  # the mean in that table


@pytest.mark.parametrize("erasure", [0.0, 0.3])
@pytest.mark.parametrize("received", [0.6, 0.8, 1.3])
def test_what_peeling_leaves_is_what_density_evolution_says(received, erasure):
    """Below and above the threshold, with and without erasures, within four standard errors of ten codes."""
    k, degrees = 300, soliton(300, 20)
    m = round(k * received / (1 - erasure))
    left = []
    for number in range(10):
        graph = graph_of(k, m, degrees, number)
        heard = torch.rand(m, generator=torch.Generator().manual_seed(number)) >= erasure
        left.append(1 - float(peel(graph, torch.zeros(m, dtype=torch.int64), k, heard)[1].double().mean()))
    assert_mean(left, float(erased_share(degrees, m / k, 2000, erasure)[-1]))


def test_inputs_that_no_symbol_covers_follow_the_poisson_law():
    """exp(-lambda), lambda = m dbar / k; without replacement it is at most 1 / k off."""
    k, m, degrees = 200, 160, soliton(200, 20)
    graph = graphs_of(60, k, m, degrees)
    covered = torch.zeros(60, k).scatter_add(-1, graph.neighbours.flatten(1), graph.used.flatten(1).float()) > 0
    lam = m * float(mean_degree(degrees)) / k
    assert_mean(1 - covered.double().mean(-1), np.exp(-lam), z=4.5)
