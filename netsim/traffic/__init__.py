"""Traffic: streams of requests of users to the servers, with or without learning."""

from netsim.traffic.arrivals import Arrival, Arrivals, OnOffArrivals, PeriodicArrivals, PoissonArrivals
from netsim.traffic.recorded import RecordedArrivals
from netsim.traffic.sizes import SIZE_LAWS, SizeLaw

__all__ = [
    "ARRIVALS",
    "SIZE_LAWS",
    "Arrival",
    "Arrivals",
    "OnOffArrivals",
    "PeriodicArrivals",
    "PoissonArrivals",
    "RecordedArrivals",
    "SizeLaw",
]

ARRIVALS: dict[str, type] = {
    "poisson": PoissonArrivals,
    "periodic": PeriodicArrivals,
    "on_off": OnOffArrivals,
    "recorded": RecordedArrivals,
}
