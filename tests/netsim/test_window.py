"""Integrals over fading blocks, and the windows that hold them."""

from math import inf

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netsim.integral import Integral
from netsim.radio.chunks import CHUNK, PIECE, REMEMBERED
from netsim.radio.fading import NoFading, Rayleigh
from netsim.radio.link import RadioLink
from netsim.radio.rate import AdaptiveModulation, RateLaw, Shannon
from netsim.radio.window import ArrayWindow, stretch
from netsim.streams import Streams

KEY = Streams(1).key("link")


def integral(borders_s: list[float], values: list[float]) -> Integral:
    return Integral(borders_s, values)


def test_integral_by_hand() -> None:
    area = integral([1.0, 2.0, 4.0, 5.0], [3.0, 0.0, 5.0])
    assert [area.until(0, 1.5), area.until(1, 3.0), area.until(2, 4.5)] == [1.5, 3.0, 5.5]
    assert [area.crossing_s(amount) for amount in (0.0, 1.5, 3.0, 3.5, 8.0, 8.1)] == [1.0, 1.5, 2.0, 4.1, 5.0, inf]


def test_nothing_is_reached_at_once_even_without_any_rate() -> None:
    assert integral([1.0, 2.0], [0.0]).crossing_s(0.0) == 1.0


def test_borders_of_a_window() -> None:
    window = RadioLink(1.0, Rayleigh(0.25), KEY).window(1.1, 4)
    assert list(window.borders_s) == [1.1, 1.25, 1.5, 1.75, 2.0]
    assert [window.block(instant_s) for instant_s in (1.1, 1.2, 1.25, 1.99, 2.0)] == [0, 0, 1, 3, 3]
    assert window.end_s == 2.0
    assert window.power_over_noise_hz.tolist() == Rayleigh().power_gains(KEY, np.arange(4, 8)).tolist()


def test_a_channel_that_never_changes_has_one_block_without_end() -> None:
    window = RadioLink(7.0, NoFading(), KEY).window(3.0, 128)
    assert list(window.borders_s) == [3.0, inf]
    assert window.efficiency(1.0).crossing_s(6.0) == pytest.approx(5.0)


@given(st.integers(0, 10**9), st.sampled_from([0.1, 1 / 3, 1e-3, 0.05]))
def test_borders_rise_from_any_border(block: int, length_s: float) -> None:
    """Instants on a border as a float are the hard case: the quotient may round to either side."""
    start_s = block * length_s
    window = RadioLink(1.0, Rayleigh(length_s), KEY).window(start_s, 8)
    assert window.end_s > start_s
    borders_s = np.array(window.borders_s)
    assert (np.diff(borders_s) >= 0).all()
    assert borders_s[2:] == pytest.approx(borders_s[1] + length_s * np.arange(1, 8), rel=1e-12)


def test_integrals_are_remembered_but_not_for_ever() -> None:
    window = RadioLink(1.0, Rayleigh(), KEY).window(0.0, 8)
    first = window.efficiency(1e6)
    assert window.efficiency(1e6) is first
    for share in range(2, 10):
        window.efficiency(1e6 / share)
    assert window.efficiency(1e6) is not first


@pytest.mark.parametrize("first", [0, 1, 100, 127, 128])
@pytest.mark.parametrize("rate", [Shannon(), AdaptiveModulation(cqi_delay_blocks=3)])
def test_a_window_from_chunks_has_the_bits_of_one_from_arrays(first: int, rate: RateLaw) -> None:
    """Also where it begins within a block, and goes on in the next chunk."""
    link = RadioLink(2e6, Rayleigh(0.01), KEY, rate)
    window = link.window((first + 0.3) * 0.01, CHUNK)
    numbers, borders_s = stretch(0.01, (first + 0.3) * 0.01, CHUNK, rate.delay_blocks)
    arrays = ArrayWindow(borders_s, 2e6 * Rayleigh(0.01).power_gains(KEY, numbers), rate)
    assert list(window.borders_s) == list(arrays.borders_s)
    for found, expected in ((window.signal, arrays.signal), (window.efficiency(1e5), arrays.efficiency(1e5))):
        assert found.crossing_s(0.7 * expected.total) == expected.crossing_s(0.7 * expected.total)
        assert [found.until(block, borders_s[block]) for block in range(CHUNK)] == [
            expected.until(block, borders_s[block]) for block in range(CHUNK)
        ]
        assert list(found.values) == list(expected.values)
        assert found.total == expected.total == np.cumsum(np.array(expected.values) * np.diff(borders_s))[-1]


def test_a_link_remembers_few_rates_and_gains() -> None:
    link = RadioLink(2e6, Rayleigh(0.01), KEY)
    for chunk in range(3):
        for share in range(1, 2 * REMEMBERED):
            assert link.window((chunk + 0.5) * CHUNK * 0.01, CHUNK).efficiency(1e6 / share).total > 0
            assert len(link._chunks._values) <= REMEMBERED
            assert all(len(values) == PIECE for values in link._chunks._values.values())
        assert set(link._chunks._gains) == {chunk, chunk + 1}


def test_rates_are_computed_as_far_as_they_are_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A transfer that is over within a block costs those of one piece, and one of many blocks those of all."""
    computed: list[int] = []
    efficiency = Shannon.efficiency
    monkeypatch.setattr(Shannon, "efficiency", lambda law, snr: (computed.append(len(snr)), efficiency(law, snr))[1])
    rates = RadioLink(2e6, Rayleigh(0.01), KEY).window(0.0, CHUNK).efficiency(1e5)
    assert rates.crossing_s(0.5 * rates.until(0, 0.01)) < 0.01
    assert computed == [PIECE]
    assert rates.total > 0
    assert computed == [PIECE] * (CHUNK // PIECE)


@given(st.lists(st.floats(0, 9), min_size=1, max_size=40), st.integers(1, 9), st.floats(0, 1))
def test_an_integral_whose_values_come_in_pieces(values: list[float], piece: int, part: float) -> None:
    borders_s = [0.25 * block * block for block in range(len(values) + 1)]
    whole = Integral(borders_s, values)
    pieces = Integral(borders_s, values[:piece], lambda first: values[first : first + piece])
    assert pieces.crossing_s(part * whole.total) == whole.crossing_s(part * whole.total)
    pieces = Integral(borders_s, values[:piece], lambda first: values[first : first + piece])
    last = len(values) - 1
    assert pieces.value(last) == values[last]
    assert pieces.until(last, borders_s[-1]) == whole.until(last, borders_s[-1])
    assert pieces.total == whole.total
