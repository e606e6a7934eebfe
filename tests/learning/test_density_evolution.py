"""Density evolution: published thresholds, closed forms, and simulations of the decoder."""

from math import exp, log, sqrt

import numpy as np
import pytest
import torch
from lt_worlds import db, errors, graph_of, received_llrs, soliton
from scipy.integrate import quad
from scipy.stats import norm

from learning.fountain.evolution import edges_per_input, error_rate, evolve, mean_of, mean_tanh, poisson, prior_mean
from learning.fountain.information import binary_input_capacity, divergence_bits, entropy_bits
from learning.fountain.propagation import decode


@pytest.mark.parametrize(("snr_db", "capacity"), [(0, 0.486), (2, 0.642), (4, 0.794), (6, 0.912)])
def test_the_capacity_of_binary_inputs_in_gaussian_noise(snr_db, capacity):
    """Published to three digits; and by quadrature to nine."""
    snr = db(snr_db)
    computed = float(binary_input_capacity(torch.tensor(snr, dtype=torch.float64)))
    assert computed == pytest.approx(capacity, abs=6e-4)

    def lost(llr: float) -> float:
        return np.logaddexp(0, -llr) / log(2) * norm.pdf(llr, 2 * snr, 2 * sqrt(snr))

    assert computed == pytest.approx(1 - quad(lost, -60, 2 * snr + 60, limit=400, points=[0.0])[0], abs=1e-9)


def test_entropy_and_divergence():
    q, p = torch.tensor([0.5, 0.1, 0.0, 0.3]).double(), torch.tensor([0.5, 0.5, 0.25, 0.6]).double()
    assert entropy_bits(torch.tensor([0.0, 0.5, 1.0])).tolist() == [0, 1, 0]
    divergence = divergence_bits(q, p)
    assert float(divergence[0]) == 0
    assert (divergence[1:] > 0).all()
    assert float(divergence[1]) == pytest.approx(1 - float(entropy_bits(q[1])))  # from a fair bit
    assert float(divergence[2]) == pytest.approx(-log(0.75) / log(2))


def test_the_cost_of_bits_under_a_wrong_model_is_entropy_plus_divergence():
    q, p = torch.tensor(0.3).double(), torch.tensor(0.6).double()
    cross = -(0.3 * log(0.6) + 0.7 * log(0.4)) / log(2)
    assert float(entropy_bits(q) + divergence_bits(q, p)) == pytest.approx(cross)


@pytest.mark.parametrize("mean", [1e-3, 0.3, 2.0, 20.0])
def test_the_mean_of_tanh_is_that_by_quadrature_and_is_inverted(mean):
    def integrand(llr: float) -> float:
        return np.tanh(llr / 2) * norm.pdf(llr, mean, sqrt(2 * mean))

    spread = 12 * sqrt(2 * mean)
    expected = quad(integrand, mean - spread, mean + spread, limit=400)[0]
    assert float(mean_tanh(torch.tensor(mean).double())) == pytest.approx(expected, rel=1e-5)
    assert float(mean_of(torch.tensor(expected).double())) == pytest.approx(mean, rel=1e-4)


def test_a_consistent_gaussian_has_equal_means_of_tanh_and_its_square():
    mean = 1.7
    z = np.linspace(-9, 9, 20_001)
    t = np.tanh((mean + sqrt(2 * mean) * z) / 2)
    assert np.average(t, weights=norm.pdf(z)) == pytest.approx(np.average(t**2, weights=norm.pdf(z)), abs=1e-9)
    p = torch.tensor([0.1, 0.5]).double()
    assert mean_tanh(prior_mean(p)).tolist() == pytest.approx([0.64, 0.0], abs=1e-6)


def test_the_threshold_of_a_regular_code_under_the_gaussian_approximation():
    """LDPC code, three edges at an input, six at a check: sigma 0.8747 in Chung, Richardson and Urbanke, table II.

    Their formulas for E tanh(L/2) are approximate, which moves the threshold by half a per cent.
    """

    def succeeds(sigma: float) -> bool:
        channel = torch.tensor(2 / sigma**2).double()
        message = torch.zeros(()).double()
        for _ in range(600):
            message = mean_of(mean_tanh(channel + 2 * message) ** 5)
        return float(message) > 50

    assert succeeds(0.8747 * 0.994)
    assert not succeeds(0.8747)


@pytest.mark.parametrize("snr_db", [-3, 0, 3])
def test_small_messages_neither_grow_nor_fade_with_the_published_share_of_degree_two(snr_db):
    """Etesami and Shokrollahi 2006: a capacity-achieving code has the share C / (2 E tanh(Z/2)) of degree two."""
    snr = torch.tensor(db(snr_db)).double()
    capacity, expectation = float(binary_input_capacity(snr)), float(mean_tanh(2 * snr))
    for share, growth in ((1.0, 1.0), (0.8, 0.8), (1.2, 1.2)):
        two = share * capacity / (2 * expectation)
        degrees = torch.tensor([0.0, two, 0.0, 0.0, 1 - two]).double()
        edges = edges_per_input(1 / capacity, degrees, torch.ones(1).double())
        means = evolve(degrees, edges, snr, 4, torch.full((1,), 1e-4).double())
        assert float(means[2] - means[1]) / float(means[1] - means[0]) == pytest.approx(growth, rel=0.01)


