"""Shares and powers that a controller sets while transfers are under way: rates, joules and refusals in closed form."""

from collections.abc import Callable
from dataclasses import replace
from math import log2

import pytest
import simpy
from worlds import World, flat_network, flat_rates_bps, world

from netsim.description import BandDescription, NetworkDescription, SharingDescription
from netsim.nodes import UserNode
from netsim.radio.fading import Rayleigh
from netsim.radio.rate import Shannon
from netsim.radio.scheduling import Controlled

UP_HZ, DOWN_HZ = 1e6, 2e6
MAX_W, CIRCUIT_W, RECEIVE_W, EFFICIENCY = 0.1, 0.1, 0.2, 0.5  # as in `worlds`


def controlled(users: int) -> NetworkDescription:
    bands = SharingDescription(BandDescription(1.0, Controlled()), BandDescription(2.0, Controlled()))
    return replace(flat_network(users), sharing=bands)


def up_bps(user: UserNode, share: float, power_w: float) -> float:
    width_hz = share * UP_HZ
    return width_hz * log2(1 + power_w * user.uplink.gain_over_noise_hz_per_w / width_hz)


def down_bps(user: UserNode, share: float) -> float:
    channel = user.downlink
    return share * DOWN_HZ * log2(1 + channel.max_power_w * channel.gain_over_noise_hz_per_w / DOWN_HZ)


def upload(w: World, user: UserNode, bits: float, after_s: float = 0.0) -> simpy.events.ProcessGenerator:
    yield w.env.timeout(after_s)
    yield from user.send(w.network.server, bits, "x")


def later(w: World, instant_s: float, act: Callable[[], None]) -> simpy.events.ProcessGenerator:
    yield w.env.timeout(instant_s)
    act()


def test_a_controller_sees_what_the_rates_are_made_of() -> None:
    """An equal share by the controller is the equal share of `worlds`, worked out there from Friis and Shannon."""
    user = world(controlled(4)).network.users[1]
    expected_up, expected_down = flat_rates_bps(4)
    assert (user.uplink.bandwidth_hz, user.downlink.bandwidth_hz, user.flops_per_s) == (UP_HZ, DOWN_HZ, 1e9)
    assert (user.uplink.max_power_w, user.downlink.max_power_w) == pytest.approx((MAX_W, 1.0))
    assert up_bps(user, 0.25, MAX_W) == pytest.approx(expected_up, rel=1e-12)
    assert down_bps(user, 0.25) == pytest.approx(expected_down, rel=1e-12)


def test_the_gap_to_capacity_belongs_to_the_gain() -> None:
    flat = controlled(2)
    w = world(replace(flat, channel=replace(flat.channel, rate=Shannon(6.0))))
    user = w.network.users[0]
    w.run(upload(w, user, 1e6))
    assert w.env.now == pytest.approx(1e6 / up_bps(user, 1.0, MAX_W), rel=1e-12)


def test_the_present_gain_is_that_of_the_fading_block() -> None:
    """Over its first block a transfer goes at the rate of the present gain; on average that gain is the mean one."""
    flat = controlled(2)
    w = world(replace(flat, channel=replace(flat.channel, fading=Rayleigh(0.05))))
    channel = w.network.users[0].uplink
    seen = []
    w.env.run(w.env.timeout(0.02))  # clear of the borders of blocks
    for _ in range(2000):
        w.env.run(w.env.timeout(0.05))
        seen.append(channel.instantaneous_gain_over_noise_hz_per_w / channel.gain_over_noise_hz_per_w)
    assert sum(seen) / len(seen) == pytest.approx(1.0, abs=4 / len(seen) ** 0.5)
    begun_s = w.env.now
    rate = UP_HZ * log2(1 + MAX_W * channel.instantaneous_gain_over_noise_hz_per_w / UP_HZ)
    w.run(upload(w, w.network.users[0], 0.5 * 0.05 * rate))
    assert w.env.now - begun_s == pytest.approx(0.025, rel=1e-9)


def test_shares_and_powers_make_the_rates() -> None:
    w = world(controlled(2))
    first, second = w.network.users
    first.uplink.allocate(0.3, 0.02)
    second.uplink.allocate(0.6)
    w.run(upload(w, first, up_bps(first, 0.3, 0.02)), upload(w, second, 2 * up_bps(second, 0.6, MAX_W)))
    one, two = w.rows("transfers")
    assert (one["user"], one["end_s"], two["end_s"]) == pytest.approx((0, 1.0, 2.0), rel=1e-12)
    assert one["energy_j"] == pytest.approx(0.02 / EFFICIENCY + CIRCUIT_W, rel=1e-12)
    assert two["energy_j"] == pytest.approx(2 * (MAX_W / EFFICIENCY + CIRCUIT_W), rel=1e-12)


