"""Traffic: streams of requests of users to the servers, with or without learning."""

from netsim.traffic.arrivals import Arrival, Arrivals, OnOff, Periodic, Poisson
from netsim.traffic.recorded import RecordedArrivals
from netsim.traffic.sizes import SIZE_LAWS, SizeLaw

__all__ = [
    "ARRIVALS",
    "SIZE_LAWS",
    "Arrival",
    "Arrivals",
    "OnOff",
    "Periodic",
    "Poisson",
    "RecordedArrivals",
    "SizeLaw",
]

ARRIVALS: dict[str, type] = {
    "poisson": Poisson,
    "periodic": Periodic,
    "on_off": OnOff,
    "recorded": RecordedArrivals,
}
