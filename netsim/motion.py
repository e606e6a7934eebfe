"""Motion of users: mean gains are updated at regular intervals, and users are handed over to better stations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import count

import simpy

from netsim.budget import LinkBudget
from netsim.description import MobilityDescription
from netsim.handover import Handover, Triggers
from netsim.journal import Journal
from netsim.nodes import UserNode
from netsim.station import Station
from netsim.tables import HandoverRow, PositionRow


class Motion:
    """Moves users, updates their links, and hands them over."""

    def __init__(
        self,
        env: simpy.Environment,
        journal: Journal,
        budget: LinkBudget,
        users: Sequence[UserNode],
        stations: Sequence[Station],
        mobility: MobilityDescription,
        handover: Handover | None,
    ) -> None:
        """Prepare the motion; `steps` runs it.

        Args:
            env: the environment.
            journal: receives the rows of `positions` and `handovers`.
            budget: positions and mean gains, which are updated.
            users: all users, in order.
            stations: all stations, in order.
            mobility: the interval between updates.
            handover: the handover rule; None is no handovers.
        """
        self.env, self.journal, self.budget, self.users, self.stations = env, journal, budget, users, stations
        self._interval_s, self._handover = mobility.interval_s, handover
        self._triggers = Triggers(handover, len(users), len(stations)) if handover else None
        self._moved_s = 0.0

    def steps(self) -> Iterator[float]:
        """Update positions and links at regular intervals; yields the instant of each update in seconds before it."""
        for number in count(1):
            yield number * self._interval_s
            self._update()

    @property
    def awaited(self) -> bool:
        """True if there is an ongoing transfer that motion or a later handover may affect."""
        settled_s = self._interval_s + (self._handover.time_to_trigger_s if self._handover else 0.0)
        if not self.budget.moving and self.env.now > self._moved_s + settled_s:
            return False
        bands = (band for station in self.stations for band in (station.uplink.band, station.downlink.band))
        return any(True for band in bands for _ in band.sending())

    def record(self, users: Sequence[int]) -> None:
        """Write a row of `positions` for each of the users with these numbers."""
        for user in users:
            x_m, y_m = self.budget.places[user]
            station = self.budget.serving[user]
            row = PositionRow(self.env.now, user, x_m, y_m, station, self.budget.coupling_loss_db(user, station))
            self.journal.trace.add("positions", *row)

    def _update(self) -> None:
        moved = self.budget.move(self.env.now)
        if moved:
            self._moved_s = self.env.now
        for user in moved:
            self.budget.update_link(self.users[user].uplink.link, "up", user)
            self.budget.update_link(self.users[user].downlink.link, "down", user)
        for station in dict.fromkeys(self.users[user].station for user in moved):
            station.uplink.band.links_changed()
            station.downlink.band.links_changed()
        if self._triggers is not None:
            self._hand_over_where_due(self._triggers)
        self.record(moved)

    def _hand_over_where_due(self, triggers: Triggers) -> None:
        for number, station in triggers.due(self.env.now, self.budget.powers.gains, self.budget.serving).items():
            user = self.users[number]
            if not user.downlink.staying and user.downlink.arrival is None:
                triggers.forget(number)
                self._hand_over(user, self.stations[station])

    def _hand_over(self, user: UserNode, to: Station) -> None:
        assert self._handover is not None
        source, gap_s = user.station, self._handover.interruption_s
        row = HandoverRow(user.number, self.env.now, source.number, to.number, gap_s)
        self.journal.trace.add("handovers", *row)
        self.budget.serving[user.number] = to.number
        user.station = to
        user.uplink.leave(to.uplink.band, to.uplink.node, self.budget.link("up", user.number, to.number))
        user.downlink.leave(to.downlink.band, to.downlink.node, self.budget.link("down", user.number, to.number))
        for before, after in ((source.uplink, to.uplink), (source.downlink, to.downlink)):
            before.band.detach(user.number)
            after.band.attach(user.number)
        arrive = partial(self._arrive, user)
        if gap_s:
            self.env.timeout(gap_s).callbacks.append(arrive)
        else:
            arrive()

    def _arrive(self, user: UserNode, _: simpy.Event | None = None) -> None:
        user.uplink.arrive()
        user.downlink.arrive()
