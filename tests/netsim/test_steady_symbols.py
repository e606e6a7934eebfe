"""Streams of symbols to which users listen several times, and that are on the air until they are ended."""

from collections.abc import Sequence
from dataclasses import replace
from math import floor, inf

import numpy as np
import pytest
from test_handover import moving
from test_rateless import network
from test_symbols import BAND_HZ, RATE, RECEIVE_W, snr
from worlds import Process, World, interrupted, world

from netsim.description import BackhaulDescription
from netsim.nodes import UserNode
from netsim.radio.fading import Rayleigh
from netsim.radio.scheduling import EqualShares, ProportionalFair, SchedulingPolicy
from netsim.symbol_broadcast import SymbolBroadcast
from netsim.symbols import Heard

Plan = Sequence[tuple[int, int]]
"""What a user does: pauses of so many symbols, each followed by so many symbols that it hears."""


def open_stream(w: World, steady: bool, deadline_s: float = inf, max_energy_j: float = inf) -> SymbolBroadcast:
    return w.network.server.broadcast_symbols(w.network.users, 1e3, "symbols", deadline_s, max_energy_j, steady)


def listener(
    w: World, stream: SymbolBroadcast, user: UserNode, plan: Plan, heard: dict[int, list[list[Heard]]]
) -> Process:
    for pause, symbols in plan:
        yield w.env.timeout(pause / RATE)
        heard.setdefault(user.number, []).append((yield from stream.hear(user, symbols)))


def ends(w: World, stream: SymbolBroadcast, slot: int) -> Process:
    yield w.env.timeout(slot / RATE)
    stream.end()


def reference(plans: Sequence[Plan], steady: bool, end: int) -> tuple[list[list[tuple[int, int]]], int]:
    """Slot of one symbol by slot: number of the stream's symbol at which each reception begins, and its symbols; and
    the symbols on the air."""
    left = [[list(step) for step in plan] for plan in plans]
    found: list[list[tuple[int, int]]] = [[] for _ in plans]
    on_air, begun = 0, False
    for _ in range(end):
        listens = []
        for user, steps in enumerate(left):
            while steps and steps[0][0] == 0 and steps[0][1] == 0:
                steps.pop(0)
            if steps and steps[0][0] == 0:
                listens.append(user)
        begun = begun or bool(listens)
        for user in range(len(plans)):
            if user in listens:
                pause_symbols = plans[user][len(plans[user]) - len(left[user])][1]
                if left[user][0][1] == pause_symbols:
                    found[user].append((on_air, 0))
                first, count = found[user][-1]
                found[user][-1] = first, count + 1
                left[user][0][1] -= 1
            elif left[user]:
                left[user][0][0] -= 1
        on_air += bool(listens) or (steady and begun)
    return found, on_air


@pytest.mark.parametrize("steady", [True, False])
@pytest.mark.parametrize("seed", range(5))
def test_repeated_receptions_beside_a_slot_by_slot_reference(seed: int, steady: bool) -> None:
    """Symbols are numbered by the stream, sent once, received by each, and paid for while its own radio is on."""
    rng = np.random.default_rng(seed)
    plans = [[tuple(rng.integers(1, 300, 2).tolist()) for _ in range(rng.integers(1, 5))] for _ in range(3)]
    end = max(sum(map(sum, plan)) for plan in plans) + int(rng.integers(1, 500))
    expected, on_air = reference(plans, steady, end)

    w = world(network(fading=Rayleigh(1e-4)))
    stream, heard = open_stream(w, steady), dict[int, list[list[Heard]]]()
    users = w.network.users
    w.run(
        *(listener(w, stream, user, plan, heard) for user, plan in zip(users, plans, strict=True)), ends(w, stream, end)
    )
    rows = w.rows("transfers")
    for user in range(3):
        assert [(one[0].first, sum(each.symbols for each in one)) for one in heard[user]] == [
            (pytest.approx(first, abs=1e-5), pytest.approx(count, abs=1e-5)) for first, count in expected[user]
        ]
        own = [row for row in rows if row["user"] == user]
        listened = sum(count for _, count in expected[user])
        assert sum(row["bits"] for row in own) == listened == pytest.approx(sum(symbols for _, symbols in plans[user]))
        assert sum(row["energy_j"] for row in own) == pytest.approx(listened * RECEIVE_W / RATE, rel=1e-9)
        if steady and not user:  # every fading block at its own ratio
            for row, parts in zip(own, heard[0], strict=True):
                middle = row["start_s"] + 0.5 * parts[0].symbols / RATE
                assert parts[0].snr == pytest.approx(snr(w, 0, middle))
    assert w.journal._bits["down"] == pytest.approx(on_air, abs=1e-5)
    assert not list(w.network.stations[0].downlink.band.sending())


def test_a_steady_stream_is_on_the_air_from_the_first_listener_to_its_deadline() -> None:
    w = world(network())
    stream, heard = open_stream(w, True, deadline_s=0.03), dict[int, list[list[Heard]]]()
    plans: list[Plan] = [[(4000, 1000)], [(6000, 10_000_000)], [(5000, 10), (90_000, 10)]]
    users = w.network.users
    w.run(*(listener(w, stream, user, plan, heard) for user, plan in zip(users, plans, strict=True)))
    assert w.journal._bits["down"] == pytest.approx(0.03 * RATE)
    assert sum(one.symbols for one in heard[1][0]) == pytest.approx(0.03 * RATE - 2000)
    assert heard[2][1] == []
    assert not list(w.network.stations[0].downlink.band.sending())


