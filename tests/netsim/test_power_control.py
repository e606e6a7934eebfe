"""Uplink power control: the formula, what stations receive, and what users spend."""

from dataclasses import replace
from math import log10

import pytest
from worlds import ENERGY, flat_network, world

from netsim.description import NetworkDescription
from netsim.geometry import Explicit
from netsim.radio.power_control import PowerControl

DISTANCES_M = (50.0, 100.0, 400.0, 20_000.0)


def network_with(control: PowerControl | None) -> NetworkDescription:
    flat = flat_network(4)
    return replace(
        flat,
        users=replace(
            flat.users,
            placement=Explicit(tuple((distance, 0.0) for distance in DISTANCES_M)),
            antenna_gain_db=2.0,
            power_control=control,
        ),
    )


def test_the_formula() -> None:
    control = PowerControl(p0_dbm=-90.0, alpha=0.7)
    assert control.power_dbm(23.0, 100.0) == pytest.approx(-20.0)
    assert control.power_dbm(23.0, 170.0) == 23.0
    assert PowerControl(-10.0, 0.0).power_dbm(23.0, 100.0) == -10.0


def test_with_alpha_one_all_are_received_alike_as_far_as_their_power_goes() -> None:
    w = world(network_with(PowerControl(p0_dbm=-75.0, alpha=1.0)))
    w.network.record_users()
    w.run(*(user.send(w.network.server, 1e4, "x") for user in w.network.users))
    noise_dbm = -174 + 10 * log10(0.25e6)
    rows = {row["user"]: row for row in w.rows("transfers")}
    for user in range(3):
        assert rows[user]["mean_snr_db"] == pytest.approx(-75.0 - noise_dbm, abs=1e-9)
    users = w.rows("users")
    losses = [row["coupling_loss_db"] for row in users]
    assert [row["tx_power_dbm"] for row in users] == pytest.approx([*(loss - 75 for loss in losses[:3]), 20.0])
    assert rows[3]["mean_snr_db"] == pytest.approx(20.0 - losses[3] - noise_dbm, abs=1e-9)
    for user in range(4):
        radiated_w = 10 ** (users[user]["tx_power_dbm"] / 10) / 1000
        drawn_w = radiated_w / ENERGY.amplifier_efficiency + ENERGY.circuit_power_w
        assert rows[user]["energy_j"] == pytest.approx(rows[user]["airtime_s"] * drawn_w, rel=1e-9)


def test_without_it_all_send_with_all_their_power() -> None:
    w = world(network_with(None))
    w.network.record_users()
    assert {row["tx_power_dbm"] for row in w.rows("users")} == {20.0}
