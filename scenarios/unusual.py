"""Numbers that look as if they were in another unit, such as 20e6 in a field in MHz, and what was probably meant.

A number outside the usual range of its field is allowed, and `netsim check` warns of it. If it is also outside the
range of the field, the refusal has the same advice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from math import log10
from typing import Any, NamedTuple

from scenarios.errors import Path, dotted
from scenarios.magnitudes import LARGEST

Conversion = Callable[[float], float]
"""From a number in another unit to the number in the unit of the field."""


def times(factor: float) -> Conversion:
    """Return the conversion that multiplies by a factor."""
    return lambda number: number * factor


def decibels(reference: float) -> Conversion:
    """Return the conversion of a power to decibels above a reference; negative and zero powers become themselves."""
    return lambda power: 10 * log10(power / reference) if power > 0 else power


class Usual(NamedTuple):
    """Range of the values that a field has in systems that exist or are under study."""

    low: float
    high: float
    unit: str
    zero: bool
    """Whether 0 is usual as well, though below the range: the quantity is then absent."""
    others: Mapping[str, Conversion]
    """Conversions from what people write instead, by unit in words; the first that fits is proposed."""


LENGTHS: Mapping[str, Conversion] = {"km": times(1e3), "cm": times(1e-2), "mm": times(1e-3)}
MINUS: Mapping[str, Conversion] = {"dBm/Hz without its minus": times(-1), "W/Hz": decibels(1e-3)}
MILLI: Mapping[str, Conversion] = {"milliseconds": times(1e-3), "microseconds": times(1e-6)}
BYTES: Mapping[str, Conversion] = {"MB": times(1e6), "GB": times(1e9)}
FLOPS: Mapping[str, Conversion] = {"GFLOP/s": times(1e9), "TFLOP/s": times(1e12)}

USUAL: Mapping[str, Usual] = {
    # The widest carriers under study are some GHz wide, at sub-terahertz; a tone of NB-IoT has 3.75 kHz (TS 36.211).
    "bandwidth_mhz": Usual(1e-3, 1e4, "MHz", False, {"kHz": times(1e-3), "Hz": times(1e-6), "GHz": times(1e3)}),
    # From the bands of land mobile radio, 0.1 GHz, to D band and beyond, 300 GHz.
    "carrier_ghz": Usual(0.1, 300, "GHz", False, {"MHz": times(1e-3), "Hz": times(1e-9), "kHz": times(1e-6)}),
    # Thermal noise is -174 dBm/Hz at 290 K, and -186 dBm/Hz at 20 K.
    "noise_dbm_per_hz": Usual(-190, -100, "dBm/Hz", False, MINUS),
    # A macro station radiates 49 dBm in TR 36.814, a broadcast tower of 100 kW 80 dBm; a backscatter tag -40 dBm.
    "tx_power_dbm": Usual(-60, 80, "dBm", False, {"mW": decibels(1.0), "W": decibels(1e-3)}),
    # The range of a cell of GSM and LTE is at most 100 km (TS 45.010, TS 36.213: timing advance).
    "radius_m": Usual(1, 1e5, "m", False, LENGTHS),
    "inter_site_distance_m": Usual(1, 1e5, "m", False, LENGTHS),
    # From the ground to a high-altitude platform, 50 km.
    "height_m": Usual(0.1, 5e4, "m", False, LENGTHS),
    # From a line of 9.6 kbit/s to a fibre with all its wavelengths.
    "rate_bps": Usual(1e3, 1e15, "bit/s", False, {"Mbit/s": times(1e6), "Gbit/s": times(1e9)}),
    # A geostationary satellite is 0.25 s away, the moon 1.3 s.
    "delay_s": Usual(1e-9, 10, "s", True, MILLI),
    # An 8-bit microcontroller computes some 1e5 FLOP/s, the fastest computer 2e18.
    "flops_per_s": Usual(1e4, 1e19, "FLOP/s", False, FLOPS),
    "memory_bytes": Usual(1e3, 1e15, "bytes", True, BYTES),
    "storage_bytes": Usual(1e3, 1e18, "bytes", True, BYTES),
}
"""Usual range by name of field, wherever it stands (our choice, with the extremes that it must contain)."""

OF_PARENT = ("low", "high", "value", "median")
"""Fields of a law of draws, whose unit is that of the field that names the law."""


def advice(field: str | None, value: Any) -> str:
    """Return what was probably meant by an unusual value: `; did you mean 20 (20000000 Hz)?`; empty if nothing fits.

    Args:
        field: name of the field.
        value: what stands there.
    """
    usual = USUAL.get(field or "")
    if usual is None or isinstance(value, bool) or not isinstance(value, int | float) or _is_usual(value, usual):
        return ""
    if abs(value) > LARGEST:  # in no unit
        return ""
    for unit, convert in usual.others.items():
        if _is_usual(meant := convert(float(value)), usual) and meant != 0:
            return f"; did you mean {meant:.6g} ({value:.10g} {unit})?"
    return ""


def unusual(plain: Mapping[str, Any]) -> list[str]:
    """Return one sentence for each field whose first unusual number is probably in another unit.

    Args:
        plain: a scenario as plain values.
    """
    out: dict[str, str] = {}
    for path, value in _numbers(plain, ()):
        names = [step for step in path if isinstance(step, str)]
        field = names[-2] if names[-1] in OF_PARENT and len(names) > 1 else names[-1]
        if hint := advice(field, value):
            usual, where = USUAL[field], dotted(tuple(names))
            sentence = f"{where}: {value:.10g} {usual.unit} is unusual, {usual.low:g} to {usual.high:g} are usual{hint}"
            out.setdefault(where, sentence)
    return list(out.values())


def _is_usual(value: float, usual: Usual) -> bool:
    return usual.low <= value <= usual.high or (usual.zero and value == 0)


def _numbers(content: Any, path: Path) -> Iterator[tuple[Path, float]]:
    """Yield every number with its path."""
    if isinstance(content, int | float) and not isinstance(content, bool):
        yield path, content
        return
    inner: Any = ()
    if isinstance(content, Mapping):
        inner = content.items()
    elif isinstance(content, list | tuple):
        inner = enumerate(content)
    for step, value in inner:
        yield from _numbers(value, (*path, step))