def test_nothing_is_heard_or_sent_after_the_end() -> None:
    w = world(network())
    stream, heard = open_stream(w, True), dict[int, list[list[Heard]]]()
    user = w.network.users[0]
    w.run(listener(w, stream, user, [(0, 1000), (2000, 500)], heard), ends(w, stream, 1500))
    assert heard[0][1] == []
    assert w.journal._bits["down"] == pytest.approx(1500)
    assert len(w.rows("transfers")) == 1


def test_the_energy_of_a_user_is_for_all_that_it_hears_of_the_stream() -> None:
    w = world(network())
    budget_j = 1500 * RECEIVE_W / RATE
    stream, heard = open_stream(w, True, max_energy_j=budget_j), dict[int, list[list[Heard]]]()
    plan = [(0, 1000), (300, 1000), (300, 1000)]
    w.run(*(listener(w, stream, user, plan, heard) for user in w.network.users[:2]))
    for user in range(2):
        assert [sum(one.symbols for one in each) for each in heard[user]] == pytest.approx([1000, 500, 0])
        spent = sum(row["energy_j"] for row in w.rows("transfers") if row["user"] == user)
        assert spent == pytest.approx(budget_j, rel=1e-9)


@pytest.mark.parametrize("steady", [True, False])
def test_a_pause_keeps_the_band_from_others_only_if_the_stream_is_steady(steady: bool) -> None:
    """A message to another user in the same band, while the only listener pauses, has half of the band, or all."""
    w = world(replace(network(), sharing=network(law=EqualShares()).sharing))
    listens, other = w.network.users[:2]
    stream, heard = open_stream(w, steady), dict[int, list[list[Heard]]]()

    def message() -> Process:
        yield w.env.timeout(200 / RATE)
        yield from w.network.server.send(other, 100.0, "message")

    w.run(listener(w, stream, listens, [(0, 100)], heard), message(), ends(w, stream, 40_000))
    (row,) = [row for row in w.rows("transfers") if row["kind"] == "message"]
    full = BAND_HZ * np.log2(1 + w.network.users[1].downlink.link.mean_power_over_noise_hz / BAND_HZ)
    assert row["airtime_s"] == pytest.approx(100.0 / full * (2 if steady else 1), rel=1e-9)


def test_a_steady_stream_of_a_user_that_moves_on_is_on_the_air_at_both_stations() -> None:
    w = world(moving(((100.0, 0.0),), heading_deg=0.0))
    (user,) = w.network.users
    stream, heard = open_stream(w, True), dict[int, list[list[Heard]]]()
    w.run(listener(w, stream, user, [(0, 6_000_000)], heard), ends(w, stream, 12_000_000))
    assert {one.station for one in heard[0][0]} == {"station0", "station1"}
    (moved_s,) = [row["time_s"] for row in w.rows("handovers")]
    gap_s = sum(row["wait_s"] for row in w.rows("transfers"))
    assert w.journal._bits["down"] == pytest.approx(
        RATE * (12_000_000 / RATE + 12_000_000 / RATE - moved_s - gap_s), rel=1e-6
    )
    assert not [one for station in w.network.stations for one in station.downlink.band.sending()]


def test_an_interrupted_listener_leaves_the_steady_stream_to_the_others() -> None:
    w = world(replace(network(), backhaul=BackhaulDescription(1e6, 0.0)))
    stream, heard = open_stream(w, True), dict[int, list[list[Heard]]]()
    first, second = w.network.users[:2]
    begin_s = 1e3 / 1e6
    w.run(
        interrupted(w, listener(w, stream, first, [(0, 9000)], heard), begin_s + 1000 / RATE),
        listener(w, stream, second, [(0, 3000), (1000, 2000)], heard),
        ends(w, stream, floor(begin_s * RATE) + 7000),
    )
    assert [sum(one.symbols for one in each) for each in heard[1]] == pytest.approx([3000, 2000])
    assert heard[1][1][0].first == pytest.approx(4000)
    assert w.journal._bits["down"] == pytest.approx(7000)


@pytest.mark.parametrize("law", [EqualShares(), ProportionalFair()])
def test_more_receivers_than_are_divided_one_by_one_hear_a_steady_stream(law: SchedulingPolicy) -> None:
    """More than sixteen transmissions progress together in arrays; the stream is one of them while all pause."""
    w = world(network(law=law, distances_m=(300.0,) * 24))
    stream, heard = open_stream(w, True), dict[int, list[list[Heard]]]()
    users = w.network.users
    w.run(
        *(listener(w, stream, user, [(0, 100 + user.number), (50, 200)], heard) for user in users),
        ends(w, stream, 1000),
    )
    for user in users:
        counts = [sum(one.symbols for one in each) for each in heard[user.number]]
        assert counts == pytest.approx([100 + user.number, 200], rel=1e-9)
        assert heard[user.number][1][0].first == pytest.approx(150 + user.number)
    assert w.journal._bits["down"] == pytest.approx(1000, abs=1e-5)
