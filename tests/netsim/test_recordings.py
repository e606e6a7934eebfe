"""Recordings as people have them: all laws read the same from a table however it is written down, or say what is wrong.

Oracle: the plain table in seconds as Parquet, whose reading is checked by hand beside each law.
"""

import gzip
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netsim.faults import RecordedAvailability
from netsim.mobility import RecordedPaths, Walk
from netsim.radio.rate_recordings import Mahimahi, RecordedTable
from netsim.recordings import Recording, TimeOrigin
from netsim.slowdown.recorded import RecordedSlowdowns
from netsim.streams import Streams
from netsim.traffic import RecordedArrivals

STREAMS = Streams(2)
TIMES_S = [0.0, 1.25, 2.0, 4.5]
TABLE = pa.table(
    {
        "user": [0, 0, 1, 1],
        "time_s": TIMES_S,
        "rate_bps": [1e6, 0.0, 2.5e6, 3e6],
        "state": [0, 1, 0, 1],
        "x_m": [1.0, 2.5, 3.0, 4.0],
        "y_m": [0.0, -1.5, 0.0, 7.0],
    }
)

Reading = Callable[[str, Any], Any]
"""What a law makes of a file and an origin of its times."""


def rates(file: str, origin: TimeOrigin = "first_row") -> Any:
    return RecordedTable(file, step_s=0.25, time_origin=origin).playback(0, STREAMS).at(np.arange(40)).tolist()


def paths(file: str, origin: TimeOrigin = "first_row") -> Any:
    law = RecordedPaths(file, origin)
    law.check(2)
    walks = [Walk(law.legs(user, (9.0, 9.0), STREAMS), (9.0, 9.0)) for user in range(2)]
    return [[walk.at(quarter / 4) for quarter in range(24)] for walk in walks]


def availability(file: str, origin: TimeOrigin = "first_row") -> Any:
    return [list(spans) for spans in RecordedAvailability(file, time_origin=origin).away(2, STREAMS)]


def arrivals(file: str, origin: TimeOrigin = "first_row") -> Any:
    law = RecordedArrivals(file, user_column="user", time_origin=origin)
    return [[arrival.instant_s for arrival in own] for own in law.of_users(range(2), 2, STREAMS, "x")]


def slowdowns(file: str, origin: TimeOrigin = None) -> Any:
    return RecordedSlowdowns(file, "rate_bps", device="user")._factors().tolist()


TIMED: dict[str, Reading] = {"rates": rates, "paths": paths, "availability": availability, "arrivals": arrivals}
READINGS: dict[str, Reading] = {**TIMED, "slowdowns": slowdowns}


def parquet(folder: Path, table: pa.Table) -> str:
    pq.write_table(table, folder / "plain.parquet")
    return str(folder / "plain.parquet")


def text(folder: Path, name: str, change: Callable[[str], str] = str, encoding: str = "utf-8") -> str:
    content = change(TABLE.to_pandas().to_csv(index=False))
    (folder / name).write_text(content, encoding=encoding, newline="")
    return str(folder / name)


def squeezed(folder: Path) -> str:
    file = Path(text(folder, "plain.csv"))
    (folder / "x.csv.gz").write_bytes(gzip.compress(file.read_bytes()))
    return str(folder / "x.csv.gz")


def in_parts(folder: Path) -> str:
    (folder / "parts").mkdir()
    for number in range(2):
        pq.write_table(TABLE.slice(2 * number, 2), folder / "parts" / f"part-{number}.parquet")
    return str(folder / "parts")


def coded(folder: Path) -> str:
    return parquet(
        folder, pa.table({name: TABLE[name].combine_chunks().dictionary_encode() for name in TABLE.column_names})
    )


def european(text: str) -> str:
    return text.replace(",", ";").replace(".", ",")


