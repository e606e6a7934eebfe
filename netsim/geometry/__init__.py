"""Placements of stations and users."""

from netsim.geometry.point import Point
from netsim.geometry.stations import STATION_PLACEMENTS, HexagonalGrid, StationPlacement, Stations
from netsim.geometry.users import USER_PLACEMENTS, Cells, Disc, Explicit, Hexagon, UserPlacement

__all__ = [
    "STATION_PLACEMENTS",
    "USER_PLACEMENTS",
    "Cells",
    "Disc",
    "Explicit",
    "Hexagon",
    "HexagonalGrid",
    "Point",
    "StationPlacement",
    "Stations",
    "UserPlacement",
]
