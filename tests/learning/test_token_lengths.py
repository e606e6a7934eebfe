"""Reducers to a number of tokens: which positions are kept, and what the windows are."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from learning.reducers import Strided, WindowPool

N = 17


def sequence(tokens: int = N) -> torch.Tensor:
    return torch.randn(2, tokens, 3, generator=torch.Generator().manual_seed(tokens), dtype=torch.float64)


@pytest.mark.parametrize("tokens", range(2, 40))
def test_strided_positions_are_those_of_linspace(tokens: int) -> None:
    """Ascending without repetition, from the first to the last; the released code's own formula."""
    for kept in range(1, tokens + 1):
        positions = Strided(kept).positions(tokens)
        assert positions[0] == 0
        assert len(set(positions)) == len(positions) == kept == Strided(kept).sent(tokens - 1)
        assert positions == sorted(positions)
        if kept > 1:
            assert positions[-1] == tokens - 1
            exact = np.arange(kept) * (tokens - 1) / (kept - 1)
            assert np.abs(np.array(positions) - np.floor(exact + 1e-9)).max() == 0
    assert Strided(tokens + 5).positions(tokens) == list(range(tokens))


def test_strided_gathers_and_all_tokens_are_the_identity() -> None:
    h = sequence()
    assert torch.equal(Strided(5)(h, None, None), h[:, [0, 4, 8, 12, 16]])
    assert torch.equal(Strided(N)(h, None, None), h)
    assert torch.equal(Strided(1)(h, None, None), h[:, :1])


def matrix(pool: WindowPool, tokens: int) -> torch.Tensor:
    """The linear map of a reducer, (sent, tokens), by its values at unit vectors."""
    return pool(torch.eye(tokens, dtype=torch.float64)[None], None, None)[0]


@pytest.mark.parametrize("tokens", [1, 7, 12, 17])
def test_windows_cover_everything_and_hardly_overlap(tokens: int) -> None:
    for sent in range(1, tokens + 1):
        windows = WindowPool(sent).windows(tokens)
        assert len(windows) == sent
        assert (windows[0].start, windows[-1].stop) == (0, tokens)
        for one, following in pairwise(windows):
            assert 0 <= one.stop - following.start <= 1
            assert one.start < following.start
        rows = matrix(WindowPool(sent), tokens)
        torch.testing.assert_close(rows.sum(1), torch.ones(sent, dtype=torch.float64))


def test_limits_of_pooling() -> None:
    h = sequence(12)
    assert torch.equal(WindowPool(12)(h, None, None), h)
    torch.testing.assert_close(WindowPool(1)(h, None, None), h.mean(1, keepdim=True))
    torch.testing.assert_close(WindowPool(4)(h, None, None), h.reshape(2, 4, 3, 3).mean(2))
    same = h[:, :1].expand(2, 12, 3)
    torch.testing.assert_close(WindowPool(5)(same, None, None), same[:, :5])


def test_its_backward_pass_is_the_transposed_map() -> None:
    h, g = sequence().requires_grad_(), sequence(5)
    WindowPool(5)(h, None, None).backward(g)
    torch.testing.assert_close(h.grad, matrix(WindowPool(5), N).T @ g)


def test_summary_tokens_are_kept_as_they_are() -> None:
    h = sequence()
    found = WindowPool(6, keep=2)(h, None, None)
    assert torch.equal(found[:, :2], h[:, :2])
    torch.testing.assert_close(found[:, 2:], WindowPool(4)(h[:, 2:], None, None))
    assert torch.equal(WindowPool(1, keep=2)(h, None, None), h[:, :1])
    assert torch.equal(WindowPool(30, keep=2)(h, None, None), h)
    assert [WindowPool(6, keep=2).sent(n) for n in (3, 16)] == [4, 6]


def test_windows_are_rounded_outwards() -> None:
    """Window j of l over N tokens is floor(j N / l) to ceil((j + 1) N / l), by hand for 5 of 12."""
    bounds = [(window.start, window.stop) for window in WindowPool(5).windows(12)]
    assert bounds == [(0, 3), (2, 5), (4, 8), (7, 10), (9, 12)]
