"""Rate laws: spectral efficiency in bit/s/Hz as a function of the signal-to-noise ratio."""

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
