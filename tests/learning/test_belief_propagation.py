"""Belief propagation: brute force over all words, closed forms, symmetries, and measured error rates."""

from itertools import product

import numpy as np
import pytest
import torch
from lt_worlds import (
    bit_error_rates,
    db,
    errors,
    flipped_priors,
    graph_of,
    graphs_of,
    received_llrs,
    soliton,
)

from learning.fountain import propagation
from learning.fountain.degrees import without_degree_one
from learning.fountain.graph import Graph, encode
from learning.fountain.information import channel_llrs, entropy_bits
from learning.fountain.peeling import peel
from learning.fountain.propagation import (
    Propagation,
    decode,
    decoding_operations,
    encoding_operations,
    others_minimum,
    others_product,
    soft_syndrome,
)
from learning.fountain.selection import log_weights
from learning.fountain.soft_graph import soft_adjacency, soft_decode, soft_encode

K = 128


def rows(*neighbours: tuple[int, ...]) -> Graph:
    """A graph with these symbols."""
    width = max(len(row) for row in neighbours)
    padded = torch.tensor([[*row, *[0] * (width - len(row))] for row in neighbours])
    return Graph(padded, torch.tensor([[place < len(row) for place in range(width)] for row in neighbours]))


TREE = rows((0,), (0, 1), (1, 2, 3), (3, 4), (4, 5, 6), (2, 7), (7,))
"""Seven symbols on eight inputs without a cycle."""


def marginals(graph: Graph, llrs: np.ndarray, priors: np.ndarray) -> np.ndarray:
    """LLRs of the inputs by the sum over all words."""
    k = len(priors)
    words = np.array(list(product((0, 1), repeat=k)))
    coded = encode(graph, torch.from_numpy(words)).numpy()
    weight = np.exp(-(words @ priors) - coded @ llrs)
    return np.array([np.log(weight[words[:, i] == 0].sum() / weight[words[:, i] == 1].sum()) for i in range(k)])


def drawn(*shape: int, seed: int = 0, scale: float = 1.5) -> torch.Tensor:
    return scale * torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def disagreement() -> float:
    """Largest difference of the decoder from brute force on the tree, over receivers with different channels."""
    llrs, priors = drawn(6, 7), drawn(6, 8, seed=1, scale=0.7)
    decoded = decode(TREE, llrs, priors, 8).numpy()
    exact = [marginals(TREE, *pair) for pair in zip(llrs.numpy(), priors.numpy(), strict=True)]
    return float(np.abs(decoded - exact).max())


def test_without_cycles_the_decoder_computes_the_marginals():
    assert disagreement() < 1e-6


def test_an_arctan_in_place_of_atanh_would_be_seen(monkeypatch):
    """The mistake of a public implementation."""
    monkeypatch.setattr(propagation.torch, "atanh", torch.arctan)
    assert disagreement() > 0.1


@pytest.mark.parametrize("d", [1, 2, 5])
def test_a_single_symbol_has_the_closed_form(d):
    llrs, priors = drawn(1), drawn(d, seed=3)
    decoded = decode(rows(tuple(range(d))), llrs, priors, 1)
    for i in range(d):
        others = torch.tanh(priors[[j for j in range(d) if j != i]] / 2).prod()
        assert float(decoded[i] - priors[i]) == pytest.approx(float(2 * torch.atanh(torch.tanh(llrs[0] / 2) * others)))


@pytest.mark.parametrize("zeros", [0, 1, 2])
def test_the_product_of_the_others_needs_no_division(zeros):
    factors = drawn(5)
    factors[:zeros] = 0
    expected = [float(torch.cat([factors[:i], factors[i + 1 :]]).prod()) for i in range(5)]
    assert others_product(factors).tolist() == pytest.approx(expected, abs=1e-15)


def test_the_minimum_of_the_others_is_that_of_the_rest():
    values = torch.tensor([3.0, 1.0, 1.0, 2.0])
    assert others_minimum(values).tolist() == [1.0, 1.0, 1.0, 1.0]
    assert others_minimum(torch.tensor([3.0, 1.0])).tolist() == [1.0, 3.0]
    assert others_minimum(torch.tensor([3.0])).tolist() == [np.inf]


def test_min_sum_of_a_single_symbol_is_the_scaled_minimum_with_the_product_of_signs():
    decoded = decode(
        rows((0, 1, 2)), torch.tensor([2.0]), torch.tensor([-0.5, 3.0, 1.0]), 1, Propagation("min_sum", scaling=0.8)
    )
    assert decoded.tolist() == pytest.approx([-0.5 + 0.8 * 1.0, 3.0 - 0.8 * 0.5, 1.0 - 0.8 * 0.5])


