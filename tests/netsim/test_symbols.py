"""Streams of modulated symbols: closed forms, a slot-by-slot reference, energy, deadlines, late joiners, handovers."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import floor, inf

import numpy as np
import pytest
from test_handover import moving
from test_rateless import DISTANCES_M, network
from worlds import Process, World, interrupted, world

from netsim.description import BackhaulDescription
from netsim.nodes import UserNode
from netsim.radio.fading import NoFading, Rayleigh
from netsim.radio.fidelity import Slots
from netsim.radio.scheduling import EqualShares, FixedShares, MaxRate, ProportionalFair
from netsim.symbols import Heard

BAND_HZ, RECEIVE_W = 1e6, 0.2
RATE = 2 * BAND_HZ
"""Symbols per second on the whole band."""


def broadcast(
    w: World, symbols: Sequence[float], deadline_s: float = inf, max_energy_j: float = inf
) -> dict[UserNode, Process]:
    return receptions_of(w, dict(zip(w.network.users, symbols, strict=False)), deadline_s, max_energy_j)


def receptions_of(
    w: World, to: Mapping[UserNode, float], deadline_s: float = inf, max_energy_j: float = inf
) -> dict[UserNode, Process]:
    """Processes in which users listen to their numbers of symbols of one stream."""
    stream = w.network.server.broadcast_symbols(list(to), 1e3, "symbols", deadline_s, max_energy_j)
    return {user: stream.hear(user, symbols) for user, symbols in to.items()}


def hear(w: World, receptions: dict[UserNode, Process], after_s: Sequence[float] = ()) -> dict[int, list[Heard]]:
    """Run all receptions, each from its own instant on; what each user has heard."""
    heard: dict[int, list[Heard]] = {}

    def body(user: UserNode, reception: Process, start_s: float) -> Process:
        yield w.env.timeout(start_s)
        heard[user.number] = yield from reception

    starts = [*after_s, *[0.0] * len(receptions)]
    w.run(*(body(user, reception, start) for (user, reception), start in zip(receptions.items(), starts, strict=False)))
    return heard


def snr(w: World, user: int, at_s: float) -> float:
    """Ratio of a user's link on the whole band at an instant."""
    link = w.network.users[user].downlink.link
    length_s = link.coherence_time_s
    block = 0 if length_s == inf else floor(at_s / length_s)
    gain = float(link.fading.power_gains(link.key, np.array([block]))[0])
    return link.mean_power_over_noise_hz * gain / BAND_HZ


@pytest.mark.parametrize("law", [EqualShares(), ProportionalFair(), MaxRate()])
def test_the_stream_is_on_the_air_for_the_largest_budget_and_each_pays_for_its_own(law):
    """Symbols take 1 / 2B at any distance; energy is that of each receiver's own time; what is sent is counted once."""
    w = world(network(law=law))
    heard = hear(w, broadcast(w, (200_000, 50_000, 100_000)))
    for user, symbols in enumerate((200_000, 50_000, 100_000)):
        assert sum(one.symbols for one in heard[user]) == pytest.approx(symbols, rel=1e-9)
        assert heard[user][0].snr == pytest.approx(snr(w, user, 0.0))
    rows = {row["user"]: row for row in w.rows("transfers")}
    spent = {row["user"]: row["receive_j"] for row in w.rows("energy")} if w.rows("energy") else {}
    for user, symbols in enumerate((200_000, 50_000, 100_000)):
        row = rows[user]
        assert row["end_s"] == pytest.approx(symbols / RATE, rel=1e-12)
        assert row["energy_j"] == pytest.approx(RECEIVE_W * symbols / RATE, rel=1e-12)
        assert (row["bits"], row["lost"]) == (symbols, pytest.approx(0, abs=1e-3))
        assert not spent or spent[user] == pytest.approx(row["energy_j"], rel=1e-9)
    assert w.journal._bits["down"] == pytest.approx(200_000, rel=1e-12)