WRITINGS: dict[str, Callable[[Path], str]] = {
    "csv": lambda folder: text(folder, "x.csv"),
    "windows": lambda folder: text(folder, "x.CSV", lambda content: content.replace("\n", "\r\n"), "utf-8-sig"),
    "blanks": lambda folder: text(folder, "x.csv", lambda content: content.replace(",", ", ")),
    "semicolons": lambda folder: text(folder, "x.csv", lambda content: content.replace(",", ";")),
    "decimal commas": lambda folder: text(folder, "x.csv", european),
    "tabs": lambda folder: text(folder, "x.tsv", lambda content: content.replace(",", "\t")),
    "gzip": squeezed,
    "folder": in_parts,
    "dictionaries": coded,
    "float32": lambda folder: parquet(folder, TABLE.cast(pa.schema([(n, pa.float32()) for n in TABLE.column_names]))),
    "text": lambda folder: parquet(folder, TABLE.cast(pa.schema([(n, pa.string()) for n in TABLE.column_names]))),
}


@pytest.mark.parametrize("law", READINGS)
@pytest.mark.parametrize("writing", WRITINGS)
def test_it_does_not_matter_how_a_table_is_written_down(tmp_path: Path, writing: str, law: str) -> None:
    read = READINGS[law]
    assert read(WRITINGS[writing](tmp_path), "first_row") == read(parquet(tmp_path, TABLE), "first_row")


BEGIN = datetime(2024, 3, 1, 18, 15, 46, tzinfo=UTC)
NAIVE = BEGIN.replace(tzinfo=None)
SPANS = [timedelta(seconds=each) for each in TIMES_S]
ISO = [(NAIVE + span).isoformat(" ") for span in SPANS]

CALENDARS: dict[str, pa.Array] = {
    **{
        f"timestamp {unit}": pa.array([NAIVE + span for span in SPANS], pa.timestamp(unit))
        for unit in ("ms", "us", "ns")
    },
    "timestamp with zone": pa.array([BEGIN + span for span in SPANS], pa.timestamp("ns", "America/New_York")),
    "iso": pa.array(ISO),
    "iso with seven digits": pa.array(
        [f"{each.partition('.')[0]}.{round(s % 1 * 1e7):07}" for each, s in zip(ISO, TIMES_S, strict=True)]
    ),
    "iso with T and Z": pa.array([(BEGIN + span).isoformat().replace("+00:00", "Z") for span in SPANS]),
}
CLOCKS: dict[str, pa.Array] = {
    "duration": pa.array(SPANS, pa.duration("ms")),
    "time of day ms": pa.array([(NAIVE + span).time() for span in SPANS], pa.time32("ms")),
    "time of day us": pa.array([(NAIVE + span).time() for span in SPANS], pa.time64("us")),
    "time of day as text": pa.array([(NAIVE + span).time().isoformat() for span in SPANS]),
    "times of a simulation": pa.array([25200 + each for each in TIMES_S]),
    "epoch": pa.array([1.7e9 + each for each in TIMES_S]),
}


def timed(times: pa.Array) -> pa.Table:
    return TABLE.set_column(1, "time_s", times)


@pytest.mark.parametrize("law", TIMED)
@pytest.mark.parametrize("form", [*CALENDARS, *CLOCKS])
@pytest.mark.parametrize("written", ["parquet", "csv"])
def test_times_count_from_the_first_row(tmp_path: Path, form: str, law: str, written: str) -> None:
    """By themselves where they are instants of the calendar, and if wanted whatever they are."""
    table = timed((CALENDARS | CLOCKS)[form])
    file = parquet(tmp_path, table)
    if written == "csv":
        if form in ("timestamp with zone", "duration"):
            table = timed(pa.array([str(BEGIN + span) for span in SPANS]))  # as pandas writes them
        file = str(tmp_path / "x.csv")
        table.to_pandas().to_csv(file, index=False)
    plain = TIMED[law](str(parquet_of(tmp_path, TABLE)), "first_row")
    assert TIMED[law](file, "first_row") == plain
    if form in CALENDARS:
        assert TIMED[law](file, "first_row" if law == "rates" else None) == plain


def parquet_of(folder: Path, table: pa.Table) -> Path:
    pq.write_table(table, folder / "seconds.parquet")
    return folder / "seconds.parquet"