def test_min_sum_is_worse_than_the_exact_rule_and_better_than_no_decoding():
    graph, generator = graphs_of(20, K, 240, soliton(K, 30)), torch.Generator().manual_seed(0)
    bits = torch.randint(0, 2, (20, K), generator=generator)
    llrs, priors = received_llrs(graph, bits, db(3), generator), flipped_priors(bits, 0.1, generator)
    exact, smallest = (
        float(errors(decode(graph, llrs, priors, 20, Propagation(rule)), bits).mean())
        for rule in ("sum_product", "min_sum")
    )
    assert exact <= smallest < 0.05


def test_damping_changes_the_way_and_not_the_end():
    """On a tree the fixed point is unique."""
    llrs, priors = drawn(7), drawn(8, seed=1)
    plain, damped = decode(TREE, llrs, priors, 60), decode(TREE, llrs, priors, 60, Propagation(damping=0.4))
    assert torch.allclose(plain, damped, atol=1e-9)
    first = decode(TREE, llrs, priors, 1) - priors
    assert torch.allclose(decode(TREE, llrs, priors, 1, Propagation(damping=0.4)) - priors, 0.6 * first)


def test_nothing_is_known_for_ever_without_degree_one_and_priors():
    graph = graph_of(K, 256, without_degree_one(soliton(K)))
    llrs = drawn(256, scale=6)
    for iterations in (1, 5, 20):
        assert decode(graph, llrs, torch.zeros(K, dtype=torch.float64), iterations).abs().max() == 0
        assert decode(graph, llrs, 0.01 * drawn(K, seed=2), iterations).abs().min() > 0


def test_priors_start_a_decoder_without_degree_one():
    """Measured: error rates .055, .0018 and 0 after 1, 5 and 20 iterations, with a tenth of the priors wrong."""
    graph = graphs_of(40, K, 256, without_degree_one(soliton(K)))
    first, later, last = (float(bit_error_rates(graph, K, db(3), t, flipped=0.1).mean()) for t in (1, 5, 20))
    assert 0.055 / 2 < first < 0.055 * 2
    assert later < 0.0018 * 3
    assert last < 1e-3


def test_with_no_symbols_the_result_is_the_priors():
    priors = drawn(2, K)
    assert torch.equal(decode(graph_of(K, 0, soliton(K)), torch.zeros(2, 0, dtype=torch.float64), priors, 5), priors)
    assert torch.equal(decode(graph_of(K, 9, soliton(K)), drawn(2, 9), priors, 0), priors)


def test_symbols_that_are_not_heard_say_nothing():
    """LLR 0 gives the same bits as a graph without the symbol: a late joiner, and erased blocks."""
    graph, priors, llrs = graph_of(K, 200, soliton(K)), drawn(K, seed=1), drawn(200, seed=2)
    silent = torch.cat([torch.zeros(80, dtype=torch.float64), llrs[80:]])
    late = decode(graph.symbols(80, 200), llrs[80:], priors, 6)
    assert torch.allclose(decode(graph, silent, priors, 6), late, atol=1e-9)


def test_degree_one_symbols_of_all_bits_at_infinite_snr_give_the_bits():
    bits = torch.randint(0, 2, (10,), generator=torch.Generator().manual_seed(4))
    graph = rows(*((i,) for i in range(10)))
    decoded = decode(graph, channel_llrs(1.0 - 2 * encode(graph, bits).double(), 1e6), torch.zeros(10).double(), 1)
    assert torch.equal((decoded < 0).long(), bits)


@pytest.mark.parametrize("m", [160, 192])
def test_without_noise_it_decides_as_peeling_where_that_succeeds(m):
    graph = graphs_of(40, K, m, soliton(K, 30))
    bits = torch.randint(0, 2, (40, K), generator=torch.Generator().manual_seed(6))
    coded = encode(graph, bits)
    peeled, known = peel(graph, coded, K)
    decoded = decode(graph, channel_llrs(1.0 - 2 * coded.double(), 1e6), torch.zeros(40, K).double(), 60)
    done = known.all(-1)
    assert done.any()
    assert torch.equal((decoded[done] < 0).long(), peeled[done])
    assert torch.equal(peeled[done], bits[done])


