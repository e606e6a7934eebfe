"""Batteries: drained by whatever the meter measures; an empty device is away until it is charged again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Annotated

from annotated_types import Ge, Gt, Le

from netsim.exogenous import ExogenousEvents
from netsim.faults.presence import Presence
from netsim.instants import reached
from netsim.streams import Streams
from netsim.values import Constant, PerUser


@dataclass(frozen=True)
class BatteryDescription:
    """What the users' devices have in store. A device whose battery is empty is off, and away."""

    capacity_j: PerUser = field(default_factory=lambda: Constant(55_440.0))
    """Energy of a full battery in J (our choice: 4,000 mAh at 3.85 V, a phone)."""
    initial_charge: PerUser = field(default_factory=lambda: Constant(1.0))
    """Part of the capacity that is there at the beginning, from 0 to 1."""
    harvest_power_w: Annotated[float, Ge(0)] = 0.0
    """Power that charges the battery all the time, from the sun or a charger, in W; what is too much is lost."""
    returns_at: Annotated[float, Gt(0), Le(1)] = 0.2
    """Part of the capacity at which an empty device is switched on again; without harvesting it never is."""

    def of_users(self, count: int, streams: Streams) -> list[tuple[float, float]]:
        """Capacity and initial charge of each user in J. Raises ValueError, in one sentence, where they cannot be."""
        capacities = self.capacity_j.of_users(count, streams, "battery capacity")
        charges = self.initial_charge.of_users(count, streams, "initial charge")
        for user, (capacity_j, charge) in enumerate(zip(capacities, charges, strict=True)):
            if not 0 < capacity_j < inf:
                raise ValueError(f"the battery of user {user} holds {capacity_j:g} J; it must be positive")
            if not 0 <= charge <= 1:
                raise ValueError(f"the initial charge of user {user} is {charge:g}; 0 to 1 is allowed")
        return [(capacity_j, capacity_j * charge) for capacity_j, charge in zip(capacities, charges, strict=True)]


def install_batteries(
    law: BatteryDescription, presences: Sequence[Presence], exogenous: ExogenousEvents, streams: Streams
) -> None:
    """Let devices draw from batteries of their own from now on. Raises ValueError if the law does not fit them."""
    for presence, (capacity_j, charge_j) in zip(presences, law.of_users(len(presences), streams), strict=True):
        presence.steady = False
        presence.meter.draw_from(Battery(exogenous, presence, capacity_j, charge_j, law))


class Battery:
    """The charge of one device: the power is constant between two calls of `draw`, so emptiness can be computed."""

    def __init__(
        self,
        exogenous: ExogenousEvents,
        presence: Presence,
        capacity_j: float,
        charge_j: float,
        law: BatteryDescription,
    ) -> None:
        self.env, self.exogenous, self.presence = exogenous.env, exogenous, presence
        self.capacity_j, self.charge_j = capacity_j, charge_j
        self.harvested_j = 0.0
        """What was stored since it was last taken."""
        self._harvest_w, self._returns_j = law.harvest_power_w, law.returns_at * capacity_j
        self._power_w = 0.0
        self._since_s = self.env.now
        self._alarm_s = inf
        self._empty = False

    def draw(self, power_w: float) -> None:
        """From now on the device draws this power."""
        self.settle()
        self._power_w = power_w
        self._set_alarm()

    def take(self) -> tuple[float, float]:
        """The charge now, and what was harvested since the last `take`, in J."""
        self.settle()
        harvested_j, self.harvested_j = self.harvested_j, 0.0
        return self.charge_j, harvested_j

    def settle(self) -> None:
        """Bring the charge up to now."""
        elapsed_s = self.env.now - self._since_s
        self._since_s = self.env.now
        if elapsed_s > 0:
            charge_j = self.charge_j + (self._harvest_w - self._power_w) * elapsed_s
            self.charge_j = min(charge_j, self.capacity_j)
            self.harvested_j += self._harvest_w * elapsed_s - (charge_j - self.charge_j)

    def _due_s(self) -> float:
        """When the device is to be switched off, or on again, if it goes on as it does."""
        if self._empty:
            return self._since_s + (self._returns_j - self.charge_j) / self._harvest_w if self._harvest_w else inf
        drain_w = self._power_w - self._harvest_w
        return self._since_s + self.charge_j / drain_w if drain_w > 0 else inf

    def _set_alarm(self) -> None:
        """Alarms that turn out to be early look again, so none need be taken back."""
        due_s = self._due_s()
        if due_s < self._alarm_s:
            self._alarm_s = due_s
            self.exogenous.at(max(due_s, self.env.now), self._look)

    def _look(self) -> None:
        self._alarm_s = inf
        if reached(self._due_s(), self.env.now):
            self._switch()
        self._set_alarm()

    def _switch(self) -> None:
        self.settle()
        self._empty = not self._empty
        if self._empty:
            self.charge_j = 0.0  # but for rounding, it is
            self.presence.leave("battery", for_ever=self._harvest_w == 0)
        else:
            self.charge_j = self._returns_j
            self.presence.come_back("battery")
