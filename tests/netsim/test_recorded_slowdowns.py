"""Devices from a recorded table: factors by hand, who gets which, and sentences for what cannot be read."""

import os
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import csv, parquet

from netsim.slowdown import RecordedSlowdowns, Slowdowns
from netsim.streams import Streams
from stats import assert_proportion

PHONES = pa.table({"phone": ["a", "b", "c"], "time_s": [0.5, 2.0, 4.0], "score": [100, 50, 10], "bad": [1.0, 0.0, 2.0]})


@pytest.fixture
def phones(tmp_path: Path) -> str:
    parquet.write_table(PHONES, tmp_path / "phones.parquet")
    return str(tmp_path / "phones.parquet")


def factors(law: RecordedSlowdowns, users: int = 3000) -> list[float]:
    slowdowns = Slowdowns(law, "round", Streams(3))
    return [slowdowns.draw(user, 0)(0.0, 1.0) for user in range(users)]


def test_factors_count_from_the_median_device(phones: str) -> None:
    assert set(factors(RecordedSlowdowns(phones, "time_s"))) == {0.25, 1.0, 2.0}
    assert set(factors(RecordedSlowdowns(phones, "score", "speed"))) == {0.5, 1.0, 5.0}


def test_devices_are_equally_likely_and_kept(phones: str) -> None:
    law = RecordedSlowdowns(phones, "time_s")
    for count in Counter(factors(law)).values():
        assert_proportion(count, 3000, 1 / 3)
    slowdowns = Slowdowns(law, "job", Streams(3))
    assert [slowdowns.draw(5, number)(9.0, 2.0) for number in range(4)] == [factors(law, 6)[5]] * 4


def test_the_median_of_a_devices_rows_counts(tmp_path: Path) -> None:
    layers = pa.table({"phone": ["a", "b", "a", "c", "a"], "time_s": [1.0, 4.0, 9.0, 6.0, 2.0]})
    csv.write_csv(layers, tmp_path / "layers.csv")
    law = RecordedSlowdowns(str(tmp_path / "layers.csv"), "time_s", device="phone")
    assert set(factors(law, 200)) == {0.5, 1.0, 1.5}
    with pytest.raises(ValueError, match='has no column "device"; it has phone, time_s'):
        RecordedSlowdowns(law.file, "time_s", device="device").check(3)


@pytest.mark.skipif("NETSIM_DATA" not in os.environ, reason="NETSIM_DATA does not say where recorded data lie")
def test_recorded_layer_times_of_three_phones() -> None:
    """Medians of the LSTM layers alone are 1.05, 0.67 and 0.42 s; over all layers the order is the same."""
    law = RecordedSlowdowns(f"{os.environ['NETSIM_DATA']}/device_layer_times.parquet", "time_s", device="phone")
    slow, middle, fast = sorted(set(factors(law, 200)), reverse=True)
    assert slow > 1.2 > middle == 1.0 > 0.8 > fast


def test_a_table_that_was_changed_is_read_again(tmp_path: Path) -> None:
    for speeds, largest in (("1\n2\n3\n", 1.5), ("10\n20\n40\n", 2.0)):
        (tmp_path / "times.csv").write_text("t\n" + speeds)
        laws = RecordedSlowdowns(str(tmp_path / "times.csv"), "t")
        assert laws._factors().max() == largest


def test_csv(tmp_path: Path, phones: str) -> None:
    csv.write_csv(PHONES, tmp_path / "phones.csv")
    listed = RecordedSlowdowns(str(tmp_path / "phones.csv"), "time_s")
    assert factors(listed, 50) == factors(RecordedSlowdowns(phones, "time_s"), 50)


def test_what_cannot_be_read_is_refused(tmp_path: Path, phones: str) -> None:
    (tmp_path / "torn.parquet").write_bytes(b"PAR1")
    (tmp_path / "empty.csv").write_text("time_s\n")
    (tmp_path / "phones.xls").write_text("time_s\n")
    for file, column, sentence in (
        (
            str(tmp_path / "none.parquet"),
            "time_s",
            "there is no file .*none.parquet; paths in a scenario count from its folder",
        ),
        (str(tmp_path / "phones.xls"), "time_s", "neither a .parquet nor a .csv file"),
        (str(tmp_path / "torn.parquet"), "time_s", "torn.parquet cannot be read"),
        (phones, "speed", 'has no column "speed"; it has phone, time_s, score, bad'),
        (phones, "phone", 'the column "phone" of .* holds no numbers'),
        (phones, "bad", 'the column "bad" of .* must hold positive numbers'),
        (str(tmp_path / "empty.csv"), "time_s", "must hold positive numbers, and at least one|holds no numbers"),
    ):
        with pytest.raises(ValueError, match=sentence):
            RecordedSlowdowns(file, column).check(3)
    RecordedSlowdowns(phones, "time_s").check(3)
