"""Users that go on by themselves: how many at a time, how stale their work is, how often they come, and who is lost."""

from itertools import pairwise
from typing import Any

import pytest

from fakes import FakeWorld, world
from learning.participation import RandomParticipation, RoundRobinParticipation
from learning.policies import Asynchronous, Buffered, WaitForAll
from learning.policies.staleness import ConstantWeight, Hinge, Polynomial
from learning.schemes import FedAvg

SPEEDS = [1e6, 3.1e6, 2.3e6, 0.4e6, 1.7e6, 0.9e6]
AT_ONCE = {"server_flops_per_s": 1e18}  # an update takes no time to speak of


def ran(policy: Any, *, rounds: int = 60, **setting: Any) -> FakeWorld:
    """Six users of different speed, clock alone."""
    setting = {"users": 6, "flops_per_s": SPEEDS, "evaluate_every": 1000, **AT_ONCE, **setting}
    return world(FedAvg(1), policy=policy, executor="dry", rounds=rounds, **setting)


def spans(done: FakeWorld) -> list[tuple[float, float, int]]:
    """From each download to the upload that follows it, or to the end."""
    found = []
    for user in done.users:
        models = [m for m in done.journal.messages if m.user == user.number]
        begun = [m.start_s for m in models if m.direction == "down"]
        ended = [m.end_s for m in models if m.direction == "up" and m.end_s is not None]
        found += [
            (start, end, user.number) for start, end in zip(begun, [*ended, done.env.now][: len(begun)], strict=True)
        ]
    return found


@pytest.mark.parametrize("policy", [Asynchronous(), Buffered(3), Buffered(2, waits=True)])
@pytest.mark.parametrize("rule", [RandomParticipation(2), RoundRobinParticipation(4), None])
def test_so_many_work_at_a_time(policy: Any, rule: Any) -> None:
    done = ran(policy, participation=rule)
    seats = rule.count if rule else 6
    taken = spans(done)
    at_work = [sum(start <= instant < end for start, end, _ in taken) for instant, _, _ in taken]
    assert max(at_work) == seats
    assert {user for *_, user in taken} == set(range(6))
    assert all(present and not dropped for _, present, dropped in done.journal.rounds)
    for user in range(6):  # nobody is in two places
        own = sorted(span for span in taken if span[2] == user)
        assert all(before[1] <= after[0] for before, after in pairwise(own))


@pytest.mark.parametrize(("policy", "trees"), [(Asynchronous(), 2), (Buffered(3), 4), (WaitForAll(), 6)])
def test_an_update_costs_two_flops_for_each_weight_of_each_model(policy: Any, trees: int) -> None:
    """Of those that arrived, and under an asynchronous policy of the server's own, into which they are mixed."""
    done = ran(policy, rounds=4)
    assert done.journal.charged(kind="aggregation") == [2 * trees * done.whole.parameter_count] * 4


@pytest.mark.parametrize("equal", [True, False])
def test_mean_staleness_is_the_number_of_others_at_work(equal: bool) -> None:
    """Every update ages the other n - 1 turns by one, whatever the speeds: ages are conserved.

    So the staleness of all updates, and the ages of the turns that are under way at the end, add up to (n - 1) updates.
    """
    speeds = [1e6] * 6 if equal else SPEEDS
    done = ran(Asynchronous(), flops_per_s=speeds)
    updates = len(done.journal.rounds)
    begun = {user: number for number, user, name, _ in done.journal.decisions if name == "weights_downloaded"}
    under_way = [updates - begun[user] for user in range(6)]  # the one merged last has not begun anew: its age is 1
    last = sum(done.journal.staleness) + sum(under_way)
    assert last - (1 + done.journal.staleness[-1]) == 5 * updates
    if equal:
        assert done.journal.staleness[6:] == [5.0] * (updates - 6)


def test_a_buffer_ages_its_users_less() -> None:
    """An update by K users ages n - K turns if they wait for it: the mean is (n - K) / K; else it is (n - 1) / K."""
    waiting = ran(Buffered(2, waits=True), rounds=600).journal.staleness
    assert sum(waiting) / len(waiting) == pytest.approx((6 - 2) / 2, abs=6 * 10 / 600)
    at_once = ran(Buffered(2), rounds=600).journal.staleness
    assert sum(at_once) / len(at_once) == pytest.approx((6 - 1) / 2, abs=6 * 10 / 600)


def test_updates_come_at_the_rate_of_all_users_together() -> None:
    """Each user's turns are a renewal process: in a time t it makes t / cycle turns, give or take the one under way."""
    done = ran(Asynchronous(), rounds=400)
    arrivals = [m.user for m in done.journal.messages if m.direction == "up" and m.end_s is not None]
    for user in range(6):
        own = [end - start for start, end, whose in spans(done) if whose == user][:-1]
        assert max(own) == pytest.approx(min(own), rel=1e-9)
        assert abs(arrivals.count(user) - done.env.now / own[0]) <= 1


def test_whoever_has_handed_in_downloads_what_came_of_it() -> None:
    """Under `asynchronous` a download begins only when the update with the user's last work has been made."""
    done = ran(Asynchronous(), server_flops_per_s=1e4)  # updates take their time, and queue
    merged_s = [work.end_s for work in done.journal.works if work.kind == "aggregation"]
    uploads = sorted((m.end_s, m.user) for m in done.journal.messages if m.direction == "up" and m.end_s is not None)
    downloads = [(m.start_s, m.user) for m in done.journal.messages if m.direction == "down"]
    for number, (_, user) in enumerate(uploads[: len(merged_s) - 1]):
        assert (merged_s[number], user) in downloads


@pytest.mark.parametrize(
    ("law", "weights"),
    [
        (ConstantWeight(0.5), [0.5, 0.5, 0.5]),
        (Polynomial(0.5), [1, 2**-0.5, 0.25]),
        (Polynomial(0.0), [1, 1, 1]),
        (Hinge(10, 4), [1, 1, 1 / 111]),
        (Hinge(0.5, 0), [1, 1 / 1.5, 1 / 8.5]),
    ],
)
def test_staleness_weights(law: Any, weights: list[float]) -> None:
    assert [law.weight(staleness) for staleness in (0, 1, 15)] == pytest.approx(weights, rel=1e-12)


def test_a_buffer_that_nobody_can_fill_is_refused() -> None:
    with pytest.raises(ValueError, match="holds 3 models, and 2 users that wait for it can never fill it"):
        ran(Buffered(3, waits=True), participation=RandomParticipation(2))
    assert len(ran(Buffered(3), participation=RandomParticipation(2), rounds=4).journal.rounds) == 4