def test_errors_do_not_depend_on_the_word_that_is_sent():
    """With the noise reflected along with the symbols, the errors are the same bit for bit."""
    graph, generator = graphs_of(10, K, 224, soliton(K)), torch.Generator().manual_seed(0)
    bits = torch.randint(0, 2, (10, K), generator=generator)
    llrs = received_llrs(graph, torch.zeros_like(bits), db(3), generator)
    priors = flipped_priors(torch.zeros_like(bits), 0.2, generator)
    zero = decode(graph, llrs, priors, 10)
    other = decode(graph, llrs * (1.0 - 2 * encode(graph, bits)), priors * (1.0 - 2 * bits), 10)
    assert torch.allclose(other * (1.0 - 2 * bits), zero, atol=1e-9)


def test_more_symbols_iterations_and_side_information_help():
    code, priors = soliton(K, 30), (0.5, 0.2, 0.1)
    of_m = [float(bit_error_rates(graphs_of(40, K, m, code), K, db(3), 20).mean()) for m in (160, 224, 288)]
    graph = graphs_of(40, K, 256, code)
    of_t = [float(bit_error_rates(graph, K, db(3), t).mean()) for t in (2, 6, 20)]
    of_p = [float(bit_error_rates(graphs_of(40, K, 192, code), K, db(3), 20, flipped=p).mean()) for p in priors]
    for rates in (of_m, of_t, of_p):
        assert rates[0] > rates[1] > rates[2]


@pytest.mark.slow
@pytest.mark.parametrize(("m", "flipped", "measured"), [(192, 0.5, 0.30), (256, 0.5, 0.065), (192, 0.1, 0.0025)])
def test_error_rates_are_those_measured(m, flipped, measured):
    """k = 128, 3 dB, 20 iterations, all degrees."""
    rate = float(bit_error_rates(graphs_of(50, K, m, soliton(K)), K, db(3), 20, flipped).mean())
    assert measured / 2 < rate < measured * 2


@pytest.mark.parametrize(("m", "flipped"), [(384, 0.5), (256, 0.1)])
def test_nothing_is_wrong_far_above_the_threshold(m, flipped):
    assert float(bit_error_rates(graphs_of(30, K, m, soliton(K)), K, db(3), 20, flipped).mean()) < 1e-3


def test_inputs_with_larger_weights_are_protected_better():
    """Weight 3 on 32 of 128 bits, 192 symbols: measured .11, .20 of the others, and .30 in the plain code."""
    weights = torch.where(torch.arange(K) < 32, 3.0, 1.0).double()
    unequal = bit_error_rates(graphs_of(40, K, 192, soliton(K, 40), (weights / weights.mean()).log()), K, db(3), 20)
    plain = float(bit_error_rates(graphs_of(40, K, 192, soliton(K, 40)), K, db(3), 20).mean())
    assert float(unequal[:32].mean()) < 0.8 * float(unequal[32:].mean())
    assert float(unequal[:32].mean()) < 0.6 * plain


