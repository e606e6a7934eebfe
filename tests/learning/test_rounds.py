"""Rounds: who is in and who is dropped, in which order, and when a run is over."""

from dataclasses import dataclass, field
from typing import Any

import pytest
import simpy
import torch

from fakes import world
from learning.policies import Deadline, FirstK, WaitForAll
from learning.protocols.rounds import gather, visit
from learning.scheme import Scheme
from learning.schemes import SFL, SFLV1, SFLV2, SL, FedAvg, FedSLPQ
from learning.stop import Stop

TAKES_S = [3.0, 1.0, 4.0, 2.0]
SLOW_S = 1000.0


@dataclass
class Scripted(Scheme):
    """A scheme without learning: each user computes for `takes_s`, then the round is over."""

    rounds: Any
    takes_s: list[float] = field(default_factory=lambda: list(TAKES_S))
    begun: list[int] = field(default_factory=list)
    interrupted: list[tuple[int, float]] = field(default_factory=list)
    done: list[tuple[float, list[int], list[str]]] = field(default_factory=list)
    """(end, users, results) of each round."""
    reverse: bool = False

    def run(self, world):
        model = world.initial(world.whole)
        for _ in world.rounds():
            users = world.users[::-1] if self.reverse else world.users
            done = yield from self.rounds(world, {user: self.user(world, user) for user in users})
            self.done.append((world.env.now, [user.number for user in done], list(done.values())))
            assert not any(user.node.processor.count for user in users)  # nobody holds anything
            world.models(model)

    def user(self, world, user):
        self.begun.append(user.number)
        try:
            yield from user.node.compute(self.takes_s[user.number] * user.node.flops_per_s, "work")
        except simpy.Interrupt:
            self.interrupted.append((user.number, world.env.now))
            raise
        return f"result of {user.number}"


def scripted(rounds, policy, number=1, **fields):
    scheme = Scripted(rounds, **fields)
    return scheme, world(scheme, users=4, policy=policy, rounds=number, evaluate_every=100, executor="dry")


def results(*users):
    return [f"result of {user}" for user in users]


def test_everybody_is_waited_for():
    scheme, ran = scripted(gather, WaitForAll(), 2)
    assert scheme.done == [(end, [0, 1, 2, 3], results(0, 1, 2, 3)) for end in (4.0, 8.0)]
    assert ran.journal.rounds == [(0, 4, 0), (1, 4, 0)]
    assert scheme.interrupted == []


def test_results_come_in_the_order_of_asking_not_of_arrival():
    scheme, _ = scripted(gather, WaitForAll(), reverse=True)
    assert scheme.done == [(4.0, [3, 2, 1, 0], results(3, 2, 1, 0))]


def test_a_deadline_drops_the_late():
    scheme, ran = scripted(gather, Deadline(2.5), 2)
    assert scheme.done == [(end, [1, 3], results(1, 3)) for end in (2.5, 5.0)]
    assert scheme.interrupted == [(0, 2.5), (2, 2.5), (0, 5.0), (2, 5.0)]
    assert ran.journal.rounds == [(0, 2, 2), (1, 2, 2)]
    assert [work.node for work in ran.journal.works if work.end_s is None] == [0, 2, 0, 2]


@dataclass
class Twice(Scripted):
    """Users work two times in a round; the first may take a share of the deadline."""

    share: float = 0.5

    def run(self, world):
        model = world.initial(world.whole)
        for _ in world.rounds():
            for share in (self.share, 1):
                done = yield from gather(world, {user: self.user(world, user) for user in world.users}, share)
                self.done.append((world.env.now, [user.number for user in done], list(done.values())))
            world.models(model)


