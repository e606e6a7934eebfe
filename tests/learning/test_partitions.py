"""Partitions: complete, disjoint, named, and of the law that they claim."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from named_streams import NamedStreams
from scipy import stats

from learning.data.partition import (
    PARTITIONS,
    Dirichlet,
    Iid,
    Natural,
    QuantitySkew,
    Shards,
    dirichlet,
    held_out_shares,
    with_minimum,
)

LABELS = np.random.Generator(np.random.Philox(key=0)).integers(0, 10, 1000)
STREAMS = NamedStreams(2)

laws = st.one_of(
    st.just(Iid()),
    st.builds(Dirichlet, st.floats(1e-3, 1e3), st.integers(1, 10)),
    st.builds(QuantitySkew, st.floats(1e-3, 1e3), st.integers(1, 10)),
    st.builds(Shards, st.integers(1, 10)),
)


@settings(deadline=None)
@given(laws, st.integers(1, 40), st.integers(0, 2**32))
def test_every_sample_has_one_owner_and_every_owner_enough(law, users, seed):
    parts = law.split(LABELS, users, NamedStreams(seed))
    assert len(parts) == users
    assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(1000))
    assert min(len(part) for part in parts) >= getattr(law, "min_samples", 1)
    assert all(np.array_equal(part, np.sort(part)) for part in parts)


@pytest.mark.parametrize("name", [name for name in PARTITIONS if name not in ("natural", "flower")])
def test_the_seed_alone_decides(name):
    law = PARTITIONS[name]()
    first, again, other = (law.split(LABELS, 8, NamedStreams(seed)) for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(first, other, strict=True))


@pytest.mark.parametrize(
    ("law", "users"), [(Iid(), 21), (Dirichlet(1.0, 5), 5), (QuantitySkew(1.0, 5), 5), (Shards(3), 7)]
)
def test_too_few_samples_are_refused(law, users):
    with pytest.raises(ValueError, match=rf"20 training samples are too few to give {users} users at least"):
        law.split(LABELS[:20], users, STREAMS)


def test_iid_parts_are_equal_in_size_and_alike_in_classes():
    parts = Iid().split(LABELS, 7, STREAMS)
    assert {len(part) for part in parts} == {142, 143}
    counts = [np.bincount(LABELS[part], minlength=10) for part in parts]
    assert stats.chi2_contingency(counts).pvalue > 1e-3


@pytest.mark.parametrize("alpha", [0.1, 0.5, 5.0])
def test_a_users_share_of_a_class_is_beta_distributed(alpha):
    """The marginals of Dirichlet(alpha, ..., alpha) over N users are Beta(alpha, (N - 1) alpha)."""
    shares = [dirichlet(alpha, 5, NamedStreams(seed), 0)[0] for seed in range(1000)]
    assert stats.kstest(shares, stats.beta(alpha, 4 * alpha).cdf).pvalue > 1e-3


def test_shares_sum_to_one_even_where_gamma_variables_underflow():
    for seed in range(50):
        shares = dirichlet(1e-4, 10, NamedStreams(seed), "quantity")
        assert shares.sum() == pytest.approx(1)
        assert shares.min() >= 0


def test_one_more_user_moves_nobodys_draw():
    few, more = dirichlet(0.5, 4, STREAMS, 3), dirichlet(0.5, 5, STREAMS, 3)
    np.testing.assert_allclose(more[:4] / more[:4].sum(), few, rtol=1e-12)


def test_pieces_have_the_drawn_shares():
    """Each class is divided in the drawn proportions, to within one sample."""
    parts = Dirichlet(0.5, 1).split(np.zeros(10_000, dtype=int), 6, STREAMS)
    np.testing.assert_allclose([len(part) for part in parts], dirichlet(0.5, 6, STREAMS, 0) * 10_000, atol=1)


def test_the_degenerate_values_of_alpha():
    even = Dirichlet(1e8, 1).split(LABELS, 4, STREAMS)
    counts = np.array([np.bincount(LABELS[part], minlength=10) for part in even])
    assert (np.ptp(counts, axis=0) <= 2).all()
    owners = [
        {user for user, part in enumerate(Dirichlet(1e-4, 1).split(LABELS, 4, STREAMS)) if label in LABELS[part]}
        for label in range(10)
    ]
    assert sum(len(users) > 2 for users in owners) == 0  # one owner, and at most those topped up from it


def test_shards_hold_few_classes():
    """A shard of consecutive labels, shorter than a class, spans at most two classes."""
    parts = Shards(2).split(LABELS, 10, STREAMS)
    assert {len(part) for part in parts} == {100}
    assert max(len(np.unique(LABELS[part])) for part in parts) <= 4


def test_quantity_skew_varies_sizes_but_not_classes():
    parts = QuantitySkew(0.5, 1).split(np.tile(LABELS, 20), 6, STREAMS)
    sizes = np.array([len(part) for part in parts])
    np.testing.assert_allclose(sizes, dirichlet(0.5, 6, STREAMS, "quantity") * 20_000, atol=1)
    counts = [np.bincount(np.tile(LABELS, 20)[part], minlength=10) for part in parts if len(part) > 100]
    assert stats.chi2_contingency(counts).pvalue > 1e-3


def test_topping_up_takes_from_the_best_supplied_at_random():
    """What is taken is a random sample of the giver: hypergeometric, here checked to 5 standard deviations."""
    rich, poor, fair = with_minimum([np.arange(1000), np.array([], dtype=int), np.arange(1000, 1300)], 200, STREAMS)
    assert (len(rich), len(poor), len(fair)) == (800, 200, 300)
    law = stats.hypergeom(1000, 500, 200)
    assert abs((poor < 500).sum() - law.mean()) <= 5 * law.std()


@settings(deadline=None)
@given(st.lists(st.integers(0, 12), min_size=30, max_size=200), st.integers(1, 5))
def test_sources_stay_whole(origins, users):
    origins = np.array([*origins, *range(5)])
    parts = Natural().split(origins, users, STREAMS)
    assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(len(origins)))
    owners = [set(origins[part]) for part in parts]
    assert all(owners)
    assert sum(len(sources) for sources in owners) == len(np.unique(origins))
    largest = np.unique(origins, return_counts=True)[1].max()
    sizes = [len(part) for part in parts]
    assert max(sizes) - min(sizes) <= largest  # whoever has most had fewest before its last source


def test_too_few_sources_are_refused():
    with pytest.raises(ValueError, match="come from 10 sources, too few for 11 users"):
        Natural().split(LABELS, 11, STREAMS)


@settings(deadline=None)
@given(laws, st.integers(1, 40), st.integers(0, 2**32))
def test_each_user_tests_on_the_mixture_that_it_trains_on(law, users, seed):
    """Of every class, the user's part of the test samples is its part of the training samples, to within one sample."""
    streams, test = NamedStreams(seed), LABELS[::3]
    shares = law.split(LABELS, users, streams)
    parts = held_out_shares(shares, LABELS, test, streams)
    assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(len(test)))
    assert min(map(len, parts)) >= 1
    counts = np.array([np.bincount(test[part], minlength=10) for part in parts])
    exact = np.array([np.bincount(LABELS[rows], minlength=10) for rows in shares]) * (
        np.bincount(test) / np.bincount(LABELS)
    )
    spare = np.maximum(0, 1 - np.floor(exact).sum(1)).sum()  # samples that may have moved to users without any
    assert np.maximum(0, np.abs(counts - exact) - 1 + 1e-9).sum() <= 2 * spare


