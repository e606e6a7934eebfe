"""Who is asked to take part in a round: the laws of the draws, and that only those asked do anything."""

from itertools import permutations

import numpy as np
import pytest
import torch
from scipy import stats

from fakes import FakeStreams, world
from learning.participation import (
    AllUsers,
    BySamples,
    Candidates,
    PoissonParticipation,
    RandomParticipation,
    RoundRobinParticipation,
)
from learning.policies import FirstK, OverSelection, WaitForAll
from learning.schemes import PSL, SFL, SFLV1, SFLV2, SL, Centralised, FedAvg, FedProx, FedSLPQ

ROUNDS = [FedAvg(1), FedProx(1, mu=0.1), SFLV1(1), SFLV2(1), SL(1), SFL(), PSL(), FedSLPQ(interval=1)]
each = pytest.mark.parametrize("scheme", ROUNDS, ids=lambda scheme: type(scheme).__name__)
SIGNIFICANCE = 1e-3  # of each test of a law; the seeds are fixed, so it holds or it does not


def asked(rule, number, users=6, samples=None, count=2, streams=None):
    """The users that a rule chooses in one round, in the order of their keys."""
    candidates = Candidates(np.arange(users), np.array(samples or [1] * users), users, np.arange(users))
    keys = rule.keys(candidates, number, number * count, streams or FakeStreams(3))
    return tuple(np.argsort(keys, kind="stable")[:count].tolist())


def test_every_pair_is_drawn_equally_often():
    drawn = [asked(RandomParticipation(2), number, users=4) for number in range(6000)]
    counts = [drawn.count(pair) for pair in permutations(range(4), 2)]
    assert sum(counts) == 6000
    assert stats.chisquare(counts).pvalue > SIGNIFICANCE


def test_draws_by_samples_follow_successive_sampling():
    """P(first i, then j) = n_i / n * n_j / (n - n_i)."""
    samples = [10, 20, 30, 40]
    drawn = [asked(BySamples(2), number, users=4, samples=samples) for number in range(6000)]
    pairs = list(permutations(range(4), 2))
    expected = [6000 * samples[i] / 100 * samples[j] / (100 - samples[i]) for i, j in pairs]
    assert stats.chisquare([drawn.count(pair) for pair in pairs], expected).pvalue > SIGNIFICANCE


def test_arrivals_follow_their_law():
    """As many as a Poisson law says, but not fewer than the minimum; who they are is drawn alike."""
    rule, mean, least, users = PoissonParticipation(3.0, 2), 3.0, 2, 12
    candidates = Candidates(np.arange(users), np.ones(users, dtype=int), users, np.arange(users))
    came = [np.isfinite(rule.keys(candidates, number, 0, FakeStreams(3))) for number in range(4000)]
    counts = np.bincount([each.sum() for each in came], minlength=users + 1)[:9]
    law = stats.poisson(mean)
    expected = np.array([law.cdf(least), *law.pmf(range(least + 1, 8)), law.sf(7)]) * 4000
    observed = np.array([*counts[least:8], 4000 - counts[:8].sum()])
    assert counts[:least].sum() == 0
    assert stats.chisquare(observed, expected).pvalue > SIGNIFICANCE
    assert stats.chisquare(np.sum(came, axis=0)).pvalue > SIGNIFICANCE


def test_only_who_arrives_is_asked():
    ran = world(SFL(), users=6, participation=PoissonParticipation(2.0), rounds=6)
    asked_in = [asked for _, asked, dropped in ran.journal.rounds if dropped == 0]
    arrivals = [max(int(ran.streams.generator("arrivals", number).poisson(2.0)), 1) for number in range(6)]
    assert asked_in == [min(count, 6) for count in arrivals]
    assert len(set(asked_in)) > 1


def test_users_in_turn():
    assert [asked(RoundRobinParticipation(2), number, users=5) for number in range(4)] == [
        (0, 1),
        (2, 3),
        (4, 0),
        (1, 2),
    ]


def test_one_more_user_moves_nobodys_draw():
    """Whoever is drawn among six comes in the same order as if there were only five, the sixth left out."""
    for number in range(50):
        six = asked(RandomParticipation(6), number, users=6, count=6)
        assert tuple(user for user in six if user != 5) == asked(RandomParticipation(5), number, users=5, count=5)


def test_another_seed_draws_others():
    ours, theirs = (
        [asked(RandomParticipation(2), number, streams=FakeStreams(seed)) for number in range(20)] for seed in (1, 2)
    )
    assert ours != theirs


@each
def test_only_those_asked_send_compute_and_receive(scheme):
    ran = world(scheme, users=5, participation=RoundRobinParticipation(2), rounds=4)
    assert ran.journal.rounds == [(number, 2, 0) for number in range(4)]
    cohorts = [{0, 1}, {2, 3}, {4, 0}, {1, 2}]
    for number, users in enumerate(cohorts):
        rows = [*ran.journal.messages, *ran.journal.works]
        assert {row.user for row in rows if row.round == number} - {None} == users


@each
def test_asking_all_of_them_is_everybody(scheme):
    ours, theirs = (world(scheme, participation=rule, rounds=2) for rule in (RandomParticipation(3), AllUsers()))
    assert ours.journal.messages == theirs.journal.messages
    assert ours.journal.works == theirs.journal.works
    for mine, yours in zip(ours.every_model, theirs.every_model, strict=True):
        assert all(torch.equal(mine[name], value) for name, value in yours.items())


