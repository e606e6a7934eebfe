"""Pairs of token and expert, and what a layer of experts makes of them, against sums over each token's experts."""

from functools import partial
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from learning.dispatch.pairs import Pairs, mixed, mixed_gradients
from learning.dispatch.weights import NO_EXPERT


@given(st.integers(1, 12), st.integers(1, 3), st.integers(3, 6), st.randoms(use_true_random=False))
def test_pairs_are_counted_and_tokens_come_back_to_their_places(
    tokens: int, per_token: int, experts: int, random: Any
) -> None:
    """Experts may be chosen twice, or none; each multiplies its tokens by a number of its own."""
    rows = [[random.choice([NO_EXPERT, *range(experts)]) for _ in range(per_token)] for _ in range(tokens)]
    pairs = Pairs(torch.tensor(rows), experts)
    own = {expert: {token for token, row in enumerate(rows) if expert in row} for expert in range(experts)}
    assert pairs.of_experts == {expert: len(each) for expert, each in own.items() if each}
    some = random.sample(sorted(pairs.of_experts), random.randint(0, len(pairs.of_experts)))
    assert pairs.tokens(some) == len(set().union(*(own[each] for each in some)))
    weights = torch.tensor([[random.randrange(8) for _ in row] for row in rows])
    x = torch.arange(tokens * 2, dtype=torch.float64).reshape(tokens, 2)
    factors = [{"f": torch.tensor(10.0**expert, dtype=torch.float64)} for expert in pairs.of_experts]
    plain = [sum(10**each for each in set(row) - {NO_EXPERT}) for row in rows]
    both = [list(zip(row, own, strict=True)) for row, own in zip(rows, weights.tolist(), strict=True)]
    gated = [sum(weight * 10**each for each, weight in row if each != NO_EXPERT) for row in both]
    for given_weights, sums in ((None, plain), (weights, gated)):
        total = mixed(scaled, factors, x, pairs.places, given_weights)
        assert torch.equal(total, torch.stack([row * factor for row, factor in zip(x, sums, strict=True)]))


def scaled(parameters: dict[str, Tensor], tokens: Tensor) -> Tensor:
    return parameters["f"] * tokens


@pytest.mark.parametrize("weighted", [False, True])
def test_gradients_are_those_of_autograd(weighted: bool) -> None:
    """Of the sums written out. The last token has an expert twice, one has a single expert, and expert 2 no token."""
    draw = partial(torch.rand, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    x, weights, pulled, *matrices = draw(1, 5, 3), draw(5, 2), draw(1, 5, 3), *draw(4, 3, 3)
    rows = [[0, 1], [1, 3], [NO_EXPERT, 1], [0, 3], [3, 3]]
    leaves = [each.requires_grad_() for each in (x, weights, *matrices)]
    total = torch.zeros(5, 3, dtype=torch.float64)
    for token, row in enumerate(rows):
        for expert in set(row) - {NO_EXPERT}:
            share = sum(weights[token, place] for place in range(2) if row[place] == expert) if weighted else 1
            total[token] = total[token] + share * (x[0, token] @ matrices[expert])
    wanted = torch.autograd.grad((total * pulled[0]).sum(), leaves, allow_unused=True)
    of_x, of_weights, *of_matrices = [
        torch.zeros_like(leaf) if each is None else each for leaf, each in zip(leaves, wanted, strict=True)
    ]
    x, weights, *matrices = [leaf.detach() for leaf in leaves]
    pairs = Pairs(torch.tensor(rows), 4)
    assert list(pairs.of_experts) == [0, 1, 3]
    called = [{"w": matrices[each]} for each in pairs.of_experts]
    *found, last = mixed_gradients(product, called, x, pairs.places, weights if weighted else None, pulled)
    if weighted:
        torch.testing.assert_close(last, of_weights)
        last = found.pop()
    torch.testing.assert_close(last, of_x)
    torch.testing.assert_close([each["w"] for each in found], [of_matrices[each] for each in pairs.of_experts])


def product(parameters: dict[str, Tensor], tokens: Tensor) -> Tensor:
    return tokens @ parameters["w"]
