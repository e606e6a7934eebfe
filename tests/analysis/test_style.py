"""Quantities for reading, against what a person would write."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis import style


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.0, "J", "0 J"),
        (12345.0, "J", "12.3 kJ"),
        (999.4, "bit", "999 bit"),
        (1000.0, "bit", "1.00 kbit"),
        (3.2e9, "bit", "3.20 Gbit"),
        (0.0021, "J", "2.10 mJ"),
        (2.5e-7, "J", "2.5e-07 J"),
        (599.0, "s", "599 s"),
        (600.0, "s", "10.0 min"),
        (7200.0, "s", "2.00 h"),
        (172800.0, "s", "2.00 d"),
        (0.25, "s", "250 ms"),
        (2e-5, "s", "20.0 µs"),
    ],
)
def test_quantity(value: float, unit: str, text: str) -> None:
    assert style.quantity(value, unit) == text


@pytest.mark.parametrize(
    ("value", "text"), [(1234567.0, "1,234,567"), (99.95, "100.0"), (1e-5, "1e-05"), (-0.5, "-0.500")]
)
def test_number(value: float, text: str) -> None:
    assert style.number(value) == text


@given(st.floats(1e-6, 1e14), st.sampled_from(["J", "bit", "s"]))
def test_a_quantity_keeps_three_digits_of_its_value(value: float, unit: str) -> None:
    size, symbol = style.scale(value, unit)
    shown, shown_symbol = style.quantity(value, unit).split(" ")
    assert shown_symbol == symbol
    assert float(shown.replace(",", "")) * size == pytest.approx(value, rel=0.005)