@pytest.mark.parametrize(
    ("times", "origin"),
    [
        (CALENDARS["timestamp ns"], "2024-03-01 18:15:44"),
        (CALENDARS["timestamp with zone"], "2024-03-01T19:15:44+01:00"),
        (CALENDARS["iso"], BEGIN.timestamp() - 2.0),
        (CLOCKS["time of day ms"], "18:15:44"),
        (CLOCKS["duration"], -2.0),
        (CLOCKS["times of a simulation"], 25198.0),
        (pa.array([2.0 + each for each in TIMES_S]), "zero"),
        (pa.array([date(1970, 1, 1)] * 4, pa.date32()), -2.0),
    ],
)
def test_times_count_from_a_time_that_is_given(tmp_path: Path, times: pa.Array, origin: TimeOrigin) -> None:
    found = Recording.read(parquet(tmp_path, timed(times))).seconds("time_s", origin)
    assert found.tolist() == ([2.0] * 4 if pa.types.is_date(times.type) else [2.0 + each for each in TIMES_S])


@given(st.floats(0.0, 6.0))
def test_what_was_recorded_before_the_origin_is_left_out(
    tmp_path_factory: pytest.TempPathFactory, origin: float
) -> None:
    """Users are where they were on their way, requests are those to come, and a device is as it was left."""
    file = parquet(tmp_path_factory.mktemp("x"), TABLE)
    later_s = np.linspace(0.0, 6.0, 13)
    for user, rows in enumerate([slice(0, 2), slice(2, 4)]):
        times_s = np.array(TIMES_S[rows]) - origin
        places = TABLE.select(["x_m", "y_m"]).to_pandas().to_numpy()[rows]
        if times_s[0] > 0:  # until its first row the user comes from where it was put
            times_s, places = np.append(0.0, times_s), np.vstack([(9.0, 9.0), places])
        walk = Walk(RecordedPaths(file, origin).legs(user, (9.0, 9.0), STREAMS), (9.0, 9.0))
        expected = np.column_stack([np.interp(later_s, times_s, along) for along in places.T])
        assert np.array([walk.at(instant_s) for instant_s in later_s.tolist()]) == pytest.approx(expected)
    asked = [[each - origin for each in instants if each >= origin] for instants in arrivals(file, "zero")]
    assert arrivals(file, origin) == [pytest.approx(instants) for instants in asked]
    away = [
        [(max(a - origin, 0.0), b - origin) for a, b in spans if b > origin] for spans in availability(file, "zero")
    ]
    assert availability(file, origin) == [[pytest.approx(span) for span in spans] for spans in away]


@given(st.floats(-3.0, 6.9))
def test_a_link_is_played_from_the_origin_on(tmp_path_factory: pytest.TempPathFactory, origin: float) -> None:
    """Silent before its first row, and as recorded afterwards; the last row holds for 1.25 s, the median."""
    file = parquet(tmp_path_factory.mktemp("x"), TABLE)
    law = RecordedTable(file, step_s=0.5, end="silence", time_origin=origin)
    if origin >= 5.75:
        with pytest.raises(ValueError, match="the trace is over before its time_origin"):
            law.playback(0, STREAMS)
        return
    carried = np.interp(origin + 0.5 * np.arange(30), [*TIMES_S, 5.75], np.cumsum([0, 1.25e6, 0, 6.25e6, 3.75e6]))
    assert law.playback(0, STREAMS).at(np.arange(29)) * 0.5 == pytest.approx(np.diff(carried), abs=1e-3)


def test_names_of_users_are_numbered_as_they_come(tmp_path: Path) -> None:
    named = parquet(tmp_path, TABLE.set_column(0, "user", pa.array(["taxi", "taxi ", " bus", "bus"])))
    numbered = str(parquet_of(tmp_path, TABLE))
    for law in ("paths", "availability", "arrivals"):
        assert TIMED[law](named, "first_row") == TIMED[law](numbered, "first_row")
    some = RecordedArrivals(named, user_column="user").of_users((5, 3), 6, STREAMS, "x")
    assert [[arrival.instant_s for arrival in own] for own in some] == [[0.0, 1.25], [2.0, 4.5]]
    with pytest.raises(ValueError, match=r'the column "user" of .* names 2 users, but the stream has 1;'):
        RecordedArrivals(named, user_column="user").of_users((5,), 6, STREAMS, "x")


