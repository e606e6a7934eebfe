"""Named devices: what their makers say, dealt out in turn."""

from typing import get_args

import pytest

from netsim.profiles import DEVICES, DeviceName, Profiled
from netsim.streams import Streams
from scenarios.catalogue import entries
from scenarios.schema import load


def test_speed_and_memory_in_turn() -> None:
    law = Profiled(("jetson_nano", "a100"), utilisation=0.5)
    assert law.of_users(3, Streams(0), "device speed") == [236e9, 9.75e12, 236e9]
    assert law.of_users(3, Streams(0), "device memory") == [4e9, 40e9, 4e9]
    with pytest.raises(ValueError, match="tell their speed and their memory, but no transmit power"):
        law.of_users(3, Streams(0), "transmit power")


def test_every_device_can_be_named_and_has_a_source() -> None:
    assert set(get_args(DeviceName)) == set(DEVICES)
    listed = {name: line for _, name, line in entries("profiles")}
    for name, device in DEVICES.items():
        assert device.source in listed[name]
        assert 0 < device.power_w < 1e3 < device.memory_bytes < device.peak_flops_per_s


@pytest.mark.parametrize("cell", ["umi", "uma"])
def test_cells_are_scenarios(cell: str) -> None:
    (file,) = (name for _, name, _ in entries("profiles") if name.endswith(f"{cell}.yaml"))
    scenario = load(file)
    assert scenario.network.interference is not None
    assert scenario.network.stations.height_m == {"umi": 10, "uma": 25}[cell]  # TR 38.901 table 7.2-1
