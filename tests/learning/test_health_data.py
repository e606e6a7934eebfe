"""The synthetic data of health: chains of states, noise, jumps, gaps, and histories that overlap as time does."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch

from learning.data import Dataset, Modalities
from learning.data.health import SENSORS, STATES, Health, chains, noisy

SMALL = Health(train_windows=60, test_windows=40, people=4, history=3)
CLEAN = replace(SMALL, noise=(0.0,), jump_rate=0.0)


def loaded(described: Health, dtype: torch.dtype = torch.float64) -> Dataset:
    return described.load(None, dtype)


def x_of(data: Dataset, split: str = "train") -> Modalities:
    x: Any = getattr(data, split).x
    assert isinstance(x, Modalities)
    return x


def test_shapes_and_sources() -> None:
    data = loaded(SMALL, torch.float32)
    assert data.modalities == {name: (4, *shape) for name, shape in SENSORS.items()}
    assert data.classes == len(STATES) == 3
    assert data.groups is not None
    assert data.test_groups is not None
    assert data.groups.tolist() == [person for person in range(4) for _ in range(60)]
    assert data.test_groups.tolist() == [person for person in range(4) for _ in range(40)]
    assert all(each.dtype == torch.float32 for each in x_of(data).values.values())


def test_the_windows_of_a_person_follow_one_another() -> None:
    """The history of a sample is the sample before and its history, but for the oldest window."""
    for split, count in (("train", 60), ("test", 40)):
        for array in x_of(loaded(SMALL), split).values.values():
            for person in array.reshape(4, count, *array.shape[1:]):
                for before, after in pairwise(person):
                    assert torch.equal(before[1:], after[:-1])


def test_chains_are_sticky_and_in_equilibrium() -> None:
    """Shares of stays and states within five standard errors; all moves equally likely."""
    states = chains(200, 500, 0.9, np.random.default_rng(1))
    stays = states[:, 1:] == states[:, :-1]
    assert stays.mean() == pytest.approx(0.9, abs=5 * (0.09 / stays.size) ** 0.5)
    step = ((states[:, 1:] - states[:, :-1]) % 3)[~stays]
    assert (step == 1).mean() == pytest.approx(0.5, abs=5 * (0.25 / step.size) ** 0.5)
    for window in (0, 499):  # 200 independent people
        shares = np.bincount(states[:, window], minlength=3) / 200
        np.testing.assert_allclose(shares, 1 / 3, atol=5 * (2 / 9 / 200) ** 0.5)


def test_noise_has_the_levels_that_are_given_and_keeps_them_for_a_while() -> None:
    noise = noisy((50, 400, 40, 2), (0.5, 2.0), np.random.default_rng(2))
    level = noise.std(axis=(2, 3))  # of 80 draws each: within 8 % of its expectation
    high = level > 1
    np.testing.assert_allclose(level[high].mean(), 2.0, rtol=0.02)
    np.testing.assert_allclose(level[~high].mean(), 0.5, rtol=0.02)
    assert high.mean() == pytest.approx(0.5, abs=0.06)
    changes = (high[:, 1:] != high[:, :-1]).mean()  # drawn again with probability 0.05, another one of two in half
    assert changes == pytest.approx(0.025, abs=5 * (0.025 / high.size) ** 0.5)


def test_noise_is_added_to_the_same_signal() -> None:
    """No field moves the draws of another: with and without noise, jumps or gaps the signals are the same."""
    clean, rough = x_of(loaded(CLEAN)), x_of(loaded(replace(CLEAN, noise=(0.5,))))
    for name, array in clean.values.items():
        difference = rough.values[name] - array
        assert float(difference.std()) == pytest.approx(0.5, rel=0.05)
        assert float((difference * array).mean()) == pytest.approx(0, abs=0.05)
    gaps = loaded(replace(CLEAN, missing=0.5))
    assert all(torch.equal(x_of(gaps, "test").values[n], a) for n, a in x_of(loaded(CLEAN), "test").values.items())


def test_signals_have_a_standard_deviation_of_one() -> None:
    for array in x_of(loaded(replace(CLEAN, train_windows=500, people=10))).values.values():
        assert float(array[:, -1].std()) == pytest.approx(1, rel=0.1)


def test_jumps_are_offsets_of_one_direction() -> None:
    clean, jumping = x_of(loaded(CLEAN)), x_of(loaded(replace(CLEAN, jump_rate=0.3, jump_size=2.0)))
    for name, array in clean.values.items():
        offset = (jumping.values[name] - array)[:, -1]
        jumped = offset.abs().amax((1, 2)) > 1e-12
        assert float(jumped.double().mean()) == pytest.approx(0.3, abs=5 * (0.21 / 240) ** 0.5)
        own = offset[jumped]
        torch.testing.assert_close(own, own[:1, :1].expand_as(own))
        assert float(own[0, 0].square().mean().sqrt()) == pytest.approx(2.0)


def test_jumps_at_changes_of_the_state_are_at_no_other_window() -> None:
    data = loaded(replace(CLEAN, jumps="changes", jump_rate=0.0))
    clean, jumping = x_of(loaded(CLEAN)), x_of(data)
    states = data.train.y.reshape(4, 60)
    changed = states[:, 1:] != states[:, :-1]
    for name, array in clean.values.items():
        jumped = ((jumping.values[name] - array)[:, -1].abs().amax((1, 2)) > 1e-12).reshape(4, 60)[:, 1:]
        assert torch.equal(jumped, changed)
    assert bool(changed.any())


def test_gaps_are_in_test_samples_alone_and_each_by_itself() -> None:
    data = loaded(replace(SMALL, missing=0.4, test_windows=1000))
    assert all(bool(mask.all()) for mask in x_of(data).present.values())
    masks = torch.stack(list(x_of(data, "test").present.values())).double()
    np.testing.assert_allclose(masks.mean(1), 0.6, atol=5 * (0.24 / 4000) ** 0.5)
    np.testing.assert_allclose(np.corrcoef(masks)[np.triu_indices(3, 1)], 0, atol=5 / 4000**0.5)


def test_the_same_seed_is_the_same_data_and_test_samples_have_noise_of_their_own() -> None:
    assert loaded(SMALL).fingerprint == loaded(SMALL).fingerprint != loaded(replace(SMALL, seed=1)).fingerprint
    data, other = loaded(SMALL), loaded(replace(SMALL, test_noise=(3.0,)))
    for name, array in x_of(data).values.items():
        assert torch.equal(array, x_of(other).values[name])
        assert not torch.equal(x_of(data, "test").values[name], x_of(other, "test").values[name])
