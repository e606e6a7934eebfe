"""Rate laws: from a signal-to-noise ratio to bits a second and hertz."""

from netsim.radio.rate.law import RateLaw
from netsim.radio.rate.shannon import Shannon

__all__ = ["RATE_LAWS", "RateLaw", "Shannon"]

RATE_LAWS: dict[str, type] = {"shannon": Shannon}