K, CODE = 2000, soliton(2000, 20)


def simulated(symbols: float, prior: float, iterations: list[int], graphs: int = 3) -> list[float]:
    """Bit error rates at 3 dB, with Gaussian side information of this mean LLR."""
    rates = torch.zeros(len(iterations), dtype=torch.float64)
    for number in range(graphs):
        graph, generator = graph_of(K, round(symbols * K), CODE, number), torch.Generator().manual_seed(number)
        bits = torch.zeros(K, dtype=torch.int64)
        llrs = received_llrs(graph, bits, db(3), generator)
        priors = prior + sqrt(2 * prior) * torch.randn(K, generator=generator, dtype=torch.float64)
        for place, number_of in enumerate(iterations):
            rates[place] += errors(decode(graph, llrs, priors, number_of), bits).mean() / graphs
    return rates.tolist()


def predicted(symbols: float, prior: float, iterations: int) -> torch.Tensor:
    edges = edges_per_input(symbols, CODE, torch.ones(1).double())
    mean = torch.full((1,), prior).double()
    return torch.stack([error_rate(edges, m, mean)[0] for m in evolve(CODE, edges, db(3), iterations, mean)])


def test_the_prediction_with_side_information_is_the_one_published_in_the_specification():
    rates = predicted(1.5, 1.0, 20)
    assert [float(rates[t - 1]) for t in (1, 5, 10, 20)] == pytest.approx([0.1535, 0.0333, 0.0064, 0.0056], rel=0.03)


@pytest.mark.parametrize("symbols", [1.2, pytest.param(1.5, marks=pytest.mark.slow)])
def test_predictions_with_side_information_are_within_a_factor_of_two_of_simulations(symbols):
    rates = predicted(symbols, 1.0, 20)
    for t, rate in zip((1, 20), simulated(symbols, 1.0, [1, 20]), strict=True):
        assert rate < 2e-3 or 0.5 < float(rates[t - 1]) / rate < 2


def test_the_waterfall_is_where_density_evolution_puts_it():
    """With mean prior LLR 1, at 3 dB: the number of symbols with which the error rate falls below two per cent."""
    grid = [1.0, 1.1, 1.2, 1.3, 1.4]
    threshold = next(symbols for symbols in grid if float(predicted(symbols, 1.0, 100)[-1]) < 0.02)
    found = next(symbols for symbols in grid if simulated(symbols, 1.0, [40], graphs=1)[0] < 0.02)
    assert abs(found - threshold) <= 0.1 + 1e-9


def test_uncovered_inputs_are_the_floor():
    """At a perfect channel what remains are inputs without an edge, of which nothing is known: half of exp(-lambda)."""
    edges = torch.tensor([2.0, 5.0]).double()
    rate = error_rate(edges, torch.tensor(100.0).double(), torch.zeros(2).double())
    assert rate.tolist() == pytest.approx([exp(-2) / 2, exp(-5) / 2], rel=1e-5)


def test_poisson_chances_sum_to_one_with_the_mean():
    chance = poisson(torch.tensor([[3.0], [0.0]]).double(), torch.arange(61).double())
    assert chance.sum(-1).tolist() == pytest.approx([1, 1])
    assert float(chance[0] @ torch.arange(61).double()) == pytest.approx(3)
    assert float(chance[1, 0]) == 1


def test_gradients_are_those_of_finite_differences():
    degrees, prior = soliton(100, 10), torch.full((2,), 0.8).double()

    def quality(symbols: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        edges = edges_per_input(symbols, degrees, weights)
        return error_rate(edges, evolve(degrees, edges, db(3), 4, prior)[-1], prior).sum()

    point = torch.tensor(1.3).double().requires_grad_(), torch.tensor([1.4, 0.6]).double().requires_grad_()
    quality(*point).backward()
    step = 1e-4
    for tensor in point:
        gradient = tensor.grad
        assert gradient is not None
        for place in np.ndindex(*tensor.shape):
            move = torch.zeros_like(tensor)
            move[place] = step
            ahead, behind = (
                float(quality(*(t.detach() + sign * move if t is tensor else t.detach() for t in point)))
                for sign in (1, -1)
            )
            assert float(gradient[place]) == pytest.approx((ahead - behind) / (2 * step), rel=0.02)


def test_more_iterations_never_worsen_the_prediction():
    rates = predicted(1.2, 1.0, 15)
    assert (rates.diff() <= 1e-12).all()
