"""Weights that may have adapters: their sides, the cuts between them, and the model with any ranks."""

import numpy as np
import pytest
import torch
from named_streams import NamedStreams

from learning.adapters import AdaptableModel, adapt
from learning.models import Segment, Vit

WHOLE = Segment(Vit(4, 8, 3, 2), (1, 8, 8), 10, 0, 5)


def adaptable(*targets: str) -> AdaptableModel:
    adapted = adapt(WHOLE, {"1.attend.1.inward.q": 2}, 4.0)
    return AdaptableModel(adapted.bind(adapted.split(WHOLE.initial(NamedStreams(), torch.float32))[0]), targets)


def test_weights_in_the_order_of_the_model() -> None:
    """Three layers of width 8, whose MLPs have twice the width."""
    model = adaptable("q", "fc1")
    names = [f"{layer}.{role}" for layer in (1, 2, 3) for role in ("attend.1.inward.q", "feed.1.fc1")]
    assert list(model.sides) == names
    assert list(model.sides.values()) == [(8, 8), (16, 8)] * 3
    assert model.max_ranks.tolist() == [8] * 6


def test_cuts_have_weights_on_either_side() -> None:
    model = adaptable("q", "fc1")
    assert model.cuts == [2, 3]
    for cut, below in zip(model.cuts, model.below, strict=True):
        front, back = (part.ranks for part in model.with_ranks(1).cut(cut))
        assert (len(front), len(back)) == (below, 6 - below)
    assert [model.nearest_cut(cut) for cut in range(1, 6)] == [2, 2, 3, 3, 3]


def test_other_ranks_on_the_same_model() -> None:
    """A rank for all weights, or one for each by name, of which 0 is none; what is frozen stays as it is."""
    model = adaptable("q", "v")
    assert {rank for _, rank in model.with_ranks(3).ranks} == {3}
    assert len(model.with_ranks(3).ranks) == len(model.sides) == 6
    assert model.with_ranks(0).ranks == ()
    chosen = dict(zip(model.sides, np.arange(6).tolist(), strict=True))
    assert dict(model.with_ranks(chosen).ranks) == {weight: rank for weight, rank in chosen.items() if rank}
    assert model.with_ranks(3).frozen().keys() == model.whole.frozen.keys()
    with pytest.raises(ValueError, match="rank 9 is not between 0 and 8"):
        model.with_ranks(9)
