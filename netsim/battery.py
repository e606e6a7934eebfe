"""Batteries: drained by the power that the meter measures. A device with an empty battery is away until recharged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Annotated

from annotated_types import Ge, Gt, Le

from netsim.exogenous import ExogenousEvents
from netsim.faults.presence import DevicePresence
from netsim.instants import reached
from netsim.streams import Streams
from netsim.values import ConstantPerUser, PerUser


@dataclass(frozen=True)
class BatteryDescription:
    """Batteries of the users' devices. A device whose battery is empty is off and away."""

    capacity_j: PerUser = field(default_factory=lambda: ConstantPerUser(55_440.0))
    """Capacity of the battery in J (our choice: 4,000 mAh at 3.85 V, a phone)."""
    initial_charge: PerUser = field(default_factory=lambda: ConstantPerUser(1.0))
    """Initial state of charge: part of the capacity, from 0 to 1."""
    harvest_power_w: Annotated[float, Ge(0)] = 0.0
    """Power in W that charges the battery all the time, from the sun or a charger; a full battery stores no more."""
    returns_at: Annotated[float, Gt(0), Le(1)] = 0.2
    """State of charge, a part of the capacity, at which a device with an empty battery is switched on again; without
    harvesting it never is."""

    def of_users(self, count: int, streams: Streams) -> list[tuple[float, float]]:
        """Return capacity and initial charge of users 0 to count - 1, in J.

        Raises ValueError if a capacity is not positive and finite, or an initial charge is not from 0 to 1.
        """
        capacities = self.capacity_j.of_users(count, streams, "battery capacity")
        charges = self.initial_charge.of_users(count, streams, "initial charge")
        for user, (capacity_j, charge) in enumerate(zip(capacities, charges, strict=True)):
            if not 0 < capacity_j < inf:
                raise ValueError(f"the battery of user {user} holds {capacity_j:g} J; it must be positive")
            if not 0 <= charge <= 1:
                raise ValueError(f"the initial charge of user {user} is {charge:g}; 0 to 1 is allowed")
        return [(capacity_j, capacity_j * charge) for capacity_j, charge in zip(capacities, charges, strict=True)]


def install_batteries(
    law: BatteryDescription, presences: Sequence[DevicePresence], exogenous: ExogenousEvents, streams: Streams
) -> None:
    """Give each device a battery, from which it draws its energy from now on.

    Args:
        law: capacity, initial charge and harvesting.
        presences: one for each user, in order.
        exogenous: agenda on which devices with empty batteries go off and on.
        streams: random numbers of the run.

    Raises:
        ValueError: `law` does not fit the number of users.
    """
    for presence, (capacity_j, charge_j) in zip(presences, law.of_users(len(presences), streams), strict=True):
        presence.steady = False
        presence.meter.draw_from(Battery(exogenous, presence, capacity_j, charge_j, law))


class Battery:
    """The battery of one device. Its power is constant between calls of `draw`, so the time of emptiness is exact."""

    def __init__(
        self,
        exogenous: ExogenousEvents,
        presence: DevicePresence,
        capacity_j: float,
        charge_j: float,
        law: BatteryDescription,
    ) -> None:
        self.env, self.exogenous, self.presence = exogenous.env, exogenous, presence
        self.capacity_j, self.charge_j = capacity_j, charge_j
        self.harvested_j = 0.0
        """Energy stored since the last `take`, in J."""
        self._harvest_w, self._returns_j = law.harvest_power_w, law.returns_at * capacity_j
        self._power_w = 0.0
        self._since_s = self.env.now
        self._check_s = inf  # the next scheduled check
        self._empty = False

    def draw(self, power_w: float) -> None:
        """Set the power in W that the device draws from now on."""
        self.settle()
        self._power_w = power_w
        self._schedule_check()

    def take(self) -> tuple[float, float]:
        """Return the charge now, and the energy harvested since the last `take`, both in J."""
        self.settle()
        harvested_j, self.harvested_j = self.harvested_j, 0.0
        return self.charge_j, harvested_j

    def settle(self) -> None:
        """Update the charge to the present instant."""
        elapsed_s = self.env.now - self._since_s
        self._since_s = self.env.now
        if elapsed_s > 0:
            charge_j = self.charge_j + (self._harvest_w - self._power_w) * elapsed_s
            self.charge_j = min(charge_j, self.capacity_j)
            self.harvested_j += self._harvest_w * elapsed_s - (charge_j - self.charge_j)

    def _due_s(self) -> float:
        """The instant at which the device goes off, or on again, if its power stays as it is."""
        if self._empty:
            return self._since_s + (self._returns_j - self.charge_j) / self._harvest_w if self._harvest_w else inf
        drain_w = self._power_w - self._harvest_w
        return self._since_s + self.charge_j / drain_w if drain_w > 0 else inf

    def _schedule_check(self) -> None:
        """Schedule a check unless there is an earlier one. A check that comes too early schedules the next, so none
        needs to be cancelled."""
        due_s = self._due_s()
        if due_s < self._check_s:
            self._check_s = due_s
            self.exogenous.at(max(due_s, self.env.now), self._check)

    def _check(self) -> None:
        self._check_s = inf
        if reached(self._due_s(), self.env.now):
            self._switch()
        self._schedule_check()

    def _switch(self) -> None:
        self.settle()
        self._empty = not self._empty
        if self._empty:
            self.charge_j = 0.0  # removes the rounding error
            self.presence.leave("battery", permanently=self._harvest_w == 0)
        else:
            self.charge_j = self._returns_j
            self.presence.come_back("battery")
