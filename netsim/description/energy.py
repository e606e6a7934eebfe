"""The section `energy`: power and energy of devices and servers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from annotated_types import Ge, Gt, Le

from netsim.battery import BatteryDescription
from netsim.energy import ComputeEnergy, Cycles, RadioTail
from netsim.values import ConstantPerUser, PerUser


@dataclass(frozen=True)
class EnergyDescription:
    """Power and energy of the users' devices and, optionally, of the servers.

    Radio defaults: Cui, Goldsmith, Bahai, Energy-constrained modulation optimization, IEEE Transactions on Wireless
    Communications 4(5), 2005.
    """

    amplifier_efficiency: Annotated[float, Gt(0), Le(1)] = 0.35
    """Radiated power over the power that the amplifier draws (Cui et al.: drain efficiency 0.35)."""
    circuit_power_w: Annotated[float, Ge(0)] = 0.0982
    """Power of the other transmit circuits in W while transmitting (Cui et al.: 98.2 mW)."""
    receive_power_w: Annotated[float, Ge(0)] = 0.1125
    """Power of the receive circuits in W while receiving (Cui et al.: about 112.5 mW)."""
    idle_power_w: PerUser = field(default_factory=lambda: ConstantPerUser(0.01))
    """Power in W while a device neither transmits, receives nor computes (our choice: light sleep)."""
    tail: RadioTail | None = None
    """Tail energy: power of radios after a transfer, before they sleep; null is sleep at once."""
    compute: ComputeEnergy = field(default_factory=Cycles)
    """Energy of computing on a user's device. The default is a phone's; for other devices use `profile`."""
    battery: BatteryDescription | None = None
    """Batteries of the users' devices; null is mains power."""
    server_compute: ComputeEnergy | None = None
    """Energy of computing on the servers; null leaves it unknown (empty cells), not zero."""