def test_a_receiver_with_a_better_channel_and_smaller_budget_never_adds_air_time():
    ends = []
    for budgets in ((100_000,), (100_000, 60_000)):
        w = world(network())
        hear(w, broadcast(w, budgets))
        ends.append(max(row["end_s"] for row in w.rows("transfers")))
    assert ends[0] == ends[1]


def test_a_broadcast_takes_no_longer_than_unicasts_one_after_another():
    budgets = (100_000, 60_000, 80_000)
    w = world(network())
    hear(w, broadcast(w, budgets))
    assert max(row["end_s"] for row in w.rows("transfers")) <= sum(budgets) / RATE


@pytest.mark.parametrize("share", [1.0, 1 / 3])
def test_with_fading_every_block_is_heard_at_its_own_ratio(share):
    """Beside a reference that goes through the time in slots of one symbol."""
    law = EqualShares() if share == 1.0 else FixedShares()
    w = world(network(law=law, fading=Rayleigh(0.01), distances_m=DISTANCES_M if share == 1.0 else (100.0,) * 3))
    symbols = 30_000
    heard = hear(w, broadcast(w, (symbols,)))[0]
    reference: list[list[float]] = []
    slot_s = 1 / (RATE * share)
    for number in range(symbols):
        block = floor((number + 0.5) * slot_s / 0.01)
        if block == len(reference):
            reference.append([0, snr(w, 0, (block + 0.5) * 0.01)])
        reference[block][0] += 1
    assert [one.symbols for one in heard] == pytest.approx([count for count, _ in reference], abs=1.0)
    assert [one.snr for one in heard] == pytest.approx([ratio for _, ratio in reference])
    assert [one.first for one in heard] == pytest.approx(
        [sum(count for count, _ in reference[:block]) for block in range(len(reference))], abs=1.0
    )


def reference_ends(
    budgets: Sequence[int], starts: Sequence[int], outages: Sequence[float], deadline: int, energy: float
) -> tuple[list[int], int]:
    """Slot of one symbol by slot: when each receiver stops, and how many symbols were on the air.

    A receiver listens from its start; it stops when it has its budget, at the deadline after the first start, when its
    energy is spent, or when its outage begins.
    """
    heard, ends = [0] * len(budgets), [-1] * len(budgets)
    slot = on_air = 0
    while min(ends) < 0:
        listening = [r for r in range(len(budgets)) if ends[r] < 0 and slot >= starts[r]]
        for r in list(listening):
            spent = heard[r] * RECEIVE_W / RATE >= energy - 1e-12
            if heard[r] >= budgets[r] or slot >= min(starts) + deadline or spent or slot >= outages[r]:
                ends[r] = slot
                listening.remove(r)
        for r in listening:
            heard[r] += 1
        on_air += bool(listening)
        slot += 1
    return ends, on_air


@pytest.mark.parametrize("seed", range(6))
def test_every_stopping_rule_beside_a_slot_by_slot_reference(seed):
    rng = np.random.default_rng(seed)
    budgets = rng.integers(200, 900, 3).tolist()
    starts = [0, *rng.integers(0, 400, 2).tolist()]
    outages = [inf if rng.random() < 0.6 else int(starts[r] + rng.integers(20, 500)) for r in range(3)]
    deadline = int(rng.integers(300, 1200))
    energy = float(rng.integers(250, 900)) * RECEIVE_W / RATE
    expected, on_air = reference_ends(budgets, starts, outages, deadline, energy)

    w = world(network(fading=Rayleigh(1e-4)))
    receptions = broadcast(w, budgets, deadline / RATE, energy)

    def late(reception: Process, start: int) -> Process:
        yield w.env.timeout(start / RATE)
        yield from reception

    works = [late(receptions[user], starts[user.number]) for user in receptions]
    w.run(*(interrupted(w, work, outages[number] / RATE) for number, work in enumerate(works)))
    rows = {row["user"]: row for row in w.rows("transfers")}
    for user in range(3):
        if expected[user] == starts[user]:
            assert user not in rows or rows[user]["airtime_s"] == 0
            continue
        listened = expected[user] - starts[user]
        assert rows[user]["airtime_s"] * RATE == pytest.approx(listened, abs=1e-6)
        assert rows[user]["bits"] - rows[user]["lost"] == pytest.approx(listened, abs=1e-6)
        assert rows[user]["energy_j"] == pytest.approx(listened * RECEIVE_W / RATE, rel=1e-9)
    assert w.journal._bits["down"] == pytest.approx(on_air, abs=1e-6)
    assert not list(w.network.stations[0].downlink.band.sending())


