"""Traffic: streams of requests that users make of the server, beside learning or alone."""

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
