"""Transfers between users and the server: times, joules and rows in closed form, turns, broadcasts, interrupts."""

from dataclasses import replace

import pytest
import simpy
from hypothesis import given, settings
from hypothesis import strategies as st
from worlds import Process, flat_network, flat_rates_bps, interrupted, listen, world

from netsim.description import BandDescription, ChannelDescription, SharingDescription
from netsim.geometry import Explicit, Stations
from netsim.radio.fading import Rayleigh
from netsim.radio.fidelity import Fidelity, Flow, Slots
from netsim.radio.scheduling import EqualShares, RoundRobin, SchedulingPolicy
from netsim.tables import TransferRow


def test_uplink_and_downlink_in_closed_form() -> None:
    w = world(users=4)
    up_bps, down_bps = flat_rates_bps(4)
    user = w.network.users[2]
    w.run(user.send(w.network.server, 1e6, "activation"))
    w.run(w.network.server.send(user, 2e6, "gradient"))
    up, down = (TransferRow(**row) for row in w.rows("transfers"))
    assert up.airtime_s == pytest.approx(1e6 / up_bps, rel=1e-9)
    assert down.airtime_s == pytest.approx(2e6 / down_bps, rel=1e-9)
    assert up.mean_rate_bps == pytest.approx(up_bps, rel=1e-9)
    assert up.energy_j == pytest.approx(1e6 / up_bps * (0.1 / 0.5 + 0.1), rel=1e-9)
    assert down.energy_j == pytest.approx(2e6 / down_bps * 0.2, rel=1e-9)
    assert down.start_s == up.end_s == pytest.approx(up.airtime_s)
    assert up[:6] == (-1, 2, "station0", "up", "activation", 1e6)
    assert (up.wait_s, up.attempts, up.lost, up.receivers) == (0, 1, 0, 1)
    assert (down.direction, down.kind) == ("down", "gradient")


def test_mean_snr_of_a_constant_channel() -> None:
    """Friis at 100 m and 1 GHz: -72.45 dB; 20 dBm in a half of 1 MHz over -174 dBm/Hz: 20 - 72.45 + 174 - 56.99 dB."""
    w = world(users=2)
    w.run(w.network.users[0].send(w.network.server, 1e6, "x"))
    assert w.rows("transfers")[0]["mean_snr_db"] == pytest.approx(64.56, abs=0.01)


def test_up_and_down_do_not_disturb_each_other() -> None:
    w = world(users=2)
    user, server = w.network.users[0], w.network.server
    w.run(user.send(server, 1e6, "x"), server.send(user, 1e6, "y"))
    assert {row["wait_s"] for row in w.rows("transfers")} == {0.0}


def test_a_radio_does_one_transfer_at_a_time() -> None:
    w = world(users=2)
    up_bps, _ = flat_rates_bps(2)
    user, server = w.network.users[0], w.network.server
    w.run(user.send(server, up_bps, "first"), user.send(server, up_bps, "second"))
    first, second = w.rows("transfers")
    assert (first["wait_s"], first["end_s"]) == pytest.approx((0, 1), rel=1e-9)
    assert (second["wait_s"], second["airtime_s"], second["end_s"]) == pytest.approx((1, 1, 2), rel=1e-9)


def test_a_fixed_broadcast_uses_the_parts_of_all_receivers() -> None:
    w = world(users=4)
    _, down_bps = flat_rates_bps(4)
    w.run(w.network.server.broadcast(w.network.users, 1e6, "model"))
    rows = w.rows("transfers")
    assert [row["user"] for row in rows] == [0, 1, 2, 3]
    assert {row["receivers"] for row in rows} == {4}
    assert [row["airtime_s"] for row in rows] == pytest.approx([1e6 / (4 * down_bps)] * 4, rel=1e-9)


