"""Path loss against values worked out from the tables of TR 38.901 and from Friis' formula, and its continuity."""

from dataclasses import replace
from math import exp, log10, sqrt

import pytest

from netsim.radio.pathloss import FreeSpace, LogDistance, Path, PathLoss, UrbanMacro, UrbanMicro


def micro(distance_m: float, carrier_ghz: float = 3.5, user_height_m: float = 1.5) -> Path:
    return Path(distance_m, 10.0, user_height_m, carrier_ghz * 1e9)


def macro(distance_m: float, carrier_ghz: float = 3.5, user_height_m: float = 1.5, surroundings: float = 0.5) -> Path:
    return Path(distance_m, 25.0, user_height_m, carrier_ghz * 1e9, surroundings)


# Worked by hand from table 7.4.1-1: 3-D distances 100.3606 and 500.0722 m (UMi), 102.7241 and 1000.2761 m (UMa);
# breakpoints 4 * 9 * 0.5 * 3.5e9 / 3e8 = 210 m (UMi) and 4 * 24 * 0.5 * 3.5e9 / 3e8 = 560 m (UMa).
HAND = [
    (UrbanMicro(), micro(100.0), True, 85.3142),  # 32.4 + 21 * 2.001563 + 10.881361
    (UrbanMicro(), micro(100.0), False, 104.6438),  # 22.4 + 35.3 * 2.001563 + 21.3 * 0.544068
    (UrbanMicro(), micro(500.0), True, 107.1138),  # 32.4 + 40 * 2.699033 + 10.881361 - 9.5 * log10(210^2 + 8.5^2)
    (UrbanMicro(), micro(500.0), False, 129.2645),
    (UrbanMacro(), macro(100.0), True, 83.1386),  # 28 + 22 * 2.011672 + 10.881361
    (UrbanMacro(), macro(100.0), False, 103.0375),  # 13.54 + 39.08 * 2.011672 + 10.881361
    (UrbanMacro(), macro(1000.0), True, 109.4119),  # 28 + 40 * 3.000120 + 10.881361 - 9 * log10(560^2 + 23.5^2)
    (UrbanMacro(), macro(1000.0), False, 141.6660),
]


@pytest.mark.parametrize(("law", "path", "line_of_sight", "expected_db"), HAND)
def test_hand_computed_values(law: PathLoss, path: Path, line_of_sight: bool, expected_db: float) -> None:
    assert law.loss_db(path, line_of_sight) == pytest.approx(expected_db, abs=5e-4)


def test_friis() -> None:
    # 1 m at 2.4 GHz: 40.05 dB in every text book; doubling the distance adds 6.02 dB
    near, far = Path(1.0, 5.0, 5.0, 2.4e9), Path(2.0, 5.0, 5.0, 2.4e9)
    assert FreeSpace().loss_db(near, True) == pytest.approx(40.05, abs=0.005)
    assert FreeSpace().loss_db(far, True) - FreeSpace().loss_db(near, True) == pytest.approx(20 * log10(2))


def test_log_distance_with_exponent_two_is_free_space() -> None:
    path = micro(70.0)
    assert LogDistance(2.0).loss_db(path, True) == pytest.approx(FreeSpace().loss_db(path, True), rel=1e-12)


def test_log_distance_slope_and_reference() -> None:
    law = LogDistance(exponent=3.5, reference_distance_m=10.0)
    ten, hundred = (Path(d, 5.0, 5.0, 1e9) for d in (10.0, 100.0))
    assert law.loss_db(ten, True) == FreeSpace().loss_db(ten, True)
    assert law.loss_db(hundred, True) - law.loss_db(ten, True) == pytest.approx(35.0)
    inside = Path(3.0, 5.0, 5.0, 1e9)
    assert law.loss_db(inside, True) == FreeSpace().loss_db(inside, True)


@pytest.mark.parametrize(("law", "make", "breakpoint_m"), [(UrbanMicro(), micro, 210.0), (UrbanMacro(), macro, 560.0)])
def test_line_of_sight_is_continuous_at_the_breakpoint(law: PathLoss, make: type, breakpoint_m: float) -> None:
    below, above = (law.loss_db(make(breakpoint_m * (1 + side)), True) for side in (-1e-9, 1e-9))
    # UMi's rounded 9.5 (10.5 - 1) and UMa's 9 are exact: 40 - 21 = 2 * 9.5 and 40 - 22 = 2 * 9
    assert above == pytest.approx(below, abs=1e-6)
    slope = law.loss_db(make(breakpoint_m * 4), True) - law.loss_db(make(breakpoint_m * 2), True)
    assert slope == pytest.approx(40 * log10(2), abs=0.01)


@pytest.mark.parametrize(("law", "make"), [(UrbanMicro(), micro), (UrbanMacro(), macro)])
def test_blocked_paths_lose_at_least_as_much(law: PathLoss, make: type) -> None:
    for distance_m in (10.0, 20.0, 50.0, 300.0, 5000.0):
        assert law.loss_db(make(distance_m), False) >= law.loss_db(make(distance_m), True)


def is_probability(law: PathLoss, path: Path, probability: float) -> bool:
    """Whether a line of sight is found for chances below the probability and for no others."""
    return law.line_of_sight(path, probability - 1e-9) and not law.line_of_sight(path, probability + 1e-9)


