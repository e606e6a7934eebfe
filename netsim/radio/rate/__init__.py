"""Rate laws: from a signal-to-noise ratio to bits a second and hertz."""

from netsim.radio.rate.adaptive import AdaptiveModulation
from netsim.radio.rate.finite import FiniteBlocklength
from netsim.radio.rate.law import RateLaw
from netsim.radio.rate.shannon import Shannon

__all__ = ["RATE_LAWS", "AdaptiveModulation", "FiniteBlocklength", "RateLaw", "Shannon"]

RATE_LAWS: dict[str, type] = {
    "shannon": Shannon,
    "finite_blocklength": FiniteBlocklength,
    "adaptive_modulation": AdaptiveModulation,
}