def test_weights_by_entropy_save_symbols():
    """Half of the bits are uniform, half are 1 with probability .02: measured .029 with priors, .0053 with weights."""
    k, m, graphs = 256, 288, 12
    p = torch.where(torch.arange(k) < k // 2, 0.5, 0.02).double()
    priors, generator = torch.log((1 - p) / p), torch.Generator().manual_seed(0)
    bits = (torch.rand((graphs, k), generator=generator, dtype=torch.float64) < p).long()

    def rate(exponent: float) -> float:
        code = graphs_of(graphs, k, m, soliton(k, 30), log_weights(priors, exponent))
        llrs = received_llrs(code, bits, db(3), torch.Generator().manual_seed(1))
        return float(errors(decode(code, llrs, priors, 30), bits).mean())

    assert rate(0.5) < 0.5 * rate(0)


@pytest.mark.parametrize("share", [0.8, 0.9])
def test_nothing_is_reliable_below_capacity(share):
    """m < 0.95 sum H / C: the side information leaves H bits, of which each symbol carries at most C."""
    capacity, entropy = 0.7201, float(entropy_bits(torch.tensor(0.1)))
    m = int(share * K * entropy / capacity)
    assert float(bit_error_rates(graphs_of(40, K, m, soliton(K)), K, db(3), 30, flipped=0.1).mean()) > 1e-3


def test_many_receivers_of_a_long_code_are_decoded_in_one_call():
    """1,000 inputs and 64 receivers, of which each has heard its own part and stops after its own iterations."""
    k, m, receivers = 1000, 1800, 64
    graph, generator = graph_of(k, m, soliton(k, 12)), torch.Generator().manual_seed(0)
    bits = torch.randint(0, 2, (k,), generator=generator)
    llrs = received_llrs(graph, bits.expand(receivers, -1), db(4), generator).float()
    heard = torch.arange(m) < torch.linspace(300, m, receivers)[:, None]
    own = torch.arange(receivers) % 4
    priors = flipped_priors(bits, 0.1, generator).float()
    together = decode(graph, llrs * heard, priors, 3, own_iterations=own)
    for receiver in (0, 1, 21, 62, 63):
        alone = decode(graph, llrs[receiver] * heard[receiver], priors, int(own[receiver]))
        assert torch.equal(together[receiver], alone)
    assert errors(together[own == 3], bits).mean(-1)[-1] < 0.05


def test_the_soft_syndrome_tells_whether_a_receiver_has_decoded():
    graph, generator = graphs_of(8, K, 400, soliton(K, 30)), torch.Generator().manual_seed(0)
    bits = torch.randint(0, 2, (8, K), generator=generator)
    llrs = received_llrs(graph, bits, db(9), generator)
    heard = torch.arange(400) < torch.tensor([100, 400])[:, None, None]
    few, all_of_them = (decode(graph, llrs * part, torch.zeros(8, K).double(), 20) for part in heard)
    assert (soft_syndrome(graph, llrs, all_of_them, heard[1].expand(8, -1)) > 0.9).all()
    assert (soft_syndrome(graph, llrs, few, heard[0].expand(8, -1)) < 0.9).all()
    assert errors(all_of_them, bits).mean() < 1e-3 < errors(few, bits).mean()


def test_operations_are_counted_by_edges_and_iterations():
    """T m dbar c_e, and m (dbar - 1) exclusive ors."""
    assert decoding_operations(512, 6.81, 20) == np.ceil(20 * 512 * 6.81 * 25)
    assert decoding_operations(512, 6.81, 20, Propagation("min_sum")) == np.ceil(20 * 512 * 6.81 * 8)
    assert encoding_operations(512, 6.8) == 2970


def dense(graph: Graph, k: int) -> torch.Tensor:
    """Adjacency matrix of a graph."""
    matrix = torch.zeros(*graph.neighbours.shape[:-1], k, dtype=torch.float64)
    return matrix.scatter_add(-1, graph.neighbours, graph.used.double())


def test_soft_edges_of_strength_zero_and_one_are_the_code():
    k = 24
    graph, bits = graph_of(k, 50, soliton(k)), torch.randint(0, 2, (3, k), generator=torch.Generator().manual_seed(1))
    signs = soft_encode(dense(graph, k), 1.0 - 2 * bits.double())
    assert torch.allclose(signs, 1.0 - 2 * encode(graph, bits).double(), atol=1e-12)
    llrs, priors = drawn(3, 50), drawn(3, k, seed=1)
    assert torch.allclose(soft_decode(dense(graph, k), llrs, priors, 7), decode(graph, llrs, priors, 7), atol=1e-6)


def test_gradients_reach_degrees_weights_and_priors_through_soft_edges():
    k, m = 12, 30
    generator = torch.Generator().manual_seed(0)
    degrees = soliton(k, 6).requires_grad_()
    weights, priors = torch.zeros(k, dtype=torch.float64, requires_grad=True), drawn(k).requires_grad_()
    u = [torch.rand((m, size), generator=generator, dtype=torch.float64) for size in (6, k)]
    adjacency = soft_adjacency(*u, degrees, weights, temperature=0.5)
    assert adjacency.min() >= 0
    assert adjacency.max() <= 1
    signs = soft_encode(adjacency, torch.ones(k, dtype=torch.float64))
    torch.tanh(soft_decode(adjacency, 2 * signs, priors, 5) / 2).mean().backward()
    for tensor in (degrees, weights, priors):
        assert tensor.grad is not None
        assert tensor.grad.isfinite().all()
        assert tensor.grad.abs().max() > 0


def test_certain_soft_edges_have_the_degrees_and_neighbours_of_the_draws():
    """At a low temperature the relaxed degree is the one that the Gumbel-max method draws."""
    k, m, degrees = 10, 4000, soliton(10, 5)
    generator = torch.Generator().manual_seed(3)
    u = [torch.rand((m, size), generator=generator, dtype=torch.float64) for size in (5, k)]
    adjacency = soft_adjacency(*u, degrees, torch.zeros(k, dtype=torch.float64), temperature=1e-3)
    counts = torch.bincount(adjacency.sum(-1).round().long(), minlength=6)[1:]
    expected = m * degrees
    assert float(((counts - expected).square() / expected).sum()) < 23.5  # chi-square with 4 degrees of freedom, 1e-4