def test_a_broadcast_over_two_stations_is_two_transmissions() -> None:
    flat = flat_network(4)
    east, west = (5000.0, 0.0), (-5000.0, 0.0)
    network = replace(
        flat,
        stations=replace(flat.stations, placement=Stations((west, east))),
        users=replace(
            flat.users, placement=Explicit(((-5000.0, 100.0), (-5000.0, 900.0), (5000.0, 30.0), (5100.0, 0.0)))
        ),
    )
    w = world(network)
    w.run(w.network.server.broadcast(w.network.users, 1e6, "model"))
    rows = sorted(w.rows("transfers"), key=lambda row: row["user"])
    assert [(row["node"], row["receivers"]) for row in rows] == [("station0", 2)] * 2 + [("station1", 2)] * 2
    assert rows[0]["end_s"] == rows[1]["end_s"] > rows[2]["end_s"] == rows[3]["end_s"]
    assert w.env.now == rows[0]["end_s"]


def test_an_interrupted_broadcast_over_two_stations_stops_both() -> None:
    flat = flat_network(2)
    network = replace(
        flat,
        stations=replace(flat.stations, placement=Stations(((-5000.0, 0.0), (5000.0, 0.0)))),
        users=replace(flat.users, placement=Explicit(((-5000.0, 100.0), (5000.0, 100.0)))),
    )
    w = world(network)
    rows_when_passed_on = []

    def scheme() -> Process:
        try:
            yield from w.network.server.broadcast(w.network.users, 1e9, "model")
        except simpy.Interrupt as interrupt:
            rows_when_passed_on.append((interrupt.cause, len(w.rows("transfers"))))

    process = w.env.process(scheme())
    w.at(1.0, lambda: process.interrupt("deadline"))
    w.env.run(process)
    assert rows_when_passed_on == [("deadline", 2)]
    assert [row["end_s"] for row in w.rows("transfers")] == [1.0, 1.0]
    assert all(0 < row["lost"] < 1e9 for row in w.rows("transfers"))


def test_an_interrupted_transfer_frees_band_and_radio() -> None:
    flat = flat_network(2)
    network = replace(flat, sharing=SharingDescription(BandDescription(1.0, EqualShares())))
    w = world(network)
    whole_bps, _ = flat_rates_bps(1)
    half_bps, _ = flat_rates_bps(2)
    users, server = w.network.users, w.network.server
    w.run(interrupted(w, users[0].send(server, 1e9, "x"), 1.0), users[1].send(server, half_bps + whole_bps, "y"))
    given_up, done = w.rows("transfers")
    assert given_up["lost"] == pytest.approx(1e9 - half_bps, rel=1e-9)
    assert (given_up["airtime_s"], given_up["energy_j"]) == pytest.approx((1.0, 0.3))
    assert (done["end_s"], done["lost"]) == pytest.approx((2.0, 0.0), rel=1e-9)
    w.run(users[0].send(server, 1e3, "again"))
    assert w.rows("transfers")[-1]["wait_s"] == 0


def test_interrupted_while_waiting_for_its_turn() -> None:
    w = world()
    user, server = w.network.users[0], w.network.server
    w.run(user.send(server, 1e8, "long"), interrupted(w, user.send(server, 1e6, "short"), 0.5))
    short = w.rows("transfers")[0]
    assert (short["wait_s"], short["airtime_s"], short["attempts"], short["lost"]) == (0.5, 0, 0, 1e6)
    assert (short["energy_j"], short["mean_snr_db"], short["mean_rate_bps"]) == (0, None, None)


def test_broadcasts_in_opposite_order_do_not_block_each_other() -> None:
    w = world()
    first, second = w.network.users
    w.run(w.network.server.broadcast([first, second], 1e6, "a"), w.network.server.broadcast([second, first], 1e6, "b"))
    assert [row["kind"] for row in w.rows("transfers")] == ["a", "a", "b", "b"]


def test_nothing_to_send_takes_no_time_and_leaves_no_row() -> None:
    w = world()
    w.run(w.network.users[0].send(w.network.server, 0, "x"), w.network.server.broadcast(w.network.users, 0, "y"))
    w.run(w.network.server.broadcast([], 1e6, "to nobody"))
    assert w.env.now == 0
    assert w.rows("transfers") == []


@pytest.mark.parametrize("bits", [-1.0, float("nan")])
def test_impossible_sizes_are_refused(bits: float) -> None:
    w = world()
    with pytest.raises(ValueError, match="cannot be transmitted"):
        w.run(w.network.users[0].send(w.network.server, bits, "x"))