def test_a_late_joiner_hears_as_many_symbols_of_its_own_time():
    w = world(network())
    start_s = 0.01
    heard = hear(w, broadcast(w, (100_000, 60_000)), (0.0, start_s))
    (late,) = heard[1]
    assert late.first == pytest.approx(start_s * RATE)
    assert late.symbols == pytest.approx(60_000)
    rows = {row["user"]: row for row in w.rows("transfers")}
    assert rows[1]["end_s"] == pytest.approx(start_s + 60_000 / RATE)
    assert w.journal._bits["down"] == pytest.approx(100_000)


def test_who_joins_when_all_others_have_stopped_continues_the_stream():
    w = world(network())
    heard = hear(w, broadcast(w, (20_000, 10_000)), (0.0, 1.0))
    assert heard[1][0].first == pytest.approx(20_000)
    assert w.journal._bits["down"] == pytest.approx(30_000)


def test_the_energy_budget_ends_a_reception_at_the_instant_at_which_it_is_spent():
    w = world(network(fading=Rayleigh(0.003)))
    energy_j = 0.0031
    heard = hear(w, broadcast(w, (100_000, 1000), max_energy_j=energy_j))
    rows = {row["user"]: row for row in w.rows("transfers")}
    assert rows[0]["end_s"] == pytest.approx(energy_j / RECEIVE_W, rel=1e-9)
    assert rows[0]["energy_j"] == pytest.approx(energy_j, rel=1e-9)
    assert sum(one.symbols for one in heard[0]) == pytest.approx(energy_j / RECEIVE_W * RATE, rel=1e-9)
    assert sum(one.symbols for one in heard[1]) == pytest.approx(1000)


def test_an_outage_of_one_receiver_changes_nothing_for_the_others():
    found = []
    for alone in (True, False):
        w = world(network(fading=Rayleigh(0.01)))
        users = w.network.users
        users[0].presence.steady = False
        receptions = broadcast(w, (100_000, 80_000, 60_000))
        heard: list[Heard] = []

        def other(reception: Process, heard: list[Heard] = heard) -> Process:
            heard += yield from reception

        if not alone:
            w.at(0.013, lambda user=users[0]: user.presence.leave("outage"))  # type: ignore[misc]
        w.run(*([] if alone else [interrupted(w, receptions[users[0]], inf)]), other(receptions[users[1]]))
        found.append(heard)
        if not alone:
            left = w.rows("transfers")[0]
            assert left["user"] == 0
            assert left["bits"] - left["lost"] == pytest.approx(0.013 * RATE)
    assert [one.snr for one in found[0]] == [one.snr for one in found[1]]
    assert [one.symbols for one in found[0]] == pytest.approx([one.symbols for one in found[1]], abs=1e-6)


def test_a_receiver_that_is_handed_over_continues_and_disturbs_nobody():
    """User 0 goes from station 0 to station 1; user 1 stays."""
    starts, budget = ((100.0, 0.0), (-400.0, 0.0)), 6e6
    ends = {}
    for group in ((0, 1), (0,), (1,)):
        w = world(moving(starts, heading_deg=0.0))
        to = {w.network.users[user]: budget for user in group}
        heard = hear(w, receptions_of(w, to))
        for row in w.rows("transfers"):
            ends[group, row["user"]] = row["end_s"]
            assert row["airtime_s"] == pytest.approx(budget / RATE, rel=1e-9)  # at the symbol rate, without the gap
            assert row["energy_j"] == pytest.approx(RECEIVE_W * row["airtime_s"], rel=1e-9)
        if 0 in group:
            assert {one.station for one in heard[0]} == {"station0", "station1"}
            assert sum(one.symbols for one in heard[0]) == pytest.approx(budget)
            assert next(one for one in heard[0] if one.station == "station1").first == 0
        assert not [one for station in w.network.stations for one in station.downlink.band.sending()]
    assert ends[(0, 1), 0] == pytest.approx(ends[(0,), 0], abs=1e-9)
    assert ends[(0, 1), 1] == pytest.approx(ends[(1,), 1], abs=1e-9)