def test_identifiers_that_floating_point_does_not_tell_apart(tmp_path: Path) -> None:
    large = TABLE.set_column(0, "user", pa.array([2**60, 2**60, 2**60 + 1, 2**60 + 1]))
    assert availability(parquet(tmp_path, large)) == availability(str(parquet_of(tmp_path, TABLE)))


BAD: dict[str, tuple[Any, str]] = {
    "lists": (pa.array([[1.0]] * 4), "but lists"),
    "sections": (pa.array([{"a": 1}] * 4), "but struct"),
    "bytes": (pa.array([b"\xff"] * 4), "but binary"),
    "words": (pa.array(["1", "2", "fast", "slow"]), 'text such as "fast"'),
    "nothing": (pa.nulls(4), "none may be missing"),
    "a hole": (pa.array([1.0, None, 2.0, 3.0]), "none may be missing"),
    "no number": (pa.array([1.0, np.nan, 2.0, 3.0]), "none may be missing"),
}
COLUMNS = {
    "rates": ["time_s", "rate_bps"],
    "paths": ["time_s", "x_m", "y_m"],
    "availability": ["time_s", "state"],
    "arrivals": ["time_s"],
    "slowdowns": ["rate_bps"],
}


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize(("law", "column"), [(law, column) for law, columns in COLUMNS.items() for column in columns])
def test_columns_that_are_not_what_they_should_be(tmp_path: Path, law: str, column: str, bad: str) -> None:
    """One sentence that names file, column and what is in it, and no traceback of the library that reads files."""
    if (law, column) == ("rates", "rate_bps") and bad in ("nothing", "a hole"):
        return  # rows without a rate are left out
    values, sentence = BAD[bad]
    table = TABLE.set_column(TABLE.column_names.index(column), column, values)
    with pytest.raises(ValueError, match=f'the column "{column}" of .*plain.parquet .*{sentence}') as refusal:
        READINGS[law](parquet(tmp_path, table), "first_row")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("law", READINGS)
@pytest.mark.parametrize("calendar", ["rate_bps", "state", "x_m", "y_m"])
def test_timestamps_are_no_numbers(tmp_path: Path, law: str, calendar: str) -> None:
    if calendar not in COLUMNS[law]:
        return
    table = TABLE.set_column(TABLE.column_names.index(calendar), calendar, CALENDARS["timestamp ns"])
    with pytest.raises(ValueError, match=f'"{calendar}" of .* holds no numbers, but instants of the calendar'):
        READINGS[law](parquet(tmp_path, table), "first_row")


@pytest.mark.parametrize(
    ("texts", "odd"),
    [
        (["01/03/2024 18:15"] * 4, "01/03/2024 18:15"),
        ([*ISO[:2], "yesterday", ISO[3]], "yesterday"),
        ([*ISO[:2], "07:00:00", "x"], "07:00:00"),
        (["1", "2", ISO[0], ISO[1]], ISO[0]),
        (["1,5", "2,5", "3,5", "4,5"], "1,5"),
    ],
)
def test_texts_that_are_no_times(tmp_path: Path, texts: list[str], odd: str) -> None:
    with pytest.raises(
        ValueError, match=rf'holds text such as "{odd}"; seconds are needed, or times such as 2024-03-01'
    ):
        arrivals(parquet(tmp_path, timed(pa.array(texts))))


