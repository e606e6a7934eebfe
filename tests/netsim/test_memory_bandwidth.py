"""The roofline model: a job takes the time of its FLOPs or of reading its weights, whichever is longer."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from worlds import World, flat_compute, world

from netsim.description import ComputeDescription, DevicesDescription, ServersDescription, StragglersDescription
from netsim.queueing import ProcessorSharing
from netsim.slowdown import ListedSlowdowns
from netsim.values import ConstantPerUser, ListedPerUser, PerUser


def bounded(devices: PerUser | None, server: float | None) -> World:
    """Devices of 1 GFLOP/s and a server of 100 GFLOP/s, with these memory bandwidths."""
    flat = flat_compute()
    return world(
        compute=replace(
            flat,
            devices=replace(flat.devices, memory_bandwidth_bytes_per_s=devices),
            servers=replace(flat.servers, memory_bandwidth_bytes_per_s=server),
        )
    )


@given(st.floats(1, 1e12), st.floats(0, 1e12), st.floats(1, 1e12))
def test_the_longer_of_the_two_counts(flops: float, read_bytes: float, bandwidth: float) -> None:
    w = bounded(ConstantPerUser(bandwidth), bandwidth)
    w.run(w.network.users[0].compute(flops, "x", 0, {"a": read_bytes / 4, "b": 3 * read_bytes / 4}))
    w.run(w.network.server.compute(flops, "x", weights_bytes={"a": read_bytes}))
    device, server = w.rows("computations")
    assert device["service_s"] == pytest.approx(max(flops / 1e9, read_bytes / bandwidth), rel=1e-12)
    assert server["service_s"] == pytest.approx(max(flops / 1e11, read_bytes / bandwidth), rel=1e-12)
    assert device["energy_j"] == pytest.approx(1e-10 * flops, rel=1e-12)  # energy is that of the FLOPs


def test_without_a_bandwidth_reading_takes_no_time() -> None:
    tables = []
    for weights_bytes in ({}, {"a": 1e30}):
        w = bounded(None, None)
        w.run(*(user.compute(1e9, "x", 0, weights_bytes) for user in w.network.users))
        w.run(w.network.server.compute(1e9, "x", weights_bytes=weights_bytes))
        tables.append(w.rows("computations"))
    assert tables[0] == tables[1]
    assert [row["service_s"] for row in tables[0]] == pytest.approx([1.0, 1.0, 0.01])


def test_each_device_has_its_own() -> None:
    w = bounded(ListedPerUser((1e3, 2e3)), None)
    w.run(*(user.compute(1e9, "x", 0, {"a": 6e3}) for user in w.network.users))
    assert [row["service_s"] for row in sorted(w.rows("computations"), key=lambda row: row["user"])] == [6.0, 3.0]


def test_a_slowdown_stretches_reading_too() -> None:
    compute = ComputeDescription(
        DevicesDescription(ConstantPerUser(1e9), memory_bandwidth_bytes_per_s=ConstantPerUser(10.0)),
        stragglers=StragglersDescription(ListedSlowdowns((2.0, 1.0))),
    )
    w = world(compute=compute)
    w.run(w.network.users[0].compute(1.0, "x", 0, {"a": 30.0}))
    assert [row["service_s"] for row in w.rows("computations")] == [6.0]


def test_processor_sharing_shares_the_time_of_reading() -> None:
    servers = ServersDescription(1.0, discipline=ProcessorSharing(), memory_bandwidth_bytes_per_s=10.0)
    w = world(compute=replace(flat_compute(), servers=servers))
    w.run(*(w.network.server.compute(1.0, "x", weights_bytes={"a": 30.0}) for _ in range(2)))
    assert [row["end_s"] for row in w.rows("computations")] == [6.0, 6.0]


@pytest.mark.parametrize("bandwidth", [0.0, -1.0, float("nan")])
def test_bandwidths_of_devices_are_positive(bandwidth: float) -> None:
    with pytest.raises(ValueError, match=r"the memory bandwidth of user 1 is .*; it must be positive"):
        bounded(ListedPerUser((1.0, bandwidth)), None)
