"""Rateless broadcasts: closed forms, brute force over fading blocks, energy, leavers, handovers, deadlines."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import count
from math import floor, inf, log2

import numpy as np
import pytest
import simpy
from test_handover import moving
from test_out_of_range import FREE_SPACE_DB, NOISE_DBM
from test_out_of_range import network as at_snr
from worlds import Process, World, flat_network, interrupted, listen, world

from netsim import deadlock
from netsim.description import BackhaulDescription, BandDescription, NetworkDescription, SharingDescription
from netsim.geometry import Explicit, Stations
from netsim.nodes import UserNode
from netsim.radio.fading import Fading, NoFading, Rayleigh
from netsim.radio.fidelity import Fidelity, Flow, Slots
from netsim.radio.interference import Interference
from netsim.radio.rate import FiniteBlocklength
from netsim.radio.scheduling import EqualShares, FixedShares, MaxRate, ProportionalFair, RoundRobin, SchedulingPolicy

SLOT_S, BAND_HZ, BITS = 1e-3, 1e6, 1e7
FIDELITIES = [Flow(), Slots(SLOT_S, 4)]
LAWS = [EqualShares(), RoundRobin(), ProportionalFair(), MaxRate()]
DISTANCES_M = (100.0, 300.0, 900.0)


def network(
    fidelity: Fidelity = FIDELITIES[0],
    law: SchedulingPolicy = LAWS[0],
    fading: Fading = NoFading(),  # noqa: B008
    distances_m: Sequence[float] = DISTANCES_M,
) -> NetworkDescription:
    """Users at these distances from one station."""
    flat, band = flat_network(len(distances_m)), BandDescription(BAND_HZ / 1e6, law, fidelity)
    return replace(
        flat,
        users=replace(flat.users, placement=Explicit(tuple((distance, 0.0) for distance in distances_m))),
        channel=replace(flat.channel, fading=fading),
        sharing=SharingDescription(band, band),
    )


def rates_bps(w: World) -> list[float]:
    """Of every user alone on the whole band, without fading."""
    links = [user.downlink.link for user in w.network.users]
    return [BAND_HZ * log2(1 + link.mean_power_over_noise_hz / BAND_HZ) for link in links]


def ends_s(w: World) -> dict[int, float]:
    return {row["user"]: row["end_s"] for row in w.rows("transfers")}


def tolerance_s(fidelity: Fidelity) -> float:
    """Slot by slot a transfer ends with its slot."""
    return 1e-9 if fidelity == Flow() else SLOT_S


@pytest.mark.parametrize("fidelity", FIDELITIES)
@pytest.mark.parametrize("law", LAWS)
def test_alone_on_the_band_each_receiver_takes_its_bits_over_its_own_rate(
    fidelity: Fidelity, law: SchedulingPolicy
) -> None:
    w = world(network(fidelity, law))
    w.run(listen(w, w.network.users, BITS))
    for user, rate_bps in enumerate(rates_bps(w)):
        assert 0 <= ends_s(w)[user] - BITS / rate_bps <= tolerance_s(fidelity) + 1e-9


@pytest.mark.parametrize("fidelity", FIDELITIES)
def test_the_parts_of_those_that_have_ended_are_their_own_again(fidelity: Fidelity) -> None:
    """With parts of a third each the stream has all, two thirds and one third of the band, one after another."""
    w = world(network(fidelity, FixedShares()))
    w.run(listen(w, w.network.users, BITS))
    first, second, third = rates_bps(w)
    end_0_s = BITS / first
    end_1_s = end_0_s + (BITS - second * end_0_s) / (second * 2 / 3)
    end_2_s = end_1_s + (BITS - third * (end_0_s + (end_1_s - end_0_s) * 2 / 3)) / (third / 3)
    tolerance = 1e-9 if fidelity == Flow() else 4 * SLOT_S  # the borders between the parts are rounded up three times
    assert ends_s(w) == pytest.approx({0: end_0_s, 1: end_1_s, 2: end_2_s}, abs=tolerance)


@pytest.mark.parametrize("fidelity", FIDELITIES)
@pytest.mark.parametrize("coherence_s", [0.004, 0.05])
def test_under_fading_each_receiver_ends_when_its_blocks_add_up(fidelity: Fidelity, coherence_s: float) -> None:
    w = world(network(fidelity, fading=Rayleigh(coherence_s)))
    w.run(listen(w, w.network.users, BITS))
    step_s = coherence_s if fidelity == Flow() else SLOT_S
    for user in w.network.users:
        link, received = user.downlink.link, 0.0
        gains = link.fading.power_gains(link.key, range_of(1000)) * link.mean_power_over_noise_hz
        for step in count():
            block = floor(step * step_s / coherence_s + 1e-9)
            gained = step_s * BAND_HZ * log2(1 + gains[block] / BAND_HZ)
            if received + gained >= BITS * (1 - 1e-9):
                break
            received += gained
        part = (BITS - received) / gained if fidelity == Flow() else 1.0
        assert ends_s(w)[user.number] == pytest.approx((step + part) * step_s, rel=1e-9)


def range_of(blocks: int) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    return np.arange(blocks, dtype=np.int64)


@pytest.mark.parametrize("fidelity", FIDELITIES)
def test_a_stream_shares_the_band_as_one(fidelity: Fidelity) -> None:
    """Two that receive alike and a third with a message of its own, half of the band each, until that has ended."""
    flat = flat_network(3)
    band = BandDescription(BAND_HZ / 1e6, EqualShares(), fidelity)
    w = world(replace(flat, sharing=SharingDescription(band, band)))
    rate_bps, third = rates_bps(w)[0], w.network.users[2]
    w.run(listen(w, w.network.users[:2], rate_bps), w.network.server.send(third, rate_bps / 4, "y"))
    assert ends_s(w) == pytest.approx({2: 0.5, 0: 1.25, 1: 1.25}, abs=tolerance_s(fidelity))


@pytest.mark.parametrize("fidelity", FIDELITIES)
def test_to_a_law_that_goes_by_rates_a_stream_has_the_sum_of_its_receivers(fidelity: Fidelity) -> None:
    """Two receivers of 1 bit/s/Hz go before one of 1.58: the stream brings 2. When one has ended, it goes after."""
    w = world(network(fidelity, MaxRate()))
    for user, snr in zip(w.network.users, (1.0, 1.0, 2.0), strict=True):
        user.downlink.link.mean_power_over_noise_hz = snr * BAND_HZ
    first, second, third = w.network.users
    receptions = w.network.server.broadcast_rateless([first, second], 2 * BAND_HZ, "x")
    message = w.network.server.send(third, 0.5 * BAND_HZ * log2(3), "y")
    w.run(interrupted(w, receptions[first], 1.0), receptions[second], message)
    assert ends_s(w) == pytest.approx({0: 1.0, 2: 1.5, 1: 2.5}, abs=3 * tolerance_s(fidelity))


@pytest.mark.parametrize("fidelity", FIDELITIES)
def test_rows_energy_and_bits_are_each_receivers_own(fidelity: Fidelity) -> None:
    w = world(network(fidelity))

    def one_round() -> Process:
        w.journal.begin_round(0)
        yield from listen(w, w.network.users, BITS)
        w.journal.end_round(3, 0)

    w.run(one_round())
    (row,) = w.rows("rounds")
    assert row["downlink_bits"] == pytest.approx(BITS)  # the stream counts once
    spent = {row["user"]: row["receive_j"] for row in w.rows("energy")}
    for row in w.rows("transfers"):
        assert (row["receivers"], row["lost"], row["wait_s"]) == (3, 0.0, pytest.approx(0, abs=1e-12))
        assert row["airtime_s"] == row["end_s"]
        assert row["mean_rate_bps"] == pytest.approx(BITS / row["end_s"])
        assert row["energy_j"] == pytest.approx(0.2 * row["end_s"])
        assert spent[row["user"]] == pytest.approx(row["energy_j"])


@pytest.mark.parametrize("fidelity", FIDELITIES)
@pytest.mark.parametrize("law", LAWS[:2])
def test_who_goes_away_disturbs_nobody_and_who_comes_late_gets_all(fidelity: Fidelity, law: SchedulingPolicy) -> None:
    ends = []
    for alone in (True, False):
        w = world(network(fidelity, law, Rayleigh(0.01)))
        users = w.network.users
        users[0].presence.steady = users[1].presence.steady = False
        receptions = w.network.server.broadcast_rateless(users, BITS, "x")

        def late(reception: Process, w: World = w) -> Process:
            yield w.env.timeout(0.2)
            yield from reception

        others = [] if alone else [interrupted(w, receptions[users[0]], inf), receptions[users[1]]]
        if not alone:
            w.at(0.1, lambda user=users[0]: user.presence.leave("outage"))  # type: ignore[misc]
        w.run(*others, late(receptions[users[2]]))
        ends.append(ends_s(w))
        if not alone:
            left = w.rows("transfers")[0]
            assert (left["user"], left["end_s"]) == (0, 0.1)
            assert 0 < left["lost"] < BITS
            assert left["energy_j"] == pytest.approx(0.02)
    assert ends[0][2] == ends[1][2]


@pytest.mark.parametrize("fidelity", FIDELITIES)
@pytest.mark.parametrize("users", [(0, 1), (0,), (0, 2)])
def test_handed_over_each_goes_on_as_if_it_were_alone(fidelity: Fidelity, users: Sequence[int]) -> None:
    """A stream is one claim on each band, so its receivers end as one that is sent the message by itself.

    User 0 goes from station 0 to station 1, user 1 stays; user 2 goes the same way as user 0 and joins its stream.
    """
    starts = ((100.0, 0.0), (-400.0, 0.0), (105.0, 5.0))

    def ends(together: bool) -> dict[int, float]:
        found: dict[int, float] = {}
        for group in [users] if together else [(user,) for user in users]:
            described = moving(starts, heading_deg=0.0)
            band = replace(described.sharing.downlink, fidelity=fidelity)
            w = world(replace(described, sharing=SharingDescription(band, band)))
            to = [w.network.users[user] for user in group]
            w.run(listen(w, to, 5e7) if together else w.network.server.send(to[0], 5e7, "x"))
            found |= ends_s(w)
            assert not [one for station in w.network.stations for one in station.downlink.band.sending()]
            nodes = {row["user"]: row["node"] for row in w.rows("transfers")}
            assert nodes == {user: "station0" if user == 1 else "station1" for user in group}
            assert all(row["lost"] == 0 for row in w.rows("transfers"))
        return found

    assert ends(together=True) == pytest.approx(ends(together=False), abs=1e-9)


@pytest.mark.parametrize("fidelity", FIDELITIES)
@pytest.mark.parametrize("instant_s", [1.65, 1.9], ids=["between stations", "at the next station"])
def test_given_up_after_a_handover_a_reception_leaves_no_ghost(fidelity: Fidelity, instant_s: float) -> None:
    described = moving(((100.0, 0.0), (-400.0, 0.0)))
    band = replace(described.sharing.downlink, fidelity=fidelity)
    w = world(replace(described, sharing=SharingDescription(band, band)))
    receptions = w.network.server.broadcast_rateless(w.network.users, 1e9, "x")
    first, second = (receptions[user] for user in w.network.users)
    w.run(interrupted(w, first, instant_s), interrupted(w, second, 2.0))
    bands = [station.downlink.band for station in w.network.stations]
    assert not [one for band in bands for one in band.sending()]
    rows = w.rows("transfers")
    assert [(row["node"], row["end_s"]) for row in rows] == [("station1", instant_s), ("station0", 2.0)]


@pytest.mark.parametrize("fidelity", FIDELITIES)
def test_the_deadline_ends_the_stream_and_what_is_done_then_is_done(fidelity: Fidelity) -> None:
    flat, band = flat_network(3), BandDescription(BAND_HZ / 1e6, EqualShares(), fidelity)
    places = Explicit(((100.0, 0.0), (0.0, 100.0), (900.0, 0.0)))
    w = world(replace(flat, users=replace(flat.users, placement=places), sharing=SharingDescription(band, band)))
    bits = rates_bps(w)[0] * 0.5
    deadline_s = 0.5 - 1e-13 if fidelity == Flow() else 0.5  # the same instant but for rounding; a slot is never moved
    reached = w.env.run(w.env.process(listen(w, w.network.users, bits, deadline_s)))
    assert reached == {0: True, 1: True, 2: False}
    assert ends_s(w) == pytest.approx({0: 0.5, 1: 0.5, 2: 0.5})
    lost = {row["user"]: row["lost"] for row in w.rows("transfers")}
    assert lost == {0: 0, 1: 0, 2: pytest.approx(bits - 0.5 * rates_bps(w)[2], rel=1e-9)}
    assert w.env.now == deadline_s


def test_who_listens_after_the_deadline_gets_nothing() -> None:
    w = world(network())
    first, second, _ = w.network.users
    receptions = w.network.server.broadcast_rateless([first, second], BITS, "x", 0.1)
    assert w.env.run(w.env.process(receptions[first])) is False
    assert w.env.run(w.env.process(receptions[second])) is False
    assert [row["user"] for row in w.rows("transfers")] == [0]


def test_an_interrupt_before_the_deadline_frees_the_radio() -> None:
    w = world(network())
    receptions = w.network.server.broadcast_rateless(w.network.users, 1e9, "x", 50.0)
    w.run(*(interrupted(w, reception, 0.25) for reception in receptions.values()))
    assert ends_s(w) == {0: 0.25, 1: 0.25, 2: 0.25}
    assert not list(w.network.stations[0].downlink.band.sending())
    assert all(user.downlink.lock.count == 0 for user in w.network.users)


@pytest.mark.parametrize("patience_s", [0.05, 5.0])
def test_the_message_crosses_the_backhaul_once(patience_s: float) -> None:
    """It takes 0.1 s; if all give up before it is at the station, the line is free again."""
    w = world(replace(network(), backhaul=BackhaulDescription(1e8, 0.0)))
    receptions = w.network.server.broadcast_rateless(w.network.users, BITS, "x")
    w.run(*(interrupted(w, reception, patience_s) for reception in receptions.values()))
    crossing = [row for row in w.rows("transfers") if row["direction"] == "backhaul"]
    assert [(row["user"], row["end_s"]) for row in crossing] == [(user, min(0.1, patience_s)) for user in range(3)]
    assert w.network.stations[0].from_core is not None
    assert w.network.stations[0].from_core.queue.present == 0
    received = [row for row in w.rows("transfers") if row["direction"] == "down"]
    assert len(received) == (0 if patience_s < 0.1 else 3)
    for row in received:
        assert row["end_s"] == pytest.approx(0.1 + BITS / rates_bps(w)[row["user"]])


@pytest.mark.parametrize("fidelity", FIDELITIES)
def test_a_stream_disturbs_a_neighbour_as_one_sender(fidelity: Fidelity) -> None:
    ends = []
    for streamed in (True, False):
        flat, band = flat_network(3), BandDescription(BAND_HZ / 1e6, EqualShares(), fidelity)
        w = world(
            replace(
                flat,
                stations=replace(flat.stations, placement=Stations(((0.0, 0.0), (400.0, 0.0)))),
                users=replace(flat.users, placement=Explicit(((100.0, 0.0), (390.0, 0.0), (410.0, 0.0)))),
                sharing=SharingDescription(band, band),
                interference=Interference(),
            )
        )
        first, *others = w.network.users
        other = listen(w, others, 1e7) if streamed else w.network.server.send(others[0], 1e7, "x")
        w.run(w.network.server.send(first, 1e5, "x"), other)
        ends.append(ends_s(w)[0])
    assert ends[0] == ends[1]


@pytest.mark.parametrize("fidelity", FIDELITIES)
@pytest.mark.parametrize("law", LAWS)
def test_a_receiver_out_of_range_is_named_and_holds_up_nobody(fidelity: Fidelity, law: SchedulingPolicy) -> None:
    near = at_snr([0.0, 0.0], fidelity, law)
    stations = replace(near.stations, tx_power_dbm=FREE_SPACE_DB + NOISE_DBM)
    users = replace(near.users, placement=Explicit(((0.0, 100.0), (1e5, 0.0))))
    w = world(replace(near, stations=stations, users=users))
    waiting = w.env.process(listen(w, w.network.users, 1e4))
    w.env.run()
    assert waiting.is_alive
    assert deadlock.describe(w.env).startswith("user 1 is out of range: SNR -60 dB, ")
    (row,) = w.rows("transfers")
    assert (row["user"], row["lost"]) == (0, 0.0)


@pytest.mark.parametrize("fidelity", FIDELITIES)
@pytest.mark.parametrize("law", LAWS[2:])
def test_where_the_scheduler_follows_fading_receivers_out_of_range_change_nothing(
    fidelity: Fidelity, law: SchedulingPolicy
) -> None:
    """Two streams of one receiver each, and the same with a second one that nothing ever reaches."""
    ends = []
    for streams in ([(0, 1), (2, 3)], [(0,), (2,)]):
        described = network(fidelity, law, Rayleigh(0.01), (300.0, 300.0, 300.0, 300.0))
        w = world(replace(described, channel=replace(described.channel, rate=FiniteBlocklength())))
        for far in (1, 3):
            w.network.users[far].downlink.link.mean_power_over_noise_hz = 1e-6
        for receivers in streams:
            to = [w.network.users[user] for user in receivers]
            for reception in w.network.server.broadcast_rateless(to, 1e6, "x").values():
                w.env.process(reception)
        w.env.run()
        ends.append(ends_s(w))
    assert ends[0] == ends[1]
    assert set(ends[0]) == {0, 2}


def test_a_slot_of_a_stream_is_of_use_to_all_that_listen() -> None:
    """Slots go to user 2 and to the stream in turns; user 0 has all from one block, user 1 needs three slots."""
    w = world(network(Slots(SLOT_S, 4), RoundRobin()))
    first, second, other = w.network.users
    first.downlink.link.mean_power_over_noise_hz = (2**12 - 1) * BAND_HZ
    second.downlink.link.mean_power_over_noise_hz = BAND_HZ
    message = interrupted(w, w.network.server.send(other, 1e9, "y"), 0.1)
    w.run(listen(w, [first, second], 3 * BAND_HZ * SLOT_S), message)
    assert ends_s(w) == pytest.approx({0: 2 * SLOT_S, 1: 6 * SLOT_S, 2: 0.1})


def test_a_radio_link_that_fails_is_one_receivers_alone() -> None:
    w = world(at_snr([0.0, 0.0], Slots(1e-3, 10, max_retransmissions=0), fading=Rayleigh(0.01)))
    far, near = w.network.users
    far.downlink.link.mean_power_over_noise_hz = 10**-2.9 * BAND_HZ
    heard: dict[int, str] = {}

    def body(user: UserNode, reception: Process) -> Process:
        try:
            heard[user.number] = str((yield from reception))
        except simpy.Interrupt as interrupt:
            heard[user.number] = str(interrupt.cause)

    receptions = w.network.server.broadcast_rateless([far, near], 1e4, "x")
    w.run(*(body(user, reception) for user, reception in receptions.items()))
    assert heard == {0: "the radio link of user 0 has failed", 1: "True"}
    assert [row["user"] for row in w.rows("outages")] == [0]


def test_nothing_to_send_takes_no_time_and_leaves_no_row() -> None:
    w = world(network())
    assert w.env.run(w.env.process(listen(w, w.network.users, 0.0))) == {0: True, 1: True, 2: True}
    assert (w.env.now, w.rows("transfers")) == (0, [])
    with pytest.raises(ValueError, match="cannot be transmitted"):
        w.run(listen(w, w.network.users, -1.0))
