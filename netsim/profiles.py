"""Devices by name: speed and memory from their makers' data sheets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple

from annotated_types import Gt, Le, MinLen

from netsim.streams import Streams


class Device(NamedTuple):
    """What a maker says of a device."""

    peak_flops_per_s: float
    """Most floating-point operations in a second."""
    memory_bytes: float
    power_w: float
    """Most power, or the power limit."""
    source: str
    """Who says so, and of which number format the peak is."""


DEVICES: dict[str, Device] = {
    "raspberry_pi_4": Device(
        48e9,
        4e9,
        15.0,
        "Raspberry Pi 4 Model B product brief: 4 Cortex-A72 cores at 1.5 GHz, here 8 FLOPs (32 bit) a cycle",
    ),
    "jetson_nano": Device(472e9, 4e9, 10.0, "NVIDIA Jetson Nano data sheet: 472 GFLOP/s (16 bit), 5 to 10 W"),
    "jetson_tx2": Device(1.33e12, 8e9, 15.0, "NVIDIA Jetson TX2 data sheet: 1.33 TFLOP/s (16 bit), 7.5 to 15 W"),
    "jetson_agx_xavier": Device(
        11e12, 32e9, 30.0, "NVIDIA Jetson AGX Xavier data sheet: 11 TFLOP/s (16 bit, GPU alone), 32 GB, 10 to 30 W"
    ),
    "rtx_3090": Device(35.6e12, 24e9, 350.0, "NVIDIA Ampere GA102 white paper: 35.6 TFLOP/s (32 bit)"),
    "a100": Device(19.5e12, 40e9, 400.0, "NVIDIA A100 white paper: 19.5 TFLOP/s (32 bit), SXM4"),
    "h100": Device(66.9e12, 80e9, 700.0, "NVIDIA H100 white paper: 66.9 TFLOP/s (32 bit), SXM5"),
}
"""Real devices by name."""

DeviceName = Literal["raspberry_pi_4", "jetson_nano", "jetson_tx2", "jetson_agx_xavier", "rtx_3090", "a100", "h100"]


@dataclass(frozen=True)
class Profiled:
    """What the makers of real devices say: their speed where FLOP/s are asked for, and their memory where bytes are."""

    devices: Annotated[tuple[DeviceName, ...], MinLen(1)]
    """Devices of users 0, 1, 2 and so on, and from the first one again (`netsim list profiles`)."""
    utilisation: Annotated[float, Gt(0), Le(1)] = 1.0
    """Part of the peak speed that training reaches; well below one on real devices."""

    def of_users(self, count: int, streams: Streams, purpose: str) -> list[float]:
        """Raises ValueError where neither speed nor memory is asked for."""
        if purpose not in ("device speed", "device memory"):
            raise ValueError(f"profiles of devices tell their speed and their memory, but no {purpose}")
        own = [DEVICES[self.devices[user % len(self.devices)]] for user in range(count)]
        if purpose == "device memory":
            return [device.memory_bytes for device in own]
        return [self.utilisation * device.peak_flops_per_s for device in own]
