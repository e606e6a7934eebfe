"""Token reducers against a loop that selects and merges sample by sample; gradients against finite differences."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.func import grad, vmap

from learning.adapters import Lora
from learning.models import Gpt, Segment, Vit
from learning.reducers import Pooled, Reduced, Selected, importance
from learning.reducers.tokens import merged, over_patches, patch_tokens

FRONT = Segment(Vit(4, 8, 3, 2, class_token=True), (1, 16, 16), 5, 0, 3)
PATCHES = 16


def tokens(seed: int, samples: int = 3, patches: int = PATCHES) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    h = torch.randn(samples, 1 + patches, 4, generator=generator, dtype=torch.float64)
    attention = torch.rand(samples, 1 + patches, generator=generator, dtype=torch.float64)
    return h, attention / attention.sum(1, keepdim=True)


def by_hand(h: torch.Tensor, attention: torch.Tensor, keep: int) -> list[list[list[float]]]:
    """One sample after another, with Python's own sorting."""
    out = []
    for sample, weights in zip(h.tolist(), attention.tolist(), strict=True):
        patches, shares = sample[1:], [w / sum(weights[1:]) for w in weights[1:]]
        best = sorted(range(len(patches)), key=lambda j: (-shares[j], j))[:keep]
        rest = [j for j in range(len(patches)) if j not in best]
        mass = sum(shares[j] for j in rest)
        mean = [sum(shares[j] * patches[j][d] for j in rest) / mass for d in range(len(patches[0]))]
        out.append([sample[0], *(patches[j] for j in sorted(best)), mean])
    return out


@given(st.integers(0, 10**6), st.integers(0, PATCHES - 1))
def test_selection_and_merging(seed: int, keep: int) -> None:
    h, attention = tokens(seed)
    out = Selected(keep)(h, attention, None)
    assert out.shape[1] == Selected(keep).sent(PATCHES) == keep + 2
    torch.testing.assert_close(out, torch.tensor(by_hand(h, attention, keep), dtype=torch.float64))


def test_patches_at_the_cut_are_counted() -> None:
    """In a chain of blocks, with adapters too; where the class token cannot select, one sentence says why."""
    images = torch.empty(3, 1, 16, 16)
    adapted = Lora(2).on(Segment(FRONT.architecture, (1, 16, 16), 5, 0, 5), 1)
    bound = adapted.bind(adapted.frozen()).cut(3)[0]
    assert patch_tokens(FRONT, images) == patch_tokens(bound, images) == PATCHES
    with pytest.raises(ValueError, match=r"put learning.cut after the first layer"):
        patch_tokens(FRONT.cut(1)[0], images)
    with pytest.raises(ValueError, match=r"set learning.model.class_token"):
        patch_tokens(Segment(Vit(4, 8, 3, 2), (1, 16, 16), 5, 0, 3), images)
    with pytest.raises(ValueError, match=r"choose a learning.model that has one, such as vit"):
        patch_tokens(Segment(Gpt(8, 3, 2), (16,), 5, 0, 3), torch.zeros(2, 16, dtype=torch.int64))


def test_ties_go_to_the_first_and_more_keeps_what_fewer_kept() -> None:
    h, _ = tokens(0)
    even = torch.full((3, 1 + PATCHES), 1 / 17, dtype=torch.float64)
    assert torch.equal(Selected(4, merge=False)(h, even, None), h[:, :5])
    _, attention = tokens(1)
    for keep in range(1, PATCHES):
        fewer, more = (Selected(k, merge=False)(h, attention, None) for k in (keep, keep + 1))
        for a, b in zip(fewer, more, strict=True):
            assert {tuple(row) for row in a.tolist()} < {tuple(row) for row in b.tolist()}


def test_all_of_them_is_none_the_fewer() -> None:
    h, attention = tokens(2)
    assert Selected(PATCHES)(h, attention, None) is h
    assert Selected(PATCHES).sent(PATCHES) == PATCHES + 1


def test_the_merged_token_is_a_mean() -> None:
    h, attention = tokens(3)
    share = over_patches(attention)
    torch.testing.assert_close(share.sum(1), torch.ones(3, dtype=torch.float64))
    mean = merged(h[:, 1:], share)
    assert (mean <= h[:, 1:].amax(1, keepdim=True)).all()
    assert (mean >= h[:, 1:].amin(1, keepdim=True)).all()
    same = h[:, 1:2].expand(-1, 5, -1)
    torch.testing.assert_close(merged(same, share[:, :5]), h[:, 1:2])
    torch.testing.assert_close(merged(h[:, 1:], 0 * share), h[:, 1:].mean(1, keepdim=True))


