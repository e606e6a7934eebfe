"""Named devices: what their makers say, dealt out in turn."""

from dataclasses import replace
from typing import get_args

import pytest
from worlds import ENERGY, flat_compute, world

from netsim.description import DevicesDescription
from netsim.profiles import DEVICES, DeviceName, Profiled, ProfiledEnergy
from netsim.streams import Streams
from netsim.values import ListedPerUser
from scenarios.catalogue import entries
from scenarios.schema import load


def test_speed_and_memory_in_turn() -> None:
    law = Profiled(("jetson_nano", "a100"), utilisation=0.5)
    assert law.of_users(3, Streams(0), "device speed") == [236e9, 9.75e12, 236e9]
    assert law.of_users(3, Streams(0), "device memory") == [4e9, 40e9, 4e9]
    with pytest.raises(ValueError, match="have a speed, a memory and an idle power, but no transmit power"):
        law.of_users(3, Streams(0), "transmit power")


def test_power_belongs_to_speed() -> None:
    """What a device draws while it computes is J per FLOP times FLOP/s, whatever part of its peak it reaches."""
    for name, device in DEVICES.items():
        for utilisation in (0.01, 0.5, 1.0):
            (speed,) = Profiled((name,), utilisation).of_users(1, Streams(0), "device speed")  # type: ignore[arg-type]
            energy = ProfiledEnergy((name,), utilisation)  # type: ignore[arg-type]
            assert energy.energy_j(speed, speed) == pytest.approx(device.power_w)
        if device.idle_power_w is not None:
            assert device.idle_power_w < device.power_w


def test_each_user_has_the_power_of_its_device() -> None:
    """An nRF52840 and an ESP32 compute for a second and then idle for one."""
    boards, energy = Profiled(("nrf52840", "esp32"), 0.5), ProfiledEnergy(("nrf52840", "esp32"), 0.5)
    w = world(
        compute=replace(flat_compute(), devices=DevicesDescription(boards)),
        energy=replace(ENERGY, idle_power_w=boards, compute=energy),
    )
    w.journal.begin_round(0)
    w.run(*(user.compute(user.flops_per_s, "work") for user in w.network.users))
    w.env.run(2.0)
    w.journal.end_round(2, 0)
    spent = [(row["compute_j"], row["idle_j"]) for row in w.rows("energy")]
    assert spent == [pytest.approx((9.9e-3, 9.48e-6)), pytest.approx((0.2244, 2.64e-3))]


def test_an_idle_power_that_nobody_tells_is_asked_for() -> None:
    with pytest.raises(ValueError, match="the profile of h100 has no idle power"):
        Profiled(("h100",)).of_users(1, Streams(0), "idle power")
    with pytest.raises(ValueError, match=r"the idle power of user 1 is -1 W; it must not be negative"):
        world(energy=replace(ENERGY, idle_power_w=ListedPerUser((0.1, -1.0))))


def test_every_device_can_be_named_and_has_a_source() -> None:
    assert set(get_args(DeviceName)) == set(DEVICES)
    listed = {entry.name: entry.meaning for entry in entries("profiles")}
    for name, device in DEVICES.items():
        assert device.source in listed[name]
        assert 0 < device.power_w < 1e3 < device.memory_bytes < device.peak_flops_per_s


@pytest.mark.parametrize("cell", ["umi", "uma"])
def test_cells_are_scenarios(cell: str) -> None:
    (file,) = (entry.name for entry in entries("profiles") if entry.name.endswith(f"{cell}.yaml"))
    scenario = load(file)
    assert scenario.network.interference is not None
    assert scenario.network.stations.height_m == {"umi": 10, "uma": 25}[cell]  # TR 38.901 table 7.2-1
