"""How quantities and kinds of work look in every picture: units, names and colours.

The colours are those of Okabe and Ito ("Color universal design", 2008), told apart with any colour vision and readable
on light and on dark paper; what is mere waiting is grey.
"""

from __future__ import annotations

ORANGE, SKY, GREEN, BLUE, VERMILLION, PURPLE = "#e69f00", "#56b4e9", "#009e73", "#0072b2", "#d55e00", "#cc79a7"
STEEL, YELLOW, BROWN, DARK_GREY, GREY = "#3a87c8", "#c9b800", "#a6761d", "#7f7f7f", "#b3b3b3"

CAUSES = {
    "compute": ("Compute", BLUE),
    "straggle": ("Straggler slowdown", VERMILLION),
    "queue": ("Queueing", DARK_GREY),
    "airtime": ("Airtime", ORANGE),
    "retransmit": ("Retransmission", PURPLE),
    "wait": ("Waiting", GREY),
}
"""Causes of the critical path: name and colour."""

ENERGY = {
    "transmit_j": ("Transmit", ORANGE),
    "receive_j": ("Receive", PURPLE),
    "compute_j": ("Compute", BLUE),
    "idle_j": ("Idle", GREY),
    "tail_j": ("Radio tail", GREY),
}
"""Components of a user's energy: name and colour."""

DIRECTIONS = {"up": ("Uplink", ORANGE), "down": ("Downlink", PURPLE), "backhaul": ("Backhaul", BROWN)}
"""Directions of transfers: name and colour."""

SERIES = [BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILLION]
"""Colours of runs or metrics side by side."""

PREFIXES = [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m"), (1e-6, "µ")]
TIMES = [(86400.0, "d", 2 * 86400.0), (3600.0, "h", 7200.0), (60.0, "min", 600.0), (1.0, "s", 1.0), (1e-3, "ms", 1e-3)]


def scale(largest: float, unit: str) -> tuple[float, str]:
    """The (size, symbol) of the multiple of `unit` in which values up to `largest` read best.

    Seconds become minutes, hours and days from 600 s, 7200 s and 2 days on; other units take SI prefixes.
    """
    if unit == "s":
        return next(((size, symbol) for size, symbol, least in TIMES if largest >= least), (1e-6, "µs"))
    return next(((size, symbol + unit) for size, symbol in PREFIXES if largest >= size), (1.0, unit))


def quantity(value: float, unit: str) -> str:
    """A quantity for reading, to three digits: quantity(12345.0, "J") is "12.3 kJ"."""
    size, symbol = scale(abs(value), unit)
    return f"{number(value / size)} {symbol}"


def words(name: str) -> str:
    """A name of the tables for reading: words("client_forward") is "Client forward"."""
    return name.replace("_", " ").capitalize()


def number(value: float) -> str:
    """A number to three digits, without an exponent, thousands set apart."""
    if value == 0 or not 1e-3 <= abs(value) < 1e15:
        return f"{value:.3g}"
    digits = max(0, 2 - int(f"{value:e}".split("e")[1]))
    return f"{value:,.{digits}f}"
