"""Mean attenuation between users and stations, without fading: distance, path loss, shadowing, antenna patterns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import atan2, degrees, hypot
from typing import NamedTuple

from netsim.description import NetworkDescription
from netsim.geometry import Point
from netsim.lazy import Lazy
from netsim.radio.pathloss import Path
from netsim.streams import Streams


class Attenuation(NamedTuple):
    """Mean attenuation between a user and a station, part by part."""

    station: int
    """Number of the station or sector."""
    distance_m: float
    """Horizontal distance."""
    path_loss_db: float
    shadowing_db: float
    line_of_sight: bool
    """True if there is a line of sight."""
    pattern_db: float
    """Gain of the station's antenna pattern towards the user."""

    @property
    def total_db(self) -> float:
        """Path loss plus shadowing minus the gain of the pattern, in dB; constant antenna gains are not included."""
        return self.path_loss_db + self.shadowing_db - self.pattern_db


class Coupling:
    """The mean attenuation between users at any position and the stations. Sectors of a site are numbered in a row."""

    def __init__(self, network: NetworkDescription, streams: Streams, *, lazy: bool = False) -> None:
        """Draw what is random about each pair of user and site: line of sight, surroundings, buildings.

        Args:
            network: the section `network` of the scenario.
            streams: random numbers of the run.
            lazy: True draws what is random about a user when it is needed, and drops it at `forget`.
        """
        stations = network.stations
        self.network, self.streams = network, streams
        self.sites, self._images = stations.placement.sites(), stations.placement.images()
        self._azimuths_deg = stations.antenna.azimuths_deg
        self.stations = len(self.sites) * len(self._azimuths_deg)
        self._min_m = network.mobility.min_distance_m if network.mobility else 0.0
        buildings, count, sites = network.channel.buildings, network.users.count, range(len(self.sites))

        def of_sites(purpose: str) -> Lazy[list[float]]:
            return Lazy(
                count, lambda user: [streams.uniform(purpose, user, site, index=0) for site in sites], now=not lazy
            )

        self._indoors = Lazy(count, lambda user: buildings and buildings.indoors(user, streams), now=not lazy)
        self._chances, self._surroundings = of_sites("line of sight"), of_sites("surroundings")

    def forget(self) -> None:
        """Drop what was drawn; it is drawn again, the same, when it is needed."""
        for drawn in (self._indoors, self._chances, self._surroundings):
            drawn.forget()

    def of_users(self, places: Sequence[Point], users: Iterable[int]) -> list[list[Attenuation]]:
        """Return the attenuation between each of some users and each station.

        Args:
            places: x and y in metres of every user.
            users: numbers of the users.

        Returns:
            One row for each of `users`, one entry for each station in order.

        Raises:
            ValueError: a path loss model is used outside of its range.
        """
        sites = range(len(self.sites))
        return [[each for site in sites for each in self._of_site(user, site, places[user])] for user in users]

    def _of_site(self, user: int, site: int, place: Point) -> list[Attenuation]:
        """Attenuation between a user and the sectors of a site, which share one path."""
        channel, law, indoors = self.network.channel, self.network.channel.path_loss, self._indoors[user]
        x_m, y_m = self._from_site(site, place)
        distance_m = hypot(x_m, y_m)
        counted_m = max(distance_m, self._min_m)
        path = Path(
            distance_m=counted_m,
            station_height_m=self.network.stations.height_m,
            user_height_m=self.network.users.height_m + (indoors.above_ground_m if indoors else 0.0),
            carrier_hz=channel.carrier_ghz * 1e9,
            surroundings=self._surroundings[user][site],
            inside_m=min(indoors.depth_m, counted_m) if indoors else 0.0,
        )
        sight = law.line_of_sight(path, self._chances[user][site])
        decorrelation_m = law.decorrelation_m(path, sight)
        shadowing = channel.shadowing.standard(user, place, site, self.streams, decorrelation_m)
        std_db = law.shadowing_std_db(path, sight) if channel.shadowing_std_db is None else channel.shadowing_std_db
        loss_db = law.loss_db(path, sight) + (indoors.loss_db(path) if indoors else 0.0)
        bearing_deg = degrees(atan2(y_m, x_m))
        zenith_deg = 90 + degrees(atan2(path.station_height_m - path.user_height_m, distance_m))
        first, antenna = site * len(self._azimuths_deg), self.network.stations.antenna
        return [
            Attenuation(
                first + sector,
                distance_m,
                loss_db,
                std_db * shadowing,
                sight,
                antenna.gain_db(bearing_deg - azimuth_deg, zenith_deg),
            )
            for sector, azimuth_deg in enumerate(self._azimuths_deg)
        ]

    def _from_site(self, site: int, place: Point) -> Point:
        """The vector from the nearest image of a site to a user, in metres."""
        x, y = self.sites[site]
        vectors = [(place[0] - x - shift_x, place[1] - y - shift_y) for shift_x, shift_y in self._images]
        return min(vectors, key=lambda vector: hypot(*vector)) if len(vectors) > 1 else vectors[0]
