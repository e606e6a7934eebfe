"""Rate laws: bits a second and hertz at a signal-to-noise ratio."""

from math import log2

import numpy as np
import pytest

from netsim.radio.rate import Shannon


def test_shannon() -> None:
    assert Shannon().efficiency(np.array([0.0, 1.0, 3.0])).tolist() == pytest.approx([0, 1, 2])
    assert Shannon(10 * np.log10(2)).efficiency(np.array([6.0])).tolist() == pytest.approx([2])
    tiny = Shannon().efficiency(np.array([1e-20]))[0]
    assert tiny == pytest.approx(1e-20 * log2(np.e), rel=1e-12)  # not lost beside the one
