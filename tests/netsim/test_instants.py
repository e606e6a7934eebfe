"""Ties: queues in step with their arrivals lose nothing, and what ends at an instant is done before anybody decides."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import accumulate, permutations, repeat
from math import nextafter

import pytest
import simpy
from hypothesis import given
from hypothesis import strategies as st
from worlds import ENERGY, At, Process, World, ask, flat_compute, flat_network, flat_rates_bps, world

from netsim import instants
from netsim.battery import BatteryDescription
from netsim.description import BackhaulDescription, FaultsDescription, RequestStream, ServersDescription
from netsim.faults import Outage
from netsim.instants import ARRIVE, CHANGE, GIVE_UP, ROUNDING, SERVE, After, End
from netsim.queueing import DISCIPLINES, Batching, Discipline, Fifo, Priority
from netsim.traffic.sizes import ConstantSize
from netsim.values import ConstantPerUser

PERIODS_S = (1.0, 0.1, 1 / 3, 0.7, 1e-3)
COUNT = 150
disciplines = pytest.mark.parametrize("discipline", [part() for part in DISCIPLINES.values()], ids=list(DISCIPLINES))


def serving(discipline: Discipline = Fifo(), slots: int = 1, capacity: int | None = None, **network: object) -> World:  # noqa: B008
    """A server of 1 FLOP/s a slot: a job takes as many seconds as it has FLOPs."""
    servers = ServersDescription(1.0, slots, discipline, capacity)
    return world(replace(flat_network(1), **network), replace(flat_compute(), servers=servers))  # type: ignore[arg-type]


def outcomes(rows: list[dict[str, object]]) -> set[object]:
    return {row["outcome"] for row in rows}


def in_step(period_s: float) -> Iterator[list[float]]:
    """Instants a period apart, as a table would have them, and as a clock adds them up."""
    yield [3.0 + number * period_s for number in range(COUNT)]
    yield list(accumulate(repeat(period_s, COUNT), initial=1000.1))


@disciplines
@pytest.mark.parametrize("period_s", PERIODS_S)
@pytest.mark.parametrize("slots", [1, 3])
def test_a_queue_in_step_with_its_arrivals_loses_none(discipline: Discipline, period_s: float, slots: int) -> None:
    """D/D/c/c at load one, where service takes c periods; a little more, and every job finds the last one there."""
    for instants_s in in_step(period_s):
        w = serving(discipline, slots, slots)
        rows = ask(w, 1e4, x=RequestStream(At(*instants_s), flops=ConstantSize(slots * period_s)))
        assert outcomes(rows) == {"served"}
        assert max(row["wait_s"] for row in w.rows("computations")) <= ROUNDING * 1e4
        assert [row["arrival_s"] for row in rows] == pytest.approx(instants_s, rel=1e-15)
    longer = RequestStream(At(*instants_s), flops=ConstantSize(slots * period_s * 1.0001))
    rows = ask(serving(discipline, slots, slots), 1e4, x=longer)
    assert sum(row["outcome"] == "refused" for row in rows) >= COUNT // (slots + 1) - 1


@pytest.mark.parametrize("period_s", PERIODS_S)
def test_over_air_and_line_too(period_s: float) -> None:
    """The jobs reach the server a constant time after they are asked for."""
    up_bps, _ = flat_rates_bps(1)
    for instants_s in in_step(period_s):
        w = serving(capacity=1, backhaul=BackhaulDescription(1e9, 0.3 * period_s))
        stream = RequestStream(At(*instants_s), ConstantSize(0.3 * period_s * up_bps), ConstantSize(period_s))
        assert outcomes(ask(w, 1e4, x=stream)) == {"served"}


@disciplines
@pytest.mark.parametrize("period_s", PERIODS_S)
def test_who_gives_up_makes_room(discipline: Discipline, period_s: float) -> None:
    """Nobody is ever served, each has gone when the next comes, and so none is refused."""
    for instants_s in in_step(period_s):
        stream = RequestStream(At(*instants_s), flops=ConstantSize(10 * period_s), timeout_s=period_s)
        assert outcomes(ask(serving(discipline, capacity=1), 1e4, x=stream)) == {"timed_out"}


@disciplines
@pytest.mark.parametrize("period_s", PERIODS_S)
def test_what_ends_at_its_timeout_is_in_time(discipline: Discipline, period_s: float) -> None:
    up_bps, down_bps = flat_rates_bps(1)
    third = period_s / 3
    for instants_s in in_step(period_s):
        stream = RequestStream(
            At(*instants_s[::2]), ConstantSize(third * up_bps), ConstantSize(third), ConstantSize(third * down_bps)
        )
        late = replace(stream, timeout_s=period_s * 0.9999)
        assert outcomes(ask(serving(discipline), 1e4, x=replace(stream, timeout_s=period_s))) == {"served"}
        assert outcomes(ask(serving(discipline), 1e4, x=late)) == {"timed_out"}
        line = BackhaulDescription(up_bps, third, Fifo() if isinstance(discipline, Batching) else discipline)
        over = RequestStream(At(*instants_s[::2]), ConstantSize(third * up_bps), timeout_s=period_s)
        assert outcomes(ask(serving(discipline, backhaul=line), 1e4, x=over)) == {"served"}


@pytest.mark.parametrize("first_s", [0.1, 0.3, 1 / 3, 0.7, 100.1, 1000.3])
@pytest.mark.parametrize("lead_s", [0.1, 0.2, 1 / 7, 0.6])
def test_jobs_that_share_and_end_together_are_in_time_together(first_s: float, lead_s: float) -> None:
    """One comes earlier by what it is longer: from then on both have the same left, and take twice that."""
    for left_s in (0.1, 0.2, 1 / 3, 0.7):
        w = serving(DISCIPLINES["processor_sharing"]())
        end_s = first_s + lead_s + 2 * left_s
        a = RequestStream(At(first_s), flops=ConstantSize(lead_s + left_s), timeout_s=end_s - first_s)
        b = RequestStream(At(first_s + lead_s), flops=ConstantSize(left_s), timeout_s=end_s - (first_s + lead_s))
        assert outcomes(ask(w, 2e3, a=a, b=b)) == {"served"}


@pytest.mark.parametrize("instant_s", [0.1, 0.3, 7.7, 1000.1])
@pytest.mark.parametrize("ulps", [-1, 0, 1])
def test_devices_go_and_return_before_requests_arrive(instant_s: float, ulps: int) -> None:
    changes_s = nextafter(instant_s, instant_s + ulps)
    request = RequestStream(At(instant_s), flops=ConstantSize(0.01))
    for outage, outcome in ((Outage(0, changes_s), "lost"), (Outage(0, 0.05, changes_s), "served")):
        w = serving(faults=FaultsDescription(outages=(outage,)))
        assert outcomes(ask(w, 2e3, x=request)) == {outcome}


@pytest.mark.parametrize("ulps", [-1, 0, 1])
def test_no_request_arrives_when_their_time_is_over(ulps: int) -> None:
    request = RequestStream(At(0.2, nextafter(0.3, 0.3 + ulps)), flops=ConstantSize(0.01))
    assert len(ask(serving(), 0.3, x=request)) == 1


@pytest.mark.parametrize("period_s", PERIODS_S)
def test_what_ends_when_its_device_goes_is_done(period_s: float) -> None:
    """Jobs of the device, of the server for it, and its transfers; a device that returns is there for who asks then."""
    up_bps, down_bps = flat_rates_bps(1)
    for instants_s in in_step(period_s):
        spans = zip(instants_s[:-2:2], instants_s[2::2], strict=True)
        outages = tuple(Outage(0, begin_s + period_s, end_s) for begin_s, end_s in spans)
        faults = FaultsDescription(outages=outages)
        for stream in (
            RequestStream(At(*instants_s[::2]), flops=ConstantSize(period_s)),
            RequestStream(At(*instants_s[::2]), ConstantSize(period_s * up_bps)),
            RequestStream(At(*instants_s[::2]), downlink_bits=ConstantSize(period_s * down_bps)),
        ):
            assert outcomes(ask(serving(faults=faults), 1e4, x=stream)) == {"served"}
        gone = RequestStream(At(*(outage.from_s for outage in outages)), flops=ConstantSize(1e-9))
        assert outcomes(ask(serving(faults=faults), 1e4, x=gone)) == {"lost"}
        w = serving(faults=faults)

        def work(w: World = w, starts_s: list[float] = instants_s[:-2:2]) -> Process:
            for start_s in starts_s:
                yield w.env.timeout(start_s - w.env.now)
                if w.network.users[0].away:  # the process comes before the device returns
                    yield w.network.users[0].back
                yield from w.network.users[0].compute(period_s * 1e9, "work")

        w.run(work())
        assert not any(row["interrupted"] for row in w.rows("computations"))


def test_a_battery_that_is_empty_at_the_end_of_a_job_has_done_it() -> None:
    """0.1 J at 0.1 W; ten jobs of a tenth of a second add up to one and a bit less."""
    cell = world(energy=replace(ENERGY, battery=BatteryDescription(ConstantPerUser(0.1))), users=1)

    def work() -> Process:
        for _ in range(10):
            yield from cell.network.users[0].compute(1e8, "work")

    cell.run(work())
    assert [row["interrupted"] for row in cell.rows("computations")] == [False] * 10
    cell.env.run(2.0)
    assert cell.network.users[0].gone


@pytest.mark.parametrize("order", list(permutations(["first", "second", "third"])))
@pytest.mark.parametrize("ulps", [-1, 0, 1])
def test_slots_are_given_when_all_have_come(order: tuple[str, ...], ulps: int) -> None:
    """One job ends, and three come at that instant but for rounding, in any order: the best of them begins."""
    w = serving(Priority(("first", "second")))

    def job(start_s: float, kind: str, flops: float = 1.0) -> Process:
        yield After(w.env, start_s, ARRIVE)
        yield from w.network.server.compute(flops, kind)

    come_s = 0.3 if ulps == 0 else nextafter(0.3, ulps)
    w.run(job(0.0, "third", 0.3), *(job(come_s, kind) for kind in order))
    assert [row["kind"] for row in w.rows("computations")] == ["third", "first", "second", "third"]


CLUSTERS = (0.3, 1.0, 1000.1)
RANKS = [None, GIVE_UP, CHANGE, ARRIVE, SERVE]
things = st.tuples(st.sampled_from(CLUSTERS), st.integers(-3, 3), st.sampled_from(RANKS))


@given(st.lists(things, max_size=12))
def test_any_order_within_rounding(chosen: list[tuple[float, int, int | None]]) -> None:
    """Whatever decides finds all that comes before it in its instant done; the clock never goes back."""
    env, happened = simpy.Environment(), []
    for base_s, ulps, rank in chosen:
        due_s = base_s
        for _ in range(abs(ulps)):
            due_s = nextafter(due_s, 2000.0 if ulps > 0 else 0.0)
        event = End(env, due_s) if rank is None else After(env, due_s, rank)  # type: ignore[arg-type]
        event.callbacks.append(lambda _, rank=rank, due_s=due_s: happened.append((env.now, RANKS.index(rank), due_s)))
    env.run()
    assert len(happened) == len(chosen)
    times_s = [now_s for now_s, _, _ in happened]
    assert times_s == sorted(times_s)
    for now_s, _, due_s in happened:
        assert now_s == pytest.approx(due_s, rel=2 * ROUNDING)
    for place, (now_s, rank, _) in enumerate(happened):
        if rank:
            assert all(other > now_s * (1 + ROUNDING) or lower >= rank for other, lower, _ in happened[place:])


def test_what_is_further_away_than_rounding_is_left_alone() -> None:
    env = simpy.Environment()
    end, decision = End(env, 1.0 + 1e-9), After(env, 1.0, GIVE_UP)
    env.run(decision)
    assert (env.now, end.processed) == (1.0, False)


def test_who_waits_for_one_instant_takes_turns_and_looks_ahead_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What follows from one has happened before it is the next one's turn; a scan for each would cost their square."""
    looks = []
    bring_forward = instants._bring_forward
    monkeypatch.setattr(instants, "_bring_forward", lambda *what: looks.append(what) or bring_forward(*what))
    env, seen = simpy.Environment(), []

    def one(number: int) -> Process:
        yield After(env, 1.0, ARRIVE)
        seen.append((number, "came"))
        yield env.timeout(0)
        seen.append((number, "went on"))

    for number in range(100):
        env.process(one(number))
    env.run()
    assert seen == [(number, what) for number in range(100) for what in ("came", "went on")]
    assert len(looks) == 1
