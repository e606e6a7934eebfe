"""Units, names and colours in all figures.

The colours are those of Okabe and Ito ("Color universal design", 2008), which people with any colour vision can
distinguish, on a light or dark background; waiting is grey.
"""

from __future__ import annotations

from textwrap import wrap

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
"""Name and colour of each cause in the table `critical_path`."""

ENERGY = {
    "transmit_j": ("Transmit", ORANGE),
    "receive_j": ("Receive", PURPLE),
    "compute_j": ("Compute", BLUE),
    "idle_j": ("Idle", GREY),
    "tail_j": ("Radio tail", DARK_GREY),
}
"""Name and colour of each component of a user's energy."""

PASS_PARTS = {
    "trunk_s": ("Trunk on the device", BLUE),
    "uplink_s": ("Uplink", ORANGE),
    "queue_s": ("Queue of the site", DARK_GREY),
    "expert_s": ("Experts", GREEN),
    "downlink_s": ("Downlink", PURPLE),
    "straggle_s": ("Wait for the last call", GREY),
}
"""Name and colour of each part of the time of a forward pass in the table `forward_passes`."""

DIRECTIONS = {"up": ("Uplink", ORANGE), "down": ("Downlink", PURPLE), "backhaul": ("Backhaul", BROWN)}
"""Name and colour of each direction of a transfer."""

SERIES = [BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILLION]
"""Colours of runs or metrics in one figure, in this order."""

PREFIXES = [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m"), (1e-6, "µ")]
"""Sizes and symbols of SI prefixes."""
TIMES = [(86400.0, "d", 2 * 86400.0), (3600.0, "h", 7200.0), (60.0, "min", 600.0), (1.0, "s", 1.0), (1e-3, "ms", 1e-3)]


class NothingToDraw(ValueError):
    """The runs have none of the values that a figure shows, or it cannot be written in the format that is asked for."""


def scale(largest: float, unit: str) -> tuple[float, str]:
    """Choose the multiple of a unit for values up to `largest`.

    Seconds become minutes, hours and days from 600 s, 7200 s and 2 days on; other units take SI prefixes.

    Returns:
        Size of the multiple in `unit`, and its symbol.
    """
    if unit == "s":
        return next(((size, symbol) for size, symbol, minimum in TIMES if largest >= minimum), (1e-6, "µs"))
    return next(((size, symbol + unit) for size, symbol in PREFIXES if largest >= size), (1.0, unit))


def quantity(value: float, unit: str) -> str:
    """Format a quantity with three significant digits: quantity(12345.0, "J") is "12.3 kJ"."""
    size, symbol = scale(abs(value), unit)
    return f"{number(value / size)} {symbol}"


def words(name: str) -> str:
    """Format a name of the tables: words("client_forward") is "Client forward"."""
    return name.replace("_", " ").capitalize()


def lines(text: str, width: int) -> str:
    """Break a text into lines of at most `width` letters where words allow, for a picture of plotly."""
    return "<br>".join(wrap(text, width)) or text


def number(value: float) -> str:
    """Format a number with three significant digits, commas between thousands, and an exponent only if extreme."""
    if value == 0 or not 1e-3 <= abs(value) < 1e15:
        return f"{value:.3g}"
    digits = max(0, 2 - int(f"{value:e}".split("e")[1]))
    return f"{value:,.{digits}f}"