def test_those_present_are_averaged():
    """Two users of four in a round: the model is that of a world in which there are only these two."""
    pair = world(FedAvg(2), users=2, samples=[16, 40], rounds=1)
    ran = world(FedAvg(2), users=4, samples=[16, 40, 24, 32], participation=RoundRobinParticipation(2), rounds=1)
    assert all(torch.equal(ran.model[name], value) for name, value in pair.model.items())


def test_the_same_users_make_a_whole_interval():
    ran = world(SFL(interval=2), users=4, participation=RoundRobinParticipation(2), rounds=4)
    models = [(message.round, message.direction, message.user) for message in ran.journal.messages]
    models = sorted(row for row, message in zip(models, ran.journal.messages, strict=True) if message.kind == "model")
    down, up = ([row for row in models if row[1] == way] for way in ("down", "up"))
    assert [(number, user) for number, _, user in down] == [(0, 0), (0, 1), (2, 2), (2, 3)]
    assert [(number, user) for number, _, user in up] == [(1, 0), (1, 1), (3, 2), (3, 3)]


def test_a_device_part_is_fetched_when_a_user_first_takes_part():
    ran = world(PSL(), users=4, participation=RoundRobinParticipation(2), rounds=4)
    downloads = [(message.round, message.user) for message in ran.journal.messages if message.kind == "model"]
    assert sorted(downloads) == [(0, 0), (0, 1), (1, 2), (1, 3)]


@pytest.mark.parametrize(
    ("rule", "extra"),
    [(RoundRobinParticipation(2), 0.0), (RoundRobinParticipation(2), 1.0), (PoissonParticipation(1.5), 0.0)],
)
def test_pooled_training_sees_as_many_samples_as_those_who_would_take_part(rule, extra):
    """Without those who are asked on top; whose samples they are does not depend on who it is."""
    one = world(Centralised(), users=1, rounds=1).journal.charged(kind="server_training")[0]
    ran = world(Centralised(), users=4, participation=rule, policy=OverSelection(extra))
    arrivals = [max(int(ran.streams.generator("arrivals", number).poisson(1.5)), 1) for number in range(3)]
    mini_batches = [min(count, 4) for count in arrivals] if isinstance(rule, PoissonParticipation) else [2, 2, 2]
    assert [flops / one for flops in ran.journal.charged(kind="server_training")] == mini_batches
    parts = [range(24 * place, 24 * place + 24) for place in (2, 1, 3, 0)]
    usual, moved = (
        world(Centralised(), users=4, participation=RoundRobinParticipation(2), parts=each) for each in (None, parts)
    )
    assert all(torch.equal(moved.model[name], value) for name, value in usual.model.items())


@pytest.mark.parametrize(("extra", "begun"), [(0.0, 10), (0.05, 11), (0.07, 11), (0.3, 13), (1.0, 20)])
def test_how_many_begin_under_over_selection(extra, begun):
    assert OverSelection(extra).asked(10) == begun
    assert OverSelection(0.07).asked(100) == 107  # in floating point, 100 * 0.07 > 7


@each
def test_over_selection_by_nothing_is_waiting_for_all(scheme):
    ours, theirs = (
        world(scheme, users=4, participation=RandomParticipation(2), policy=policy, rounds=2)
        for policy in (OverSelection(0.0), WaitForAll())
    )
    assert ours.journal.messages == theirs.journal.messages
    assert ours.journal.works == theirs.journal.works
    for mine, yours in zip(ours.every_model, theirs.every_model, strict=True):
        assert all(torch.equal(mine[name], value) for name, value in yours.items())


@pytest.mark.parametrize("scheme", [FedAvg(1), SFLV1(1), SFLV2(1), SFL()], ids=lambda scheme: type(scheme).__name__)
def test_the_first_of_those_asked_make_the_round(scheme):
    """Of five users three begin each round, and the two that are faster make it."""
    speeds = [1e6, 2e6, 4e6, 8e6, 16e6]
    ran = world(
        scheme,
        users=5,
        participation=RoundRobinParticipation(2),
        policy=OverSelection(0.5),
        rounds=3,
        flops_per_s=speeds,
    )
    assert ran.journal.rounds == [(number, 2, 1) for number in range(3)]
    for number, users in enumerate([{0, 1, 2}, {2, 3, 4}, {4, 0, 1}]):
        trained = [work for work in ran.journal.works if work.round == number and work.node is not None]
        assert {work.node for work in trained} == users
        models = [m for m in ran.journal.messages if (m.round, m.direction, m.kind) == (number, "up", "model")]
        assert {m.user for m in models if m.end_s} == set(sorted(users, key=lambda user: -speeds[user])[:2])


@pytest.mark.parametrize(
    ("rule", "policy", "sentence"),
    [
        (RandomParticipation(4), None, "4 users are to take part in a round, but there are 3"),
        (RandomParticipation(2), FirstK(3), "waits for the first 3 users, but there are 2"),
        (None, OverSelection(0.3), "asks 4 users so that 3 take part in a round, but there are 3"),
    ],
)
def test_more_than_there_are_is_refused(rule, policy, sentence):
    with pytest.raises(ValueError, match=sentence):
        world(FedAvg(1), participation=rule, policy=policy)