def test_an_energy_budget_is_not_spent_in_a_handover_gap():
    w = world(moving(((100.0, 0.0),), heading_deg=0.0))
    to = {w.network.users[0]: 6e6}
    hear(w, receptions_of(w, to, max_energy_j=0.5))
    (row,) = w.rows("transfers")
    assert row["node"] == "station1"
    assert row["airtime_s"] == pytest.approx(0.5 / RECEIVE_W, rel=1e-9)
    assert row["end_s"] > row["airtime_s"]


@pytest.mark.parametrize("law", [EqualShares(), ProportionalFair()])
def test_many_receivers_beside_coded_messages_in_one_band(law):
    """More than sixteen transmissions progress together in arrays: symbols keep their rate, messages keep theirs."""
    count = 24
    w = world(network(law=law, fading=NoFading(), distances_m=(300.0,) * count))
    users = list(w.network.users)
    to = {user: 2000.0 + 100 * user.number for user in users[: count - 1]}
    receptions = receptions_of(w, to)
    heard: dict[int, list[Heard]] = {}

    def body(user: UserNode) -> Process:
        heard[user.number] = yield from receptions[user]

    w.run(*(body(user) for user in to), w.network.server.send(users[-1], 1e4, "coded"))
    for user, symbols in to.items():
        assert sum(one.symbols for one in heard[user.number]) == pytest.approx(symbols, rel=1e-6)
        assert {round(one.snr, 6) for one in heard[user.number]} == {round(snr(w, user.number, 0), 6)}
    coded = next(row for row in w.rows("transfers") if row["kind"] == "coded")
    few = world(network(law=law, fading=NoFading(), distances_m=(300.0,) * count))
    pair = list(few.network.users)
    stream = receptions_of(few, {pair[0]: 1e5})[pair[0]]
    few.run(stream, few.network.server.send(pair[-1], 1e4, "coded"))
    alone = next(row for row in few.rows("transfers") if row["kind"] == "coded")
    if law == EqualShares():  # the stream is one transmission among two, whoever listens
        assert coded["end_s"] == pytest.approx(alone["end_s"], rel=1e-9)
    last = max(row["end_s"] for row in w.rows("transfers") if row["kind"] == "symbols")
    assert last >= max(to.values()) / RATE


def test_nothing_is_heard_after_the_deadline_and_the_message_crosses_the_backhaul_once():
    w = world(replace(network(), backhaul=BackhaulDescription(1e6, 0.0)))
    heard = hear(w, broadcast(w, (1e9, 1e9), deadline_s=0.02), (0.0, 0.05))
    assert sum(one.symbols for one in heard[0]) == pytest.approx((0.02 - 1e3 / 1e6) * RATE)
    assert heard[1] == []
    assert [row["bits"] for row in w.rows("transfers") if row["direction"] == "backhaul"][:1] == [1e3]


def test_symbols_need_a_channel_that_flows():
    w = world(network(Slots(1e-3, 4)))
    with pytest.raises(ValueError, match="needs the fidelity flow"):
        broadcast(w, (1,))


def test_an_interrupted_receiver_frees_its_radio():
    w = world(network())
    receptions = broadcast(w, (1e9, 1e9, 1e9))
    w.run(*(interrupted(w, reception, 0.25) for reception in receptions.values()))
    assert not list(w.network.stations[0].downlink.band.sending())
    assert all(user.downlink.lock.count == 0 for user in w.network.users)
    assert {row["end_s"] for row in w.rows("transfers")} == {0.25}