def test_probability_of_a_line_of_sight() -> None:
    assert is_probability(UrbanMicro(), micro(100.0), 0.18 + exp(-100 / 36) * 0.82)
    assert is_probability(UrbanMacro(), macro(100.0), 0.18 + exp(-100 / 63) * 0.82)
    # user at 23 m: C' = 1, raised by 1.25 (d/100)^3 exp(-d/150)
    high = (0.09 + exp(-200 / 63) * 0.91) * (1 + 1.25 * 8 * exp(-200 / 150))
    assert is_probability(UrbanMacro(), macro(200.0, user_height_m=23.0), high)
    for law, make in ((UrbanMicro(), micro), (UrbanMacro(), macro)):
        assert law.line_of_sight(make(18.0), 1 - 2.0**-53)  # certain up to 18 m


def test_a_line_of_sight_can_be_forced() -> None:
    for law in (UrbanMicro, UrbanMacro):
        assert law("los").line_of_sight(micro(5000.0), 0.999)
        assert not law("nlos").line_of_sight(micro(10.0), 0.001)


def test_high_users_see_roofs() -> None:
    """Note 1 of table 7.4.1-1: h_E is 1 m with probability 1 / (1 + C), else one of 12, 15, 18 m (user at 19.5 m)."""
    c = 0.65**1.5 * 1.25 * 1000 * exp(-1000 / 150)
    low = 1 / (1 + c)
    losses = {}
    for height_m, chance in ((1.0, low - 1e-9), (12.0, low + 1e-9), (15.0, low + (1 - low) / 2), (18.0, 1 - 1e-9)):
        breakpoint_m = 4 * (25 - height_m) * (19.5 - height_m) * 0.5e9 / 3e8
        far = 28 + 20 * log10(0.5) - 9 * log10(breakpoint_m**2 + 5.5**2) + 20 * log10(1000**2 + 5.5**2)
        near = 28 + 20 * log10(0.5) + 11 * log10(1000**2 + 5.5**2)
        losses[height_m] = near if breakpoint_m >= 1000 else far
        loss_db = UrbanMacro().loss_db(macro(1000.0, 0.5, 19.5, chance), True)
        assert loss_db == pytest.approx(losses[height_m], abs=1e-9)
    assert losses[1.0] < losses[12.0] < losses[15.0] < losses[18.0]


def test_a_roof_of_12_m_is_the_lowest() -> None:
    """For a user at 13.2 m the standard's list 12, 15, ..., h - 1.5 would be empty: 12 m is taken."""
    breakpoint_m = 4 * 13 * 1.2 * 0.5e9 / 3e8
    expected_db = 28 + 20 * log10(0.5) - 9 * log10(breakpoint_m**2 + 11.8**2) + 20 * log10(300**2 + 11.8**2)
    assert UrbanMacro().loss_db(macro(300.0, 0.5, 13.2, 1 - 1e-12), True) == pytest.approx(expected_db, abs=1e-9)


def test_shadowing_of_the_standard() -> None:
    path, inside = micro(100.0), replace(micro(100.0), inside_m=5.0)
    assert [UrbanMicro().shadowing_std_db(path, sight) for sight in (True, False)] == [4.0, 7.82]
    assert [UrbanMacro().shadowing_std_db(path, sight) for sight in (True, False)] == [4.0, 6.0]
    assert FreeSpace().shadowing_std_db(path, True) == LogDistance().shadowing_std_db(path, True) == 0.0
    for law in (UrbanMicro(), UrbanMacro()):  # table 7.5-6, column O2I
        assert law.shadowing_std_db(inside, True) == law.shadowing_std_db(inside, False) == 7.0


def test_decorrelation_distances_of_the_standard() -> None:
    """Table 7.5-6, correlation distance of SF: LOS, NLOS, O2I."""
    path, inside = micro(100.0), replace(micro(100.0), inside_m=5.0)
    for law, los, nlos in ((UrbanMicro(), 10.0, 13.0), (UrbanMacro(), 37.0, 50.0)):
        assert [law.decorrelation_m(path, sight) for sight in (True, False)] == [los, nlos]
        assert law.decorrelation_m(inside, True) == law.decorrelation_m(inside, False) == 7.0


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        (micro(9.9), "distance to a station is 9.9 m"),
        (micro(5001.0), "distance to a station is 5001 m"),
        (micro(100.0, user_height_m=1.0), "user's height is 1 m"),
        (micro(100.0, carrier_ghz=0.4), "carrier is 0.4 GHz"),
        (micro(100.0, carrier_ghz=101.0), "carrier is 101 GHz"),
        (replace(micro(100.0), station_height_m=1.0), "needs stations above"),
    ],
)
@pytest.mark.parametrize("law", [UrbanMicro(), UrbanMacro()])
def test_out_of_range(law: PathLoss, path: Path, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        law.loss_db(path, True)


def test_users_above_the_station() -> None:
    """The standard's UMi knows users up to 22.5 m beside stations of 10 m; its UMa stations are above all users."""
    path = micro(100.0, user_height_m=22.5)
    expected_db = 32.4 + 21 * log10(sqrt(100.0**2 + 12.5**2)) + 20 * log10(3.5)  # the breakpoint is at 9030 m
    assert UrbanMicro().loss_db(path, True) == pytest.approx(expected_db, abs=1e-9)
    with pytest.raises(ValueError, match="needs stations above the users, but a station is 10 m high"):
        UrbanMacro().loss_db(path, True)


@pytest.mark.parametrize("law", [FreeSpace(), LogDistance()])
def test_no_distance_at_all(law: PathLoss) -> None:
    with pytest.raises(ValueError, match="exactly at a station's antenna"):
        law.loss_db(Path(0.0, 5.0, 5.0, 1e9), True)
