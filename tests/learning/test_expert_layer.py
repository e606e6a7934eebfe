"""Tokens on their way through a layer of experts: who gets which, and where they come back to."""

from typing import Any

import torch
from hypothesis import given
from hypothesis import strategies as st

from learning.dispatch.pairs import added, added_weighted, dispatched, routes


@given(st.integers(1, 12), st.integers(1, 3), st.integers(3, 6), st.randoms(use_true_random=False))
def test_tokens_come_back_to_their_places(tokens: int, per_token: int, experts: int, random: Any) -> None:
    """Dispatched, multiplied by a number of each expert and added: a sum over each token's experts."""
    chosen = torch.tensor([random.sample(range(experts), per_token) for _ in range(tokens)])
    x = torch.arange(tokens * 2, dtype=torch.float64).reshape(tokens, 2)
    ways = routes(chosen)
    assert list(ways) == sorted(set(chosen.flatten().tolist()))
    weights = torch.tensor([[random.randrange(8) for _ in range(per_token)] for _ in range(tokens)])
    total, weighted = torch.zeros_like(x), torch.zeros_like(x)
    for expert, (positions, mask) in ways.items():
        outputs = dispatched(x, positions) * 10**expert
        total = added(total, positions, outputs)
        weighted = added_weighted(weighted, positions, mask, weights, outputs)
    pairs = [list(zip(chosen[i].tolist(), weights[i].tolist(), strict=True)) for i in range(tokens)]
    assert torch.equal(total, torch.stack([x[i] * sum(10**e for e, _ in own) for i, own in enumerate(pairs)]))
    assert torch.equal(weighted, torch.stack([x[i] * sum(w * 10**e for e, w in own) for i, own in enumerate(pairs)]))
