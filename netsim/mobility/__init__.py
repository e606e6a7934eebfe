"""Mobility models."""

from netsim.mobility.gauss_markov import GaussMarkov
from netsim.mobility.recorded import RecordedPaths
from netsim.mobility.straight import Straight
from netsim.mobility.walk import Leg, Mobility, Walk
from netsim.mobility.waypoint import RandomWaypoint

__all__ = ["MOBILITIES", "GaussMarkov", "Leg", "Mobility", "RandomWaypoint", "RecordedPaths", "Straight", "Walk"]

MOBILITIES: dict[str, type] = {
    "random_waypoint": RandomWaypoint,
    "gauss_markov": GaussMarkov,
    "straight": Straight,
    "recorded": RecordedPaths,
}
