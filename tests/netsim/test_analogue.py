"""Analogue messages: airtime is symbols over twice the bandwidth at any SNR, and the SNR of that time is known."""

from dataclasses import replace
from math import log10

import numpy as np
import pytest
from worlds import Process, World, flat_network, flat_rates_bps, interrupted, world

from netsim.description import (
    BackhaulDescription,
    BandDescription,
    ChannelDescription,
    NetworkDescription,
    SharingDescription,
)
from netsim.geometry import Explicit
from netsim.radio.fading import Rayleigh
from netsim.radio.fidelity import Slots
from netsim.radio.scheduling import EqualShares, ProportionalFair, SchedulingPolicy


def at(distance_m: float) -> NetworkDescription:
    network = flat_network(2)
    places = Explicit(((distance_m, 0.0), (0.0, distance_m)))
    return replace(network, users=replace(network.users, placement=places))


def sent(w: World, user: int, symbols: float, found: list[float]) -> Process:
    found.append((yield from w.network.users[user].send_analogue(w.network.server, symbols, "tokens")))


@pytest.mark.parametrize("distance_m", [10.0, 100.0, 30_000.0])
def test_airtime_is_symbols_over_bandwidth_at_any_distance(distance_m: float) -> None:
    """Each of two users owns half of the band of 1 MHz; the SNR at 100 m is 64.56 dB (`test_transfer`)."""
    w, found = world(at(distance_m)), list[float]()
    w.run(sent(w, 0, 25_000, found))
    (row,) = w.rows("transfers")
    assert row["airtime_s"] == pytest.approx(25_000 / (2 * 0.5e6), rel=1e-9)
    assert (row["bits"], row["lost"]) == (25_000, 0)
    assert row["energy_j"] == pytest.approx(0.025 * (0.1 / 0.5 + 0.1), rel=1e-9)
    assert row["mean_snr_db"] == pytest.approx(10 * log10(found[0]), abs=1e-9)


def test_the_snr_is_that_of_a_digital_message() -> None:
    w, found = world(users=2), list[float]()
    w.run(sent(w, 0, 25_000, found))
    w.run(w.network.users[0].send(w.network.server, 1e6, "x"))
    analogue, digital = w.rows("transfers")
    assert digital["airtime_s"] == pytest.approx(1e6 / flat_rates_bps(2)[0], rel=1e-9)
    assert analogue["mean_snr_db"] == pytest.approx(digital["mean_snr_db"], abs=1e-9) == pytest.approx(64.56, abs=0.01)


@pytest.mark.parametrize("policy", [EqualShares(), ProportionalFair()])
@pytest.mark.parametrize("users", [3, 24])
def test_among_digital_messages_symbols_keep_their_rate(policy: SchedulingPolicy, users: int) -> None:
    """In a fading band that all divide, however many they are: bits over airtime vary with the SNR, symbols do not.

    Equal shares of all that are under way at the same time: of user 0, which sends symbols, the integral of its share
    over time is symbols over twice the bandwidth; all digital messages are too long to end meanwhile.
    """
    network = flat_network(users)
    fading = ChannelDescription(carrier_ghz=1.0, path_loss=network.channel.path_loss, fading=Rayleigh(0.01))
    sharing = SharingDescription(uplink=BandDescription(1.0, policy), downlink=network.sharing.downlink)
    w, found = world(replace(network, channel=fading, sharing=sharing)), list[float]()
    digital = [interrupted(w, user.send(w.network.server, 1e9, "x"), 40.0) for user in w.network.users[1:]]
    w.run(sent(w, 0, 100_000, found), *digital)
    row = next(row for row in w.rows("transfers") if row["user"] == 0)
    assert row["lost"] == 0
    if isinstance(policy, EqualShares):
        assert row["airtime_s"] == pytest.approx(100_000 * users / 2e6, rel=1e-9)
    else:
        assert row["airtime_s"] >= 100_000 / 2e6 * (1 - 1e-9)


def test_the_snr_is_averaged_over_the_airtime() -> None:
    """Five blocks of Rayleigh fading: the mean of their gains, from the link's own gains."""
    network = flat_network(1)
    fading = ChannelDescription(carrier_ghz=1.0, path_loss=network.channel.path_loss, fading=Rayleigh(0.01))
    w, found = world(replace(network, channel=fading)), list[float]()
    w.run(sent(w, 0, 100_000, found))
    link = w.network.users[0].uplink.link
    expected = link.power_over_noise_hz(np.arange(5)).mean() / 1e6
    assert found[0] == pytest.approx(expected, rel=1e-9)


def test_an_interrupted_message_has_lost_the_rest() -> None:
    w = world(users=2)
    w.run(interrupted(w, w.network.users[0].send_analogue(w.network.server, 50_000, "tokens"), 0.04))
    (row,) = w.rows("transfers")
    assert row["lost"] == pytest.approx(50_000 - 0.04 * 2 * 0.5e6, rel=1e-9)


def test_beyond_the_station_symbols_are_numbers() -> None:
    network = replace(flat_network(2), backhaul=BackhaulDescription(rate_bps=1e8))
    w, found = world(network), list[float]()
    w.run(sent(w, 0, 1000, found))
    up, line = w.rows("transfers")
    assert up["bits"] == 1000
    assert (line["direction"], line["bits"]) == ("backhaul", 32_000)


def test_slots_cannot_carry_symbols() -> None:
    network = flat_network(2)
    w = world(replace(network, sharing=replace(network.sharing, uplink=BandDescription(1.0, fidelity=Slots()))))
    assert not w.network.users[0].uplink.carries_analogue
    assert world(users=2).network.users[0].uplink.carries_analogue
