"""Path loss in the country and in offices against values worked out from the tables of TR 38.901."""

from dataclasses import replace
from math import exp, log10, pi

import pytest

from netsim.radio.pathloss import IndoorOffice, Path, PathLoss, RuralMacro


def rural(
    distance_m: float, carrier_ghz: float = 0.7, user_height_m: float = 1.5, station_height_m: float = 35
) -> Path:
    return Path(distance_m, station_height_m, user_height_m, carrier_ghz * 1e9)


def office(distance_m: float, carrier_ghz: float = 3.5) -> Path:
    return Path(distance_m, 3.0, 1.0, carrier_ghz * 1e9)


# Worked out from table 7.4.1-1. RMa, h = 5 m, W = 20 m: 5^1.72 = 15.9305, so 0.03 h^1.72 = 0.477914 and 0.044 h^1.72 =
# 0.700940; 3-D distances 501.121, 1000.561 and 4000.140 m; breakpoint 2 pi 35 * 1.5 * 0.7e9 / 3e8 = 769.690 m.
# InH: 3-D distances 5.3852 and 50.0400 m.
HAND = [
    (RuralMacro(), rural(500.0), True, 84.6325),  # 83.3426 + 0.477914 * 2.699943 - 0.700940 + 0.00139794 * 501.121
    (RuralMacro(), rural(1000.0), True, 93.3816),  # 88.8245 at the breakpoint + 40 * (3.000244 - 2.886316)
    (RuralMacro(), rural(1000.0), False, 116.4449),  # 157.0450 - 37.5123 + 38.6334 * 0.000244 - 3.0980 + 0.0009
    (RuralMacro(), rural(4000.0), False, 139.6957),
    (IndoorOffice(), office(5.0), True, 55.9311),  # 32.4 + 17.3 * 0.731199 + 10.881361
    (IndoorOffice(), office(5.0), False, 58.8522),  # 17.3 + 38.3 * 0.731199 + 24.9 * 0.544068
    (IndoorOffice(), office(50.0), True, 72.6795),
    (IndoorOffice(), office(50.0), False, 95.9311),
]


@pytest.mark.parametrize(("law", "path", "line_of_sight", "expected_db"), HAND)
def test_hand_computed_values(law: PathLoss, path: Path, line_of_sight: bool, expected_db: float) -> None:
    assert law.loss_db(path, line_of_sight) == pytest.approx(expected_db, abs=5e-4)


def test_rural_line_of_sight_has_two_slopes() -> None:
    """The table compares horizontal distances with the breakpoint but puts lengths into the formula: a step remains."""
    breakpoint_m = 2 * pi * 35 * 1.5 * 0.7e9 / 3e8
    below, above = (RuralMacro().loss_db(rural(breakpoint_m + side), True) for side in (-1e-6, 1e-6))
    length_m = (breakpoint_m**2 + 33.5**2) ** 0.5
    slope_then = 20 + 0.03 * 5**1.72
    step = (40 - slope_then) * log10(length_m / breakpoint_m) - 0.002 * log10(5) * (length_m - breakpoint_m)
    assert above - below == pytest.approx(step, abs=1e-6)
    assert step < 0.01
    far = RuralMacro().loss_db(rural(8000.0), True) - RuralMacro().loss_db(rural(4000.0), True)
    assert far == pytest.approx(40 * log10(2), abs=0.001)


def test_rural_surroundings() -> None:
    """Of PL', W enters as -7.1 log10 W; tall buildings reach both limits of PL1, 10 dB a decade and 14.77 dB."""
    narrow, wide = (RuralMacro(street_width_m=w).loss_db(rural(3000.0), False) for w in (10.0, 40.0))
    assert narrow - wide == pytest.approx(7.1 * log10(4))
    path = rural(100.0, user_height_m=5.0)
    expected_db = 20 * log10(40 * pi * path.length_m * 0.7 / 3) + 10 * log10(path.length_m) - 14.77
    tall = RuralMacro(building_height_m=50.0).loss_db(path, True)
    assert tall == pytest.approx(expected_db + 0.002 * log10(50) * path.length_m)