def test_a_transfer_under_way_is_rated_anew() -> None:
    """A second at one setting, another at a second one, the rest at a third: bits, joules and mean ratio add up."""
    w = world(controlled(2))
    user = w.network.users[0]
    settings = [(0.5, 0.1), (0.1, 0.004), (1.0, 0.05)]
    bits = sum(up_bps(user, *setting) for setting in settings)
    user.uplink.allocate(*settings[0])
    w.run(
        upload(w, user, bits),
        later(w, 1.0, lambda: user.uplink.allocate(*settings[1])),
        later(w, 2.0, lambda: user.uplink.allocate(*settings[2])),
    )
    (row,) = w.rows("transfers")
    assert row["end_s"] == pytest.approx(3.0, rel=1e-12)
    assert row["energy_j"] == pytest.approx(sum(p / EFFICIENCY + CIRCUIT_W for _, p in settings), rel=1e-12)
    snr = sum(p * user.uplink.gain_over_noise_hz_per_w / (s * UP_HZ) for s, p in settings) / 3
    assert 10 ** (row["mean_snr_db"] / 10) == pytest.approx(snr, rel=1e-12)


def test_the_meter_follows_the_power() -> None:
    """A round that ends while the power has changed gets the joules until then, and the next the rest."""
    w = world(controlled(1))
    user = w.network.users[0]

    def rounds() -> simpy.events.ProcessGenerator:
        for number in range(2):
            w.journal.begin_round(number)
            yield w.env.timeout(1.5)
            w.journal.end_round(1, 0)

    w.run(
        upload(w, user, up_bps(user, 1.0, MAX_W) + 2 * up_bps(user, 1.0, 0.01)),
        later(w, 1.0, lambda: user.uplink.allocate(1.0, 0.01)),
        rounds(),
    )
    low_w, high_w = 0.01 / EFFICIENCY + CIRCUIT_W, MAX_W / EFFICIENCY + CIRCUIT_W
    spent = [row["transmit_j"] for row in w.rows("energy")]
    assert spent == pytest.approx([high_w + 0.5 * low_w, 1.5 * low_w], rel=1e-9)


def test_who_has_no_share_gets_a_part_of_what_is_left() -> None:
    w = world(controlled(4))
    first, second, third, idle = w.network.users
    first.uplink.allocate(0.5)
    idle.uplink.allocate(0.5)  # transmits nothing, and so takes nothing
    w.run(
        *(upload(w, user, up_bps(user, share, MAX_W)) for user, share in ((first, 0.5), (second, 0.25), (third, 0.25)))
    )
    assert [row["end_s"] for row in w.rows("transfers")] == pytest.approx([1.0] * 3, rel=1e-9)


def test_who_is_left_nothing_waits() -> None:
    w = world(controlled(2))
    first, second = w.network.users
    first.uplink.allocate(1.0)
    w.run(upload(w, first, up_bps(first, 1.0, MAX_W)), upload(w, second, up_bps(second, 1.0, MAX_W)))
    one, two = w.rows("transfers")
    assert (one["end_s"], two["end_s"], two["airtime_s"]) == pytest.approx((1.0, 2.0, 2.0), rel=1e-9)
    assert two["energy_j"] == pytest.approx(2 * CIRCUIT_W + MAX_W / EFFICIENCY, rel=1e-9)
    assert two["mean_snr_db"] == pytest.approx(one["mean_snr_db"], rel=1e-9)


def test_a_share_can_be_given_back() -> None:
    w = world(controlled(1))
    (user,) = w.network.users
    user.uplink.allocate(0.25)
    w.run(
        upload(w, user, up_bps(user, 0.25, MAX_W) + up_bps(user, 1.0, MAX_W)),
        later(w, 1.0, lambda: user.uplink.allocate(None)),
    )
    assert w.env.now == pytest.approx(2.0, rel=1e-9)


def test_downlink_shares_and_broadcasts() -> None:
    """A broadcast goes over the parts of all its receivers: here 0.1, and of the 0.7 left over an equal part."""
    w = world(controlled(3))
    first, second, third = w.network.users
    first.downlink.allocate(0.1)
    third.downlink.allocate(0.2)
    server = w.network.server
    w.run(
        server.broadcast([first, second], down_bps(first, 0.8), "model"), server.send(third, down_bps(third, 0.2), "x")
    )
    assert [row["end_s"] for row in w.rows("transfers")] == pytest.approx([1.0] * 3, rel=1e-9)
    assert [row["energy_j"] for row in w.rows("transfers")] == pytest.approx([RECEIVE_W] * 3)


def test_too_much_is_refused_when_it_is_used() -> None:
    w = world(controlled(2))
    for user in w.network.users:
        user.uplink.allocate(0.6)
    with pytest.raises(ValueError, match=r"users 0, 1, who transmit now, sum to 1\.2; they must not exceed 1"):
        w.run(*(upload(w, user, 1e6) for user in w.network.users))


@pytest.mark.parametrize(("share", "power_w"), [(0.0, None), (1.1, None), (-1.0, None), (0.5, 0.0), (0.5, 0.11)])
def test_impossible_allocations_are_refused(share: float, power_w: float | None) -> None:
    with pytest.raises(ValueError, match="at most"):
        world(controlled(1)).network.users[0].uplink.allocate(share, power_w)


def test_a_stations_power_cannot_be_allocated() -> None:
    with pytest.raises(ValueError, match="spread evenly"):
        world(controlled(1)).network.users[0].downlink.allocate(0.5, 0.1)


def test_other_laws_take_no_orders() -> None:
    with pytest.raises(ValueError, match="only where the band's scheduling policy is controlled"):
        world().network.users[0].uplink.allocate(0.5)
