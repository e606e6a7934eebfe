"""Dropout at the cut: oracle 4 of fedsl_pq."""

from itertools import pairwise

import pytest
import torch
from named_streams import NamedStreams
from scipy import stats
from torch.func import vjp, vmap

from learning.codecs import KeptActivations
from learning.draws import Draw
from learning.reducers import Dropout

SHAPE = (8, 6, 5, 5)
STREAMS = NamedStreams(3)


def activations(shape=SHAPE):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def draw(dropout, number, shape=SHAPE):
    return Draw(STREAMS, "dropout", (number,), dropout.draw_shape(shape), torch.float64)


def kept(dropout, leaf, shape):
    """How many activations are sent."""
    return KeptActivations(dropout, leaf).kept(torch.empty(shape, device="meta"))


@pytest.mark.parametrize("rate", [0.2, 0.5])
def test_the_number_kept_is_binomial(rate):
    """Chi-square of 200 draws against Binomial(100, 1 - rate), in ten bins of about equal probability."""
    dropout = Dropout(rate)
    counts = [kept(dropout, draw(dropout, number, (4, 25)), (4, 25)) for number in range(200)]
    law = stats.binom(100, 1 - rate)
    edges = [-1, *(law.ppf(q / 10) for q in range(1, 10)), 100]
    observed = [sum(low < count <= high for count in counts) for low, high in pairwise(edges)]
    expected = [200 * (law.cdf(high) - law.cdf(low)) for low, high in pairwise(edges)]
    assert stats.chisquare(observed, expected).pvalue > 1e-3


def centred(dropout, scaled):
    """Whether the mean of scaled(z, mask) over 2 000 masks is z, within 5 standard errors."""
    z = activations((40,))
    seen = torch.stack([scaled(z, dropout.mask(draw(dropout, n, (40,)).tensor())) for n in range(2000)])
    error = z.abs() * (dropout.rate / (1 - dropout.rate) / 2000) ** 0.5
    return bool(((seen.mean(0) - z).abs() <= 5 * error).all())


def test_the_mean_is_kept():
    dropout = Dropout(0.4)
    assert centred(dropout, dropout.apply)


def test_mutation_forgetting_the_scale_would_be_found():
    """Masking without 1 / (1 - rate) shrinks the mean by the rate, far more than 5 standard errors."""
    assert not centred(Dropout(0.4), lambda z, mask: z * mask)


@pytest.mark.parametrize("granularity", ["element", "channel"])
def test_the_gradient_is_masked_and_scaled_like_the_value(granularity):
    dropout, z = Dropout(0.4, granularity), activations()
    mask = dropout.mask(draw(dropout, 0).tensor())
    _, pull = vjp(lambda z: dropout.apply(z, mask), z)
    (gradient,) = pull(torch.ones_like(z))
    assert not gradient[~mask.expand(SHAPE)].any()
    torch.testing.assert_close(
        gradient[mask.expand(SHAPE)], torch.tensor(1 / 0.6, dtype=z.dtype).expand(mask.expand(SHAPE).sum())
    )


def test_channels_go_as_a_whole():
    dropout = Dropout(0.5, "channel")
    z = dropout.apply(torch.ones(SHAPE), dropout.mask(draw(dropout, 1).tensor()))
    by_channel = z.flatten(2)
    assert torch.equal(by_channel.amin(2), by_channel.amax(2))
    assert 0 < by_channel.amax(2).count_nonzero() < 48


@pytest.mark.parametrize(("granularity", "shape"), [("element", SHAPE), ("channel", SHAPE), ("channel", (8, 30))])
def test_the_count_is_read_from_the_mask(granularity, shape):
    dropout = Dropout(0.3, granularity)
    leaf = draw(dropout, 2, shape)
    sent = dropout.apply(torch.ones(shape), dropout.mask(leaf.tensor()))
    assert kept(dropout, leaf, shape) == sent.count_nonzero()


def test_rate_zero_changes_nothing():
    dropout, z = Dropout(0.0), activations()
    leaf = draw(dropout, 3)
    assert torch.equal(dropout.apply(z, dropout.mask(leaf.tensor())), z)
    assert kept(dropout, leaf, SHAPE) == z.numel()


def test_vectorised_over_users_equals_a_loop():
    dropout = Dropout(0.3)
    z, u = activations((3, 4, 7)), torch.stack([draw(dropout, n, (4, 7)).tensor() for n in range(3)])
    together = vmap(lambda z, u: dropout.apply(z, dropout.mask(u)), randomness="error")(z, u)
    assert all(torch.equal(together[n], dropout.apply(z[n], dropout.mask(u[n]))) for n in range(3))