@pytest.mark.parametrize("samples", [1, 10])
def test_the_mean_part_of_the_test_samples_is_the_part_of_the_training_samples(samples):
    """Among three users with a quarter, a quarter and half of them; numbers next to an exact part are the only ones."""
    shares, part = [np.arange(4), np.arange(4, 8), np.arange(8, 16)], np.array([0.25, 0.25, 0.5]) * samples
    sizes = np.array(
        [
            [len(p) for p in held_out_shares(shares, np.zeros(16), np.zeros(samples), NamedStreams(s))]
            for s in range(400)
        ]
    )
    assert (sizes >= np.floor(part)).all()
    assert (sizes <= np.ceil(part)).all()
    error = (part % 1 * (1 - part % 1) / 400) ** 0.5  # standard error of the mean of the two numbers
    assert (abs(sizes.mean(0) - part) <= 4 * error).all()


def test_kinds_that_nobody_trains_on_are_left_out_and_too_few_samples_leave_users_without_any():
    shares = [np.array([0]), np.array([1]), np.array([2])]
    parts = held_out_shares(shares, np.zeros(3), np.array([0, 1, 0]), STREAMS)
    assert sorted(np.concatenate(parts)) == [0, 2]
    assert sorted(map(len, parts)) == [0, 1, 1]


@pytest.mark.parametrize(("groups", "users"), [(2, 8), (3, 7), (1, 5)])
def test_groups_of_users_share_no_classes(groups, users):
    """Each group divides its own run of classes as that group alone would, with its own users' draws and minimum."""
    labels = np.repeat(np.arange(9), 30)
    parts = Dirichlet(0.3, 12, groups).split(labels, users, STREAMS)
    owned = [set(labels[part].tolist()) for part in parts]
    runs = np.array_split(np.arange(users), groups)
    for members, kinds in zip(runs, np.array_split(np.arange(9), groups), strict=True):
        assert set().union(*(owned[user] for user in members)) == set(kinds.tolist())
    assert sorted(np.concatenate(parts)) == list(range(len(labels)))
    assert min(map(len, parts)) >= 12
    if groups == 1:
        assert all(map(np.array_equal, parts, Dirichlet(0.3, 12).split(labels, users, STREAMS)))
    else:  # what a user draws depends on its number, not on its place in the group
        shares = dirichlet(0.3, users, STREAMS, 8)
        free = Dirichlet(0.3, 1, groups).split(labels, users, STREAMS)
        last = [(labels[free[user]] == 8).sum() / 30 for user in runs[-1]]
        np.testing.assert_allclose(last, shares[runs[-1]] / shares[runs[-1]].sum(), atol=1 / 30 + 1 / 60)


def test_too_few_users_or_classes_for_the_groups_are_refused():
    for labels, users in ((np.repeat(np.arange(2), 50), 8), (np.repeat(np.arange(9), 20), 2)):
        with pytest.raises(ValueError, match="groups = 3 cannot be made of"):
            Dirichlet(0.5, 1, 3).split(labels, users, STREAMS)


def test_rows_of_the_test_samples_ascend_where_they_are_too_few_for_all_users():
    shares = [np.arange(98), np.array([98]), np.array([99])]
    for seed in range(20):
        first, *_ = held_out_shares(shares, np.zeros(100, int), np.zeros(2, int), NamedStreams(seed))
        assert list(first) == sorted(first)
