"""Tokens on their way through a layer of experts: who gets which, and where they come back to."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from named_streams import NamedStreams

from learning.protocols.expert_layer import combined, dispatched, routes
from learning.routing import UniformRouting


def test_uniform_routing_sends_a_token_to_different_experts_all_equally_likely() -> None:
    shape = torch.empty(4000, 2, device="meta")
    drawn = UniformRouting(5).stand_in(NamedStreams(1), 0, 3)(shape)
    assert (drawn[:, 0] != drawn[:, 1]).all()
    counts = torch.bincount(drawn.flatten(), minlength=5)
    assert ((counts - 1600).abs() < 4 * (8000 * 0.2 * 0.8) ** 0.5).all()  # each 1600 +- 4 standard deviations
    assert torch.equal(drawn, UniformRouting(5).stand_in(NamedStreams(1), 0, 3)(shape))
    assert not torch.equal(drawn, UniformRouting(5).stand_in(NamedStreams(1), 1, 3)(shape))
    with pytest.raises(ValueError, match="a token cannot go to 3 of 2 experts"):
        UniformRouting(2).stand_in(NamedStreams(1))(torch.empty(4, 3, device="meta"))


@given(st.integers(1, 12), st.integers(1, 3), st.integers(3, 6), st.randoms(use_true_random=False))
def test_tokens_come_back_to_their_places(tokens: int, per_token: int, experts: int, random: Any) -> None:
    """Dispatched, multiplied by a number of each expert and combined: a weighted sum over each token's experts."""
    chosen = torch.tensor([random.sample(range(experts), per_token) for _ in range(tokens)])
    x = torch.arange(tokens * 2, dtype=torch.float64).reshape(tokens, 2)
    ways = routes(chosen)
    assert list(ways) == sorted(set(chosen.flatten().tolist()))
    outputs = [dispatched(x, positions) * 10**expert for expert, positions in ways.items()]
    expected = torch.stack([x[i] * sum(10**e for e in chosen[i].tolist()) for i in range(tokens)])
    assert torch.equal(combined(tokens, list(ways.values()), outputs), expected)