def test_a_deadline_bounds_all_that_users_do_in_a_round():
    scheme = Twice(gather, takes_s=[1.0, 2.0, 6.0, 9.0])
    world(scheme, users=4, policy=Deadline(10.0), rounds=2, evaluate_every=100, executor="dry")
    assert [(end, users) for end, users, _ in scheme.done] == [
        (5.0, [0, 1]),
        (10.0, [0, 1]),
        (15.0, [0, 1]),
        (20.0, [0, 1]),
    ]
    early = Twice(gather, takes_s=[1.0, 2.0, 4.0, 4.0])
    world(early, users=4, policy=Deadline(10.0), rounds=1, evaluate_every=100, executor="dry")
    assert [end for end, *_ in early.done] == [4.0, 8.0]
    whole = Twice(gather, takes_s=[1.0, 2.0, 6.0, 9.0], share=1)
    world(whole, users=4, policy=Deadline(10.0), rounds=1, evaluate_every=100, executor="dry")
    assert [(end, users) for end, users, _ in whole.done] == [(9.0, [0, 1, 2, 3]), (10.0, [0])]


def test_a_deadline_that_all_meet_is_not_waited_for():
    scheme, ran = scripted(gather, Deadline(100.0), 2)
    assert [end for end, *_ in scheme.done] == [4.0, 8.0]
    assert ran.env.now == 8.0


def test_the_first_k_make_the_round():
    scheme, ran = scripted(gather, FirstK(3), 2)
    assert scheme.done == [(end, [0, 1, 3], results(0, 1, 3)) for end in (3.0, 6.0)]
    assert scheme.interrupted == [(2, 3.0), (2, 6.0)]
    assert ran.journal.rounds == [(0, 3, 1), (1, 3, 1)]


def test_users_that_finish_at_the_same_instant_as_the_kth_are_in():
    """What is done is done: nobody who finished is thrown away for the order of events at one instant."""
    scheme, ran = scripted(gather, FirstK(1), takes_s=[2.0, 2.0, 2.0, 5.0])
    (end, users, values) = scheme.done[0]
    assert end == 2.0
    assert users[0] == 0
    assert values == results(*users)
    assert sorted([*users, *(number for number, _ in scheme.interrupted)]) == [0, 1, 2, 3]
    assert ran.journal.rounds == [(0, len(users), 4 - len(users))]


def test_nobody_in_time():
    scheme, ran = scripted(gather, Deadline(0.5), 2)
    assert scheme.done == [(0.5, [], []), (1.0, [], [])]
    assert ran.journal.rounds == [(0, 0, 4), (1, 0, 4)]


def test_visits_are_one_after_another():
    scheme, ran = scripted(visit, WaitForAll())
    assert scheme.done == [(10.0, [0, 1, 2, 3], results(0, 1, 2, 3))]
    assert [work.start_s for work in ran.journal.works] == [0.0, 3.0, 4.0, 8.0]
    assert ran.journal.rounds == [(0, 4, 0)]


def test_visits_until_the_deadline():
    scheme, ran = scripted(visit, Deadline(5.0), 2)
    assert scheme.done == [(end, [0, 1], results(0, 1)) for end in (5.0, 10.0)]
    assert scheme.interrupted == [(2, 5.0), (2, 10.0)]
    assert scheme.begun == [0, 1, 2, 0, 1, 2]  # the last one is not visited at all
    assert ran.journal.rounds == [(0, 2, 2), (1, 2, 2)]


def test_visits_of_the_first_k():
    scheme, ran = scripted(visit, FirstK(3), reverse=True)
    assert scheme.done == [(7.0, [3, 2, 1], results(3, 2, 1))]
    assert scheme.begun == [3, 2, 1]
    assert ran.journal.rounds == [(0, 3, 1)]


def test_a_visit_that_ends_with_the_deadline():
    scheme, ran = scripted(visit, Deadline(4.0))
    assert scheme.begun == [0, 1]
    (_, participants, dropped) = ran.journal.rounds[0]
    assert (participants, dropped) == (len(scheme.done[0][1]), 4 - len(scheme.done[0][1]))