actions = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.sampled_from(["up", "down", "all", "rateless", "user", "server"]),
        st.floats(0, 2),
        st.floats(1e3, 5e6),
        st.one_of(st.none(), st.floats(0.01, 2)),
    ),
    min_size=1,
    max_size=10,
)


@settings(deadline=None, max_examples=60)
@given(actions, st.sampled_from([Flow(), Slots(0.01, 6)]), st.sampled_from([EqualShares(), RoundRobin()]))
def test_storms_conserve_bits_joules_and_time(
    storm: list[tuple[int, str, float, float, float | None]], fidelity: Fidelity, law: SchedulingPolicy
) -> None:
    flat = flat_network(3)
    network = replace(
        flat,
        channel=ChannelDescription(path_loss=flat.channel.path_loss, fading=Rayleigh(0.01)),
        sharing=SharingDescription(BandDescription(1.0, law, fidelity), BandDescription(1.0, law, fidelity)),
    )
    w = world(network)
    users, server = w.network.users, w.network.server

    def act(user: int, what: str, start_s: float, amount: float, patience_s: float | None) -> Process:
        yield w.env.timeout(start_s)
        work = {
            "up": lambda: users[user].send(server, amount, "x"),
            "down": lambda: server.send(users[user], amount, "x"),
            "all": lambda: server.broadcast(users, amount, "x"),
            "rateless": lambda: listen(w, users, amount),
            "user": lambda: users[user].compute(amount * 100, "x"),
            "server": lambda: server.compute(amount * 1e4, "x", user=user),
        }[what]()
        if patience_s is None:
            yield from work
        else:
            yield from interrupted(w, work, patience_s)

    def round_of_storm() -> Process:
        w.journal.begin_round(0)
        yield w.env.all_of([w.env.process(act(*one)) for one in storm])
        w.journal.end_round(3, 0)

    w.run(round_of_storm())
    transfers, computations = w.rows("transfers"), w.rows("computations")
    for row in transfers:
        assert row["end_s"] - row["start_s"] == pytest.approx(row["wait_s"] + row["airtime_s"], abs=1e-9)
        assert 0 <= row["lost"] <= row["bits"]
    patient = sum(
        3 if what in ("all", "rateless") else what in ("up", "down")
        for _, what, _, _, patience in storm
        if patience is None
    )
    assert sum(row["lost"] == 0 for row in transfers) >= patient
    energy = w.rows("energy")
    for user in range(3):
        mine = [row for row in transfers if row["user"] == user]
        spent = next(row for row in energy if row["user"] == user)
        for direction, column in (("up", "transmit_j"), ("down", "receive_j")):
            joules = sum(row["energy_j"] for row in mine if row["direction"] == direction)
            assert spent[column] == pytest.approx(joules, rel=1e-9, abs=1e-12)
        jobs = [row for row in computations if row["node"] == f"user{user}"]
        assert spent["compute_j"] == pytest.approx(sum(row["energy_j"] for row in jobs), rel=1e-9, abs=1e-12)
        busy = [(row["start_s"] + row["wait_s"], row["end_s"]) for row in [*mine, *jobs]]
        busy_s, reached_s = 0.0, 0.0
        for start_s, end_s in sorted(busy):
            busy_s += max(0.0, end_s - max(start_s, reached_s))
            reached_s = max(reached_s, end_s)
        assert spent["idle_j"] == pytest.approx(0.03 * (w.env.now - busy_s), rel=1e-9, abs=1e-9)
    path = w.rows("critical_path")
    (only,) = w.rows("rounds")
    assert sum(row["duration_s"] for row in path) == pytest.approx(only["latency_s"], abs=1e-9)
    on_air = sum((row["bits"] - row["lost"]) / row["receivers"] for row in transfers)
    assert only["uplink_bits"] + only["downlink_bits"] == pytest.approx(on_air, rel=1e-9)
    assert only["energy_j"] == pytest.approx(sum(sum(list(row.values())[4:9]) for row in energy), rel=1e-9)
