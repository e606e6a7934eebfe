"""Tokens on their way through a layer of experts: who gets which, and where they come back to."""

from typing import Any

import torch
from hypothesis import given
from hypothesis import strategies as st

from learning.protocols.expert_layer import combined, dispatched, routes


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