def test_a_policy_that_cannot_be_met_is_refused():
    with pytest.raises(ValueError, match="first 5 users, but there are 4"):
        scripted(gather, FirstK(5))


SCHEMES = [FedAvg(1), SFLV1(1), SFLV2(1), SL(1), SFL(), FedSLPQ(interval=1)]


@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda s: type(s).__name__)
def test_empty_rounds_keep_the_model(scheme):
    """With a deadline that nobody meets the model stays what it was, bit for bit."""
    before = world(Untrained(), rounds=1).model
    ran = world(scheme, policy=Deadline(1e-9), rounds=3)
    assert ran.journal.rounds == [(number, 0, 3) for number in range(3)]
    assert all(torch.equal(ran.model[name], value) for name, value in before.items())


class Untrained(Scheme):
    def run(self, world):
        for _ in world.rounds():
            yield world.env.timeout(1.0)
            world.models((world.initial(world.front), world.initial(world.back)))


def test_a_dropped_users_work_is_lost():
    """The slow user never arrives: the others' model is that of a world without it."""
    speeds, setting = [1e6, 1e6, 1e6 / SLOW_S], {"rounds": 3, "samples": 24}
    with_it = world(FedAvg(2), users=3, policy=FirstK(2), flops_per_s=speeds, **setting)
    without = world(FedAvg(2), users=2, flops_per_s=speeds[:2], **setting)
    assert with_it.journal.rounds == [(number, 2, 1) for number in range(3)]
    assert all(torch.equal(with_it.model[name], value) for name, value in without.model.items())


def test_a_run_ends_after_so_many_rounds():
    scheme, ran = scripted(gather, WaitForAll(), 5)
    assert len(scheme.done) == len(ran.journal.rounds) == 5


@pytest.mark.parametrize(("time_s", "rounds"), [(3.9, 1), (4.0, 1), (4.1, 2), (11.0, 3)])
def test_a_run_ends_with_the_round_in_which_time_is_up(time_s, rounds):
    ran = world(Scripted(gather), users=4, stop=Stop(time_s=time_s), executor="dry")
    assert len(ran.journal.rounds) == rounds


def test_a_run_ends_when_it_is_good_enough():
    usual = world(FedAvg(), rounds=12, samples=48)
    accuracy = usual.journal.series("accuracy")
    goal = max(accuracy)
    first = accuracy.index(goal)
    assert first > 0
    ran = world(FedAvg(), stop=Stop(accuracy=goal), samples=48)
    assert ran.journal.series("accuracy") == accuracy[: first + 1]
    assert len(ran.journal.rounds) == first + 1


def test_whichever_criterion_holds_first():
    ran = world(Scripted(gather), users=4, stop=Stop(rounds=9, time_s=4.5), executor="dry")
    assert len(ran.journal.rounds) == 2
    ran = world(Scripted(gather), users=4, stop=Stop(rounds=1, time_s=450.0), executor="dry")
    assert len(ran.journal.rounds) == 1
    with pytest.raises(ValueError, match="no criterion"):
        Stop()


@pytest.mark.parametrize(("every", "evaluated"), [(1, [0, 1, 2, 3, 4]), (2, [1, 3, 4]), (5, [4]), (7, [4])])
def test_evaluations_every_so_many_rounds_and_at_the_end(every, evaluated):
    ran = world(Scripted(gather), users=4, rounds=5, evaluate_every=every, executor="dry")
    rows = [row for row in ran.journal.evaluations if row["metric"] == "accuracy"]
    assert [row["round"] for row in rows] == evaluated
    assert [row["time_s"] for row in rows] == [4.0 * (number + 1) for number in evaluated]


def test_what_an_evaluation_looks_at_costs_no_simulated_time():
    often, seldom = (world(FedAvg(), rounds=4, evaluate_every=every) for every in (1, 4))
    assert often.env.now == seldom.env.now
    assert often.journal.works == seldom.journal.works
