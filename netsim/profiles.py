"""Profiles of real devices: speed, memory and power together, from data sheets or measurements."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple

from annotated_types import Gt, Le, MinLen

from netsim.energy import JoulesPerFlop
from netsim.lazy import drawn
from netsim.streams import Streams


class DeviceProfile(NamedTuple):
    """The data sheet of a device."""

    peak_flops_per_s: float
    """Peak speed in FLOP/s."""
    memory_bytes: float
    """Memory in bytes."""
    power_w: float
    """Power in W while the device computes, or its power limit."""
    source: str
    """The data sheet or white paper, and the number format of the peak speed."""
    idle_power_w: float | None = None
    """Power in W while the device is idle, by the same source; None if that does not give it."""


DEVICES: dict[str, DeviceProfile] = {
    "nrf52840": DeviceProfile(
        64e6,
        256e3,
        9.9e-3,
        "Nordic nRF52840 product specification: Cortex-M4F at 64 MHz, 52 uA/MHz at 3 V from flash, 3.16 uA asleep with "
        "RAM and clock; here 1 FLOP (32 bit) a cycle",
        9.48e-6,
    ),
    "stm32f407": DeviceProfile(
        168e6,
        192e3,
        0.132,
        "STMicroelectronics STM32F407 data sheet: Cortex-M4F at 168 MHz, 40 mA at 3.3 V without peripherals, 12 mA in "
        "sleep mode; here 1 FLOP (32 bit) a cycle",
        0.0396,
    ),
    "esp32": DeviceProfile(
        480e6,
        520e3,
        0.2244,
        "Espressif ESP32 data sheet: two LX6 cores at 240 MHz, at most 68 mA at 3.3 V with the radio off, 0.8 mA in "
        "light sleep; here 1 FLOP (32 bit) a cycle of a core",
        2.64e-3,
    ),
    "raspberry_pi_4": DeviceProfile(
        48e9,
        4e9,
        6.4,
        "Raspberry Pi 4 Model B product brief: 4 Cortex-A72 cores at 1.5 GHz, here 8 FLOPs (32 bit) a cycle; power "
        "with all cores busy and idle: Geerling, Raspberry Pi Dramble, power consumption benchmarks",
        2.7,
    ),
    "jetson_nano": DeviceProfile(472e9, 4e9, 10.0, "NVIDIA Jetson Nano data sheet: 472 GFLOP/s (16 bit), 5 to 10 W"),
    "jetson_tx2": DeviceProfile(1.33e12, 8e9, 15.0, "NVIDIA Jetson TX2 data sheet: 1.33 TFLOP/s (16 bit), 7.5 to 15 W"),
    "jetson_agx_xavier": DeviceProfile(
        11e12, 32e9, 30.0, "NVIDIA Jetson AGX Xavier data sheet: 11 TFLOP/s (16 bit, GPU alone), 32 GB, 10 to 30 W"
    ),
    "rtx_3090": DeviceProfile(35.6e12, 24e9, 350.0, "NVIDIA Ampere GA102 white paper: 35.6 TFLOP/s (32 bit)"),
    "a100": DeviceProfile(19.5e12, 40e9, 400.0, "NVIDIA A100 white paper: 19.5 TFLOP/s (32 bit), SXM4"),
    "h100": DeviceProfile(66.9e12, 80e9, 700.0, "NVIDIA H100 white paper: 66.9 TFLOP/s (32 bit), SXM5"),
}
"""Device profiles by name."""

DeviceName = Literal[
    "nrf52840",
    "stm32f407",
    "esp32",
    "raspberry_pi_4",
    "jetson_nano",
    "jetson_tx2",
    "jetson_agx_xavier",
    "rtx_3090",
    "a100",
    "h100",
]
"""Name of a device profile, a key of `DEVICES`."""


@dataclass(frozen=True)
class Profiled:
    """Profiles of real devices: their speed, memory or idle power, whichever the field is.

    Use it together with the energy of computing of the same devices: `energy.compute` takes the same section.
    """

    devices: Annotated[tuple[DeviceName, ...], MinLen(1)]
    """Devices of users 0, 1, 2 and so on, repeated cyclically (`netsim list profiles`)."""
    utilisation: Annotated[float, Gt(0), Le(1)] = 1.0
    """Part of the peak speed that training reaches; well below 1 on real devices."""

    def of_users(self, count: int, streams: Streams, purpose: str) -> Sequence[float]:
        """Return the quantity that `purpose` names for each user: device speed, device memory or idle power.

        Raises ValueError for any other purpose, or if a profile has no idle power.
        """
        quantities = {
            "device speed": lambda name: self.utilisation * DEVICES[name].peak_flops_per_s,
            "device memory": lambda name: DEVICES[name].memory_bytes,
            "idle power": self._idle_w,
        }
        if purpose not in quantities:
            raise ValueError(f"device profiles have a speed, a memory and an idle power, but no {purpose}")
        quantity: Callable[[DeviceName], float] = quantities[purpose]
        return drawn(count, lambda users: [quantity(self.devices[user % len(self.devices)]) for user in users])

    def _idle_w(self, name: DeviceName) -> float:
        idle_w = DEVICES[name].idle_power_w
        if idle_w is None:
            raise ValueError(f"the profile of {name} has no idle power; give energy.idle_power_w as a number")
        return idle_w


@dataclass(frozen=True)
class ProfiledEnergy:
    """Profiles of real devices: energy per FLOP is power over speed. Name the same devices as in `compute.devices`."""

    devices: Annotated[tuple[DeviceName, ...], MinLen(1)]
    """Devices of users 0, 1, 2 and so on, repeated cyclically (`netsim list profiles`)."""
    utilisation: Annotated[float, Gt(0), Le(1)] = 1.0
    """Part of the peak speed that training reaches; a device draws its full power even while it waits for memory."""

    def energy_j(self, flops: float, flops_per_s: float) -> float:
        """Return the energy in J of a job on the device of user 0."""
        return self.of_user(0).energy_j(flops, flops_per_s)

    def of_user(self, user: int) -> JoulesPerFlop:
        device = DEVICES[self.devices[user % len(self.devices)]]
        return JoulesPerFlop(device.power_w / (self.utilisation * device.peak_flops_per_s))