def test_other_selectors() -> None:
    h, _ = tokens(4)
    strided = Selected(4, by="strided", merge=False)(h, None, None)
    assert torch.equal(strided, h[:, [0, 1, 5, 9, 13]])
    u = torch.zeros(3, PATCHES, dtype=torch.float64)
    u[:, [2, 7]] = torch.tensor([0.9, 0.8], dtype=torch.float64)
    drawn = Selected(2, by="random", merge=False)(h, None, u)
    assert torch.equal(drawn, h[:, [0, 3, 8]])
    assert not Selected(2, by="strided", merge=False).scored


def test_windows() -> None:
    h, _ = tokens(5, patches=7)
    out = Pooled(3, 2)(h, None, None)
    means = [h[:, 1 + start : 1 + start + 3].mean(1) for start in (0, 2, 4)]
    torch.testing.assert_close(out, torch.stack([h[:, 0], *means], dim=1))
    assert out.shape[1] == Pooled(3, 2).sent(7)
    assert Pooled(1, 1).sent(7) == 8
    for window in range(1, 9):
        for stride in range(1, 9):
            assert Pooled(window, stride)(h, None, None).shape[1] == Pooled(window, stride).sent(7)


def test_importance_is_the_mass_of_the_best() -> None:
    _, attention = tokens(6, samples=8)
    ranked = importance(attention)
    assert (ranked.diff() <= 0).all()
    assert float(ranked.sum()) == pytest.approx(8)
    best = sum(sum(sorted((w / sum(row[1:]) for w in row[1:]), reverse=True)[:3]) for row in attention.tolist())
    assert float(ranked[:3].sum()) == pytest.approx(best)


@pytest.mark.parametrize("reducer", [Selected(5), Selected(5, merge=False), Pooled(3, 2)])
def test_gradients_flow_through_what_is_sent(reducer: Selected | Pooled) -> None:
    """With the attention held fixed, as the backward pass has it."""
    h, attention = tokens(7)
    h.requires_grad_()
    assert torch.autograd.gradcheck(lambda h: reducer(h, attention, None), (h,))


def test_attention_is_a_constant_to_the_backward_pass() -> None:
    """What is merged by attention has no gradient by way of attention: as if that had been computed beforehand."""
    generator = torch.Generator().manual_seed(3)
    front = {
        name: torch.randn(tuple(value.shape), generator=generator, dtype=torch.float64)
        for name, value in FRONT.parameters().items()
    }
    x = torch.randn(2, 1, 16, 16, generator=generator, dtype=torch.float64)
    beforehand = FRONT.scored(front, x)[1]
    reducer = Selected(5)

    def by_way_of(attention: torch.Tensor | None) -> dict[str, torch.Tensor]:
        def total(parameters: dict[str, torch.Tensor]) -> torch.Tensor:
            h, own = FRONT.scored(parameters, x)
            return reducer(h, own if attention is None else attention, None).square().sum()

        return grad(total)(front)

    got = grad(lambda parameters: Reduced(FRONT, reducer)(parameters, x).square().sum())(front)
    torch.testing.assert_close(got, by_way_of(beforehand))
    assert any(not torch.allclose(got[name], value) for name, value in by_way_of(None).items())


def test_a_reduced_segment_is_a_segment() -> None:
    """Vectorised over users it does what it does for one; places need not be sent: order does not matter behind it."""
    streams_free = {
        name: torch.randn(tuple(value.shape), generator=torch.Generator().manual_seed(number), dtype=torch.float64)
        for number, (name, value) in enumerate(FRONT.whole.parameters().items())
    }
    front = {name: value for name, value in streams_free.items() if name in FRONT.parameters()}
    x = torch.randn(4, 2, 1, 16, 16, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    reduced = Reduced(FRONT, Selected(5))
    one = torch.stack([reduced(front, each) for each in x])
    torch.testing.assert_close(vmap(lambda each: reduced(front, each))(x), one)
    back = Segment(FRONT.architecture, FRONT.input_shape, 5, 3, FRONT.last + 1)
    rest = {name: value for name, value in streams_free.items() if name in back.parameters()}
    z = one[0]
    shuffled = torch.cat([z[:, :1], z[:, 1:].flip(1)], dim=1)
    torch.testing.assert_close(back(rest, z), back(rest, shuffled))