@pytest.mark.parametrize(("law", "make"), [(RuralMacro(), rural), (IndoorOffice(), office)])
def test_blocked_paths_lose_at_least_as_much(law: PathLoss, make: type) -> None:
    for distance_m in (10.0, 20.0, 50.0, 140.0):
        assert law.loss_db(make(distance_m), False) >= law.loss_db(make(distance_m), True)


def is_probability(law: PathLoss, path: Path, probability: float) -> bool:
    return law.line_of_sight(path, probability - 1e-9) and not law.line_of_sight(path, probability + 1e-9)


def test_probability_of_a_line_of_sight() -> None:
    assert RuralMacro().line_of_sight(rural(10.0), 1 - 2.0**-53)
    assert is_probability(RuralMacro(), rural(1010.0), exp(-1))
    assert is_probability(RuralMacro(), replace(rural(1010.0), inside_m=100.0), exp(-0.9))
    mixed, open_plan = IndoorOffice(), IndoorOffice(office="open")
    for law, certain_m in ((mixed, 1.2), (open_plan, 5.0)):
        assert law.line_of_sight(office(certain_m), 1 - 2.0**-53)
    assert is_probability(mixed, office(1.2 + 4.7), exp(-1))
    assert is_probability(mixed, office(6.5 + 32.6), 0.32 * exp(-1))
    assert is_probability(open_plan, office(49.0), exp(-44 / 70.8))
    assert is_probability(open_plan, office(49 + 100.0), 0.54 * exp(-100 / 211.7))


def test_a_line_of_sight_can_be_forced() -> None:
    for law in (RuralMacro, IndoorOffice):
        assert law("los").line_of_sight(rural(5000.0), 0.999)
        assert not law("nlos").line_of_sight(rural(1.0), 0.001)


def test_shadowing_of_the_standard() -> None:
    law, inside = RuralMacro(), replace(rural(100.0), inside_m=5.0)
    assert [law.shadowing_std_db(rural(d), True) for d in (769.0, 771.0)] == [4.0, 6.0]  # breakpoint at 769.7 m
    assert law.shadowing_std_db(rural(100.0), False) == law.shadowing_std_db(inside, True) == 8.0
    assert [IndoorOffice().shadowing_std_db(office(10.0), sight) for sight in (True, False)] == [3.0, 8.03]


def test_decorrelation_distances_of_the_standard() -> None:
    """Table 7.5-6, correlation distance of SF: LOS and NLOS, in RMa O2I."""
    law, inside = RuralMacro(), replace(rural(100.0), inside_m=5.0)
    assert [law.decorrelation_m(rural(100.0), sight) for sight in (True, False)] == [37.0, 120.0]
    assert law.decorrelation_m(inside, True) == law.decorrelation_m(inside, False) == 120.0
    assert [IndoorOffice().decorrelation_m(office(10.0), sight) for sight in (True, False)] == [10.0, 6.0]


@pytest.mark.parametrize(
    ("law", "path", "line_of_sight", "sentence"),
    [
        (RuralMacro(), rural(9.0), True, "distance to a station is 9 m"),
        (RuralMacro(), rural(10001.0), True, "distance to a station is 10001 m"),
        (RuralMacro(), rural(5001.0), False, "RMa without a line of sight holds for 10 to 5000 m"),
        (RuralMacro(), rural(100.0, carrier_ghz=31.0), True, "carrier is 31 GHz"),
        (RuralMacro(), rural(100.0, user_height_m=11.0), True, "user's height is 11 m"),
        (RuralMacro(), rural(100.0, station_height_m=9.0), True, "station's height is 9 m"),
        (IndoorOffice(), Path(0.5, 1.0, 1.0, 3.5e9), True, "distance to a station is 0.5 m"),
        (IndoorOffice(), office(151.0), True, "distance to a station is 151.013 m"),
        (IndoorOffice(), office(50.0, carrier_ghz=0.3), True, "carrier is 0.3 GHz"),
        (IndoorOffice(), replace(office(50.0), inside_m=3.0), True, "leave buildings out"),
    ],
)
def test_out_of_range(law: PathLoss, path: Path, line_of_sight: bool, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        law.loss_db(path, line_of_sight)
