"""A class token, its attention, and layers that take any number of tokens."""

import pytest
import torch
from named_streams import NamedStreams

from learning import steps
from learning.adapters import Lora
from learning.executor import Batched
from learning.models import Segment, Vit

WIDTH, HEADS, TOKENS, BATCH = 16, 2, 9, 3
WHOLE = Segment(Vit(4, WIDTH, 3, HEADS, class_token=True), (1, 12, 12), 10, 0, 5)
PARAMETERS = WHOLE.initial(NamedStreams(), torch.float64)
X = torch.randn(BATCH, 1, 12, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def parts(at):
    front, back = WHOLE.cut(at)
    return front, {n: PARAMETERS[n] for n in front.parameters()}, back, {n: PARAMETERS[n] for n in back.parameters()}


def by_hand(block, z):
    """Softmax of the class token's query with every key, head by head."""
    normal = torch.nn.functional.layer_norm(
        z, (WIDTH,), PARAMETERS[f"{block}.attend.0.weight"], PARAMETERS[f"{block}.attend.0.bias"]
    )
    weight, bias = PARAMETERS[f"{block}.attend.1.inward.weight"], PARAMETERS[f"{block}.attend.1.inward.bias"]
    q, k = normal[:, 0] @ weight[:WIDTH].T + bias[:WIDTH], normal @ weight[WIDTH:-WIDTH].T + bias[WIDTH:-WIDTH]
    each = WIDTH // HEADS
    heads = [slice(h * each, (h + 1) * each) for h in range(HEADS)]
    logits = [torch.einsum("bd,bnd->bn", q[:, h], k[..., h]) / each**0.5 for h in heads]
    return sum(one.exp() / one.exp().sum(1, keepdim=True) for one in logits) / HEADS


@pytest.mark.parametrize("at", [2, 3, 4])
def test_scores_of_the_block_before_the_cut(at):
    front, lower, _, _ = parts(at)
    z, scores = steps.scored_front(front, lower, X)
    assert torch.equal(z, front(lower, X))
    before = WHOLE.cut(at - 1)[0]
    expected = by_hand(at - 1, before({n: PARAMETERS[n] for n in before.parameters()}, X))
    assert scores.shape == (BATCH, TOKENS + 1)
    torch.testing.assert_close(scores, expected, atol=1e-12, rtol=0)
    torch.testing.assert_close(scores.sum(1), torch.ones(BATCH, dtype=torch.float64))


def test_scores_cost_nothing_beside_the_forward_pass():
    front, lower, _, _ = parts(3)
    executor = Batched()
    plain, scored = (executor.plan(step, front, lower, X).profile.flops for step in (steps.front, steps.scored_front))
    assert scored == plain


def test_scores_of_an_adapted_segment():
    adapted = Lora(2).on(WHOLE.cut(3)[0])
    _, lower, _, _ = parts(3)
    frozen, _ = adapted.split(lower)
    factors = {n: torch.randn(v.shape, dtype=torch.float64) for n, v in adapted.parameters().items()}
    z, scores = adapted.bind(frozen).scored(factors, X)
    assert torch.equal(z, adapted.bind(frozen)(factors, X))
    assert not torch.allclose(scores, adapted.segment.scored(lower, X)[1])


def test_an_embedding_pays_no_attention():
    front, lower, _, _ = parts(1)
    with pytest.raises(ValueError, match="block 0 has no attention"):
        front.scored(lower, X)


@pytest.mark.parametrize("at", [1, 3])
def test_patch_tokens_have_no_order_behind_the_embedding(at):
    """And there may be any number of them."""
    front, lower, back, upper = parts(at)
    z = front(lower, X)
    logits = back(upper, z)
    turned = torch.cat([z[:, :1], z[:, 1:][:, torch.randperm(TOKENS)]], dim=1)
    torch.testing.assert_close(back(upper, turned), logits, atol=1e-12, rtol=0)
    assert back(upper, z[:, :4]).shape == logits.shape
    assert not torch.allclose(back(upper, z[:, :4]), logits)


def test_the_class_token_alone_is_classified():
    front, lower, back, upper = parts(4)
    z = front(lower, X)
    changed = torch.cat([z[:, :1], torch.zeros_like(z[:, 1:])], dim=1)
    torch.testing.assert_close(back(upper, changed), back(upper, z), atol=1e-12, rtol=0)


def test_parameters_beside_those_without_a_class_token():
    plain = Segment(Vit(4, WIDTH, 3, HEADS), (1, 12, 12), 10, 0, 5)
    assert set(WHOLE.parameters()) - set(plain.parameters()) == {"0.first.weight"}
    assert WHOLE.parameter_count - plain.parameter_count == 2 * WIDTH  # the token and its position