def test_a_year_that_nanoseconds_do_not_reach(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no numbers, but instants of the calendar"):
        arrivals(parquet(tmp_path, timed(pa.array([datetime(2500, 1, 1)] * 4, pa.timestamp("s")))))


@pytest.mark.parametrize("law", TIMED)
def test_nanoseconds_are_no_seconds(tmp_path: Path, law: str) -> None:
    table = timed(pa.array([1709316946000000000 + round(each * 1e9) for each in TIMES_S]))
    with pytest.raises(ValueError, match="whole numbers such as 1709316946000000000, nanoseconds perhaps; seconds or"):
        TIMED[law](parquet(tmp_path, table), "first_row")


@pytest.mark.parametrize("law", READINGS)
def test_two_columns_of_one_name(tmp_path: Path, law: str) -> None:
    for name in COLUMNS[law]:
        table = TABLE.append_column(name, TABLE[name])
        with pytest.raises(ValueError, match=f'has 2 columns named "{name}"; give each a name of its own'):
            READINGS[law](parquet(tmp_path, table), "first_row")
    assert READINGS[law](
        parquet(tmp_path, TABLE.append_column("other", TABLE["user"]).append_column("other", TABLE["user"])),
        "first_row",
    )


@pytest.mark.parametrize("law", READINGS)
def test_a_file_without_names_of_columns(tmp_path: Path, law: str) -> None:
    file = text(tmp_path, "x.csv", lambda content: content.partition("\n")[2])
    with pytest.raises(ValueError, match=r"has no column .*; the first line of the file must hold the columns' names"):
        READINGS[law](file, "first_row")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.csv", b""),
        ("x.csv", b"\n\n"),
        ("x.csv", b"user,time_s\n1\n"),
        ("x.csv", "user,time_s\n1,2\n".encode("utf-16")),
        ("x.csv.gz", b"user,time_s\n1,2\n"),
        ("x.parquet", b"user,time_s\n1,2\n"),
    ],
)
@pytest.mark.parametrize("law", READINGS)
def test_files_that_cannot_be_read(tmp_path: Path, law: str, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=f"{name} (cannot be read|has no column)") as refusal:
        READINGS[law](str(tmp_path / name), "first_row")
    assert "\n" not in str(refusal.value)


def test_an_origin_that_is_not_of_its_column(tmp_path: Path) -> None:
    file = parquet(tmp_path, TABLE)
    with pytest.raises(ValueError, match=r'time_origin "first-row" does not fit the column "time_s" .* holds numbers'):
        arrivals(file, "first-row")
    with pytest.raises(ValueError, match=r'time_origin "18:15:44" does not fit .* holds instants of the calendar'):
        arrivals(parquet(tmp_path, timed(CALENDARS["iso"])), "18:15:44")
    with pytest.raises(ValueError, match=r'time_origin "1e\+300" does not fit .* holds instants of the calendar'):
        arrivals(parquet(tmp_path, timed(CALENDARS["iso"])), 1e300)


@pytest.mark.parametrize("law", ["paths", "availability", "arrivals"])
def test_negative_times_are_refused_unless_they_are_before_a_chosen_origin(tmp_path: Path, law: str) -> None:
    file = parquet(tmp_path, timed(pa.array([each - 1.0 for each in TIMES_S])))
    with pytest.raises(ValueError, match=r'the column "time_s" of .* must hold no negative times'):
        TIMED[law](file, None)
    assert TIMED[law](file, -1.0) == TIMED[law](file, "first_row") == TIMED[law](str(parquet_of(tmp_path, TABLE)), None)


def test_a_record_that_begins_after_it_repeats_is_refused(tmp_path: Path) -> None:
    file = parquet(tmp_path, timed(CLOCKS["times of a simulation"]))
    with pytest.raises(ValueError, match=r"begins at 25200 s, after repeat_s \(3600\), which leaves nothing of it"):
        RecordedAvailability(file, repeat_s=3600.0).away(2, STREAMS)
    assert RecordedAvailability(file, 3600.0, "first_row").away(2, STREAMS)


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    file = parquet(tmp_path, TABLE)
    assert Recording.read(file).numbers("x_m").tolist() == [1.0, 2.5, 3.0, 4.0]
    pq.write_table(TABLE.slice(1), file)
    assert Recording.read(file).numbers("x_m").tolist() == [2.5, 3.0, 4.0]


def test_a_mahimahi_trace_may_be_compressed(tmp_path: Path) -> None:
    (tmp_path / "x.up").write_bytes(b"\xef\xbb\xbf3\r\n7\r\n")
    (tmp_path / "x.up.gz").write_bytes(gzip.compress(b"3\n7\n"))
    plain, squeezed = (Mahimahi((str(tmp_path / name),), 1e-3).playback(0, STREAMS) for name in ("x.up", "x.up.gz"))
    assert plain.at(np.arange(20)).tolist() == squeezed.at(np.arange(20)).tolist()
    with pytest.raises(ValueError, match="cannot be read"):
        Mahimahi((str(tmp_path),)).playback(0, STREAMS)
