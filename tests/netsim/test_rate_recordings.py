"""Links that were recorded: steps, traces of users, what follows the end, and one sentence for each bad file."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from worlds import World, flat_network, world

from netsim.integral import Integral
from netsim.radio.fading import NoFading
from netsim.radio.fidelity import Slots
from netsim.radio.flow.medium import FlowMedium
from netsim.radio.interference import Interference
from netsim.radio.link import RadioLink
from netsim.radio.rate import FiniteBlocklength
from netsim.radio.rate_recordings import Mahimahi, RateRecording, RecordedTable
from netsim.radio.recorded import LinkTrace, Playback, play
from netsim.radio.scheduling import EqualShares
from netsim.streams import Streams

STREAMS = Streams(4)


@pytest.fixture
def drive(tmp_path: Path) -> str:
    """Two traces in one file, among each other, one of them with a hole and from another time on."""
    file = tmp_path / "drive.csv"
    file.write_text("trace,t_s,mbps\na,0,1\nb,100,4\na,1,3\na,2,\nb,101,8\na,3,2\n")
    return str(file)


def table(file: str, **fields: object) -> RecordedTable:
    return RecordedTable(file, "mbps", "t_s", 1e6, "trace", **fields)  # type: ignore[arg-type]  # by name


def rates(recording: RateRecording, user: int, steps: range) -> list[float]:
    return recording.playback(user, STREAMS).at(np.array(steps)).tolist()


def test_a_rate_holds_until_the_next_row(drive: str) -> None:
    """Trace a: 1 Mbit/s for a second, 3 for two (a row without a rate is no row), 2 for 1.5 s, the median."""
    a = RecordedTable(drive, "mbps", "t_s", 1e6, "trace", ("a",), step_s=0.5)
    assert rates(a, 0, range(9)) == pytest.approx([1e6, 1e6, 3e6, 3e6, 3e6, 3e6, 2e6, 2e6, 2e6])
    assert rates(table(drive, step_s=1.5), 0, range(2)) == pytest.approx([1e6 * 5 / 3, 3e6])


def test_rows_without_a_rate_count_for_nothing(tmp_path: Path) -> None:
    """They need no time, and the recording does not begin with them."""
    file = tmp_path / "x.csv"
    file.write_text("trace,time_s,rate_bps\na,1,\na,,\na,5,1\na,8,2\nb,0,1\nb,99,1\n")
    law = RecordedTable(str(file), trace_column="trace", traces=("a",), time_origin="zero", step_s=1.0)
    assert law.span_s() == (5.0, 8.0)
    assert rates(law, 0, range(12)) == [0, 0, 0, 0, 0, 1, 1, 1, 2, 2, 2, 0]


def test_users_take_traces_in_turn(drive: str) -> None:
    both = table(drive, step_s=1.0)
    assert [rates(both, user, range(1)) for user in range(3)] == [[1e6], [4e6], [1e6]]
    assert rates(table(drive, traces=("b",)), 0, range(1)) == pytest.approx([4e6])


def test_a_trace_begins_again_or_falls_silent(drive: str) -> None:
    b = table(drive, traces=("b",), step_s=1.0)
    assert rates(b, 0, range(5)) == pytest.approx([4e6, 8e6, 4e6, 8e6, 4e6])
    assert rates(replace(b, end="silence"), 0, range(5)) == pytest.approx([4e6, 8e6, 0, 0, 0])


def test_laps_of_whole_steps_are_equal_to_the_bit(tmp_path: Path) -> None:
    """0.3 s are three steps of 0.1 s, though 0.3 / 0.1 is not quite 3 in floating point."""
    file = tmp_path / "x.csv"
    file.write_text("time_s,rate_bps\n0,1e6\n0.1,3e6\n0.2,7e6\n")
    found = rates(RecordedTable(str(file), step_s=0.1), 0, range(3000))
    assert found == found[:3] * 1000


def test_users_begin_anywhere(drive: str) -> None:
    """Random starts are spread over the trace, and the same for both directions: they are drawn for the user."""
    law = table(drive, traces=("a",), step_s=0.01, start="random")
    firsts = [law.playback(user, STREAMS).first for user in range(400)]
    assert law.playback(0, STREAMS).steps == 450
    assert np.mean(firsts) == pytest.approx(225, abs=4 * 450 / 12**0.5 / 20)
    assert firsts == [law.playback(user, STREAMS).first for user in range(400)]
    short = replace(law, step_s=10.0)
    assert {short.playback(user, STREAMS).first for user in range(9)} == {0}
    assert {replace(law, step_s=2.0).playback(user, STREAMS).first for user in range(99)} == {
        0,
        1,
    }  # a third ends early


def total_bits(recording: RateRecording, steps: int, step_s: float) -> float:
    """What a link carries alone in its first steps."""
    found = np.array(rates(recording, 0, range(steps)))
    assert (found >= 0).all()
    return float(found.sum() * step_s)


def linked(file: Path, rows: Iterable[object]) -> Path:
    file.write_text("".join(f"{row}\n" for row in rows))
    return file


STEPS_S = st.one_of(st.floats(1e-4, 20.0), st.integers(1, 5000).map(lambda ms: ms / 1000))
ENDS = st.sampled_from(["again", "silence"])


@given(st.lists(st.integers(0, 300), min_size=1, max_size=30), STEPS_S, ENDS, st.integers(1, 400))
def test_a_mahimahi_trace_carries_its_packets_over_its_period(
    tmp_path_factory: pytest.TempPathFactory,
    instants_ms: list[int],
    step_s: float,
    end: Literal["again", "silence"],
    steps: int,
) -> None:
    """Every packet whose millisecond is over has been carried, none that is to come, whatever the length of a step and
    of the trace: packet after packet, lap after lap."""
    instants_ms = [*sorted(instants_ms), max(*instants_ms, 1)]
    period_ms = instants_ms[-1]
    begins_ms = np.minimum(instants_ms, period_ms - 1)
    file = linked(tmp_path_factory.mktemp("trace") / "x.up", instants_ms)
    until_ms = steps * step_s * 1000
    laps = np.arange(until_ms // period_ms + 2 if end == "again" else 1)[:, None] * period_ms
    carried = np.clip(until_ms - (begins_ms + laps), 0, 1).sum() * 12_000
    found = total_bits(Mahimahi((str(file),), step_s, end=end), steps, step_s)
    # Borders of steps are apart by rounding: of 1e-6 of a step each lap, and a packet takes a millisecond.
    allowed = 12_000 * len(instants_ms) * (len(laps) * 1e-6 * step_s * 1000 + 1e-6)
    assert found == pytest.approx(carried, rel=1e-9, abs=allowed)


@pytest.mark.parametrize("step_s", [0.1, 0.001, 0.0015, 0.07, 1.0, 7.0])
@pytest.mark.parametrize(("lines", "mbps"), [([1], 12), ([1, 1, 1, 1], 48), (range(1, 151), 12)])
def test_the_rate_of_a_trace_does_not_depend_on_the_step(
    tmp_path: Path, lines: Sequence[int], mbps: float, step_s: float
) -> None:
    """A packet of 1,500 bytes each millisecond is 12 Mbit/s, however short the file that says so: from the beginning on
    and for as long as one likes, but for the packets of one millisecond, which a border of steps may divide."""
    file = linked(tmp_path / "x.up", lines)
    found = total_bits(Mahimahi((str(file),), step_s), 1000, step_s)
    assert found == pytest.approx(mbps * 1e6 * 1000 * step_s, rel=1e-9, abs=1.001 * mbps * 1000)


def test_a_megabit_over_the_usual_link_of_one_line(tmp_path: Path) -> None:
    """1.2 Mbit at 12 Mbit/s take a tenth of a second."""
    w = recorded_world(Mahimahi((str(linked(tmp_path / "x.up", [1])),)), users=1)
    w.run(w.network.users[0].send(w.network.server, 1.2e6, "x"))
    assert w.rows("transfers")[0]["end_s"] == pytest.approx(0.1)


@given(
    st.lists(st.tuples(st.floats(0.0, 3.0), st.floats(0.0, 1e8)), min_size=2, max_size=30),
    STEPS_S.filter(lambda step_s: step_s > 0.01),
    ENDS,
    st.integers(1, 200),
)
def test_no_bit_of_a_table_is_lost(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[float, float]],
    step_s: float,
    end: Literal["again", "silence"],
    steps: int,
) -> None:
    """Row after row, lap after lap: what a rate carries for as long as it holds."""
    gaps, recorded = np.array(rows).T
    gaps[0] += 1.0
    times_s = np.concatenate([[5.0], 5.0 + np.cumsum(gaps[:-1])])
    holds_s = np.diff(times_s)
    holds_s = np.append(holds_s, np.median(holds_s[holds_s > 0]))
    file = tmp_path_factory.mktemp("table") / "x.parquet"
    pq.write_table(pa.table({"time_s": times_s, "rate_bps": recorded}), file)
    left_s, expected, lap = steps * step_s, 0.0, 0
    while left_s > 0 and (lap == 0 or end == "again"):
        for hold_s, rate in zip(holds_s.tolist(), recorded.tolist(), strict=True):
            expected += rate * min(hold_s, max(left_s, 0.0))
            left_s -= hold_s
        lap += 1
    found = total_bits(RecordedTable(str(file), step_s=step_s, end=end), steps, step_s)
    assert found == pytest.approx(expected, rel=1e-9, abs=1e8 * lap * 1e-6 * step_s + 1e-3)


def test_mahimahi_counts_opportunities(tmp_path: Path) -> None:
    """Three packets in the first 100 ms, none in the second, two in the third, whose last instant ends the trace."""
    file = tmp_path / "trace.up"
    file.write_text("0\n50\n50\n200\n300\n")
    found = rates(Mahimahi((str(file),)), 0, range(4))
    assert found == pytest.approx([3 * 120_000, 0, 2 * 120_000, 3 * 120_000])


def recorded_world(recording: RateRecording, users: int = 2) -> World:
    flat = flat_network(users)
    equal = replace(flat.sharing.uplink, scheduler=EqualShares())
    return world(
        replace(
            flat,
            channel=replace(flat.channel, uplink_recording=recording),
            sharing=replace(flat.sharing, uplink=equal),
        )
    )


def test_users_share_what_was_recorded(drive: str) -> None:
    """Both on trace a: 0.5 Mbit/s each for a second, then 1.5; the first is done at 1.2 s with 0.8 Mbit, which leaves
    all of 3 Mbit/s to the other, who has 1.2 Mbit still to send of 2."""
    w = recorded_world(table(drive, traces=("a",)))
    one, other = w.network.users
    w.run(one.send(w.network.server, 0.8e6, "x"), other.send(w.network.server, 2e6, "x"))
    first, second = w.rows("transfers")
    assert first["end_s"] == pytest.approx(1.2)
    assert second["end_s"] == pytest.approx(1.2 + 1.2 / 3)
    assert first["mean_snr_db"] is None
    assert first["mean_rate_bps"] == pytest.approx(0.8e6 / 1.2)


@pytest.mark.parametrize("step_s", [0.1, 0.37, 2.0])
def test_no_step_is_faster_than_a_recording_ever_is(drive: str, step_s: float) -> None:
    """Trace b has 8 Mbit/s at most, of which a link with the whole band takes a second for 8 Mbit or more."""
    recording = table(drive, step_s=step_s)
    played = recording.playback(1, STREAMS)
    assert played.fastest_bps == 8e6
    assert 4e6 < played.at(np.arange(100)).max() <= played.fastest_bps * (1 + 1e-12)  # bits of a step are a difference
    assert RadioLink(1.0, NoFading(), 0, recorded=played, band_hz=1e6).least_s(8e6, 1e6) == 1.0


def test_a_link_that_carries_nothing_takes_for_ever() -> None:
    silent = Playback(LinkTrace(np.array([0.0, 1.0]), np.zeros(2)), 0.1, 0, True)
    assert RadioLink(1.0, NoFading(), 0, recorded=silent, band_hz=1e6).least_s(1.0, 1e6) == inf


def test_the_other_direction_keeps_its_laws(drive: str) -> None:
    w, plain = recorded_world(table(drive)), world()
    for each in (w, plain):
        each.run(each.network.server.send(each.network.users[0], 1e6, "x"))
    assert w.rows("transfers") == plain.rows("transfers")


def test_recorded_rates_know_no_interference(drive: str) -> None:
    """All rates of a channel would be computed again at each change, with the same results."""
    flat = flat_network(2)
    channel = replace(flat.channel, uplink_recording=table(drive))
    station = world(replace(flat, channel=channel, interference=Interference())).network.stations[0]
    assert isinstance(station.uplink.band, FlowMedium)
    assert isinstance(station.downlink.band, FlowMedium)
    assert station.uplink.band.changed is None
    assert station.downlink.band.changed is not None


def test_slots_cannot_be_recorded(drive: str) -> None:
    flat = flat_network(1)
    band = replace(flat.sharing.uplink, fidelity=Slots())
    channel = replace(flat.channel, uplink_recording=table(drive))
    with pytest.raises(ValueError, match="the uplink has recorded rates, so its band cannot be"):
        world(replace(flat, channel=channel, sharing=replace(flat.sharing, uplink=band)))


def test_a_broadcast_waits_for_the_slowest() -> None:
    a = Playback(LinkTrace(np.array([0.0, 1.0, 2.0]), np.array([0.0, 1e6, 6e6])), 1.0, 0, True)
    b = Playback(LinkTrace(np.array([0.0, 1.0, 2.0]), np.array([0.0, 2e6, 5e6])), 1.0, 0, True)
    window = play([a, b], 1e6, 0.5, 3)
    assert list(window.borders_s) == [0.5, 1.0, 2.0, 3.0]
    assert list(window.efficiency(123.0).values) == [1.0, 3.0, 1.0]


def test_after_the_end_nothing_keeps_the_clock_going(drive: str) -> None:
    """The world comes to rest with the transfer unfinished, instead of looking ahead for ever."""
    w = recorded_world(table(drive, traces=("b",), end="silence"))
    w.env.process(w.network.users[0].send(w.network.server, 1e9, "x"))
    w.env.run()
    assert w.env.now < 1e5
    assert not w.rows("transfers")


def test_out_of_range_nothing_keeps_the_clock_going() -> None:
    """A codeword of one symbol carries nothing at any ratio up to some: without fading, for ever."""
    flat = flat_network(1)
    w = world(replace(flat, channel=replace(flat.channel, rate=FiniteBlocklength(1, 1e-300))))
    w.env.process(w.network.users[0].send(w.network.server, 1.0, "x"))
    w.env.run()
    assert not w.rows("transfers")


def test_an_integral_of_nothing_for_ever_is_nothing() -> None:
    area = Integral([1.0, 2.0, np.inf], [3.0, 0.0])
    assert area.total == 3.0
    assert area.crossing_s(3.0) == 2.0
    assert area.crossing_s(3.1) == np.inf


@pytest.mark.parametrize(
    ("content", "fields", "sentence"),
    [
        ("trace,t_s\na,1\n", {}, 'has no column "mbps"'),
        ("trace,t_s,mbps\na,1,2\n", {}, "needs rows at two times"),
        ("trace,t_s,mbps\na,1,2\na,1,2\n", {}, "needs rows at two times"),
        ("trace,t_s,mbps\na,2,2\na,1,2\n", {}, "must not fall"),
        ("trace,t_s,mbps\na,1,2\na,2,-2\n", {}, "a rate is negative"),
        ("trace,t_s,mbps\n,1,2\n,2,2\n", {}, "has no traces: no row has a rate, and a name"),
        ("trace,t_s,mbps\na,1,\na,2,\n", {}, "has no traces: no row has a rate, and a name"),
        ("trace,t_s,mbps\na,1,2\na,2,2\n", {"traces": ("c",)}, 'has no trace "c"'),
        ("trace,t_s,mbps\na,1,x\na,2,y\n", {}, "holds no numbers"),
        ("trace,t_s,mbps\na,1,1\na,2,1e13\n", {}, r"a rate is 1e\+19 bit/s; at most 1e\+18 is allowed, see unit_bps"),
    ],
)
def test_bad_tables(tmp_path: Path, content: str, fields: dict[str, object], sentence: str) -> None:
    file = tmp_path / "bad.csv"
    file.write_text(content)
    with pytest.raises(ValueError, match=sentence):
        table(str(file), **fields).playback(0, STREAMS)


@pytest.mark.parametrize("content", ["", "1.5\n", "3\n2\n", "-1\n2\n", "0\n", "a\n", "1 2 x"])
def test_bad_mahimahi_files(tmp_path: Path, content: str) -> None:
    file = tmp_path / "bad.down"
    file.write_text(content)
    with pytest.raises(ValueError, match="is no mahimahi trace"):
        Mahimahi((str(file),)).playback(0, STREAMS)


def test_a_file_that_was_changed_is_read_again(tmp_path: Path) -> None:
    """As in a notebook, whose process goes on."""
    table, packets = tmp_path / "rates.csv", tmp_path / "packets"
    for rate, lines in ((5.0, "1\n2\n"), (70.0, "1\n1\n2\n")):
        table.write_text(f"time_s,rate_bps\n0,{rate}\n1,{rate}\n")
        packets.write_text(lines)
        assert RecordedTable(str(table)).playback(0, STREAMS).trace.carried_bits[-1] == 2 * rate
        carried = Mahimahi((str(packets),)).playback(0, STREAMS).trace.carried_bits[-1]
        assert carried == len(lines.split()) * 12_000


def test_a_message_lists_no_more_than_twenty_columns(tmp_path: Path) -> None:
    file = tmp_path / "wide.csv"
    file.write_text(",".join(f"c{number}" for number in range(30)) + "\n")
    with pytest.raises(ValueError, match=r"it has c0, .*, c19 and 10 more$"):
        RecordedTable(str(file)).playback(0, STREAMS)


def test_files_are_found_in_the_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pq.write_table(pa.table({"time_s": [0.0, 1.0], "rate_bps": [5.0, 6.0]}), tmp_path / "here.parquet")
    law = RecordedTable("here.parquet", step_s=1.0)
    monkeypatch.delenv("NETSIM_DATA", raising=False)
    with pytest.raises(ValueError, match=r"there is no file here.parquet; .* NETSIM_DATA names, which is not set"):
        law.playback(0, STREAMS)
    monkeypatch.setenv("NETSIM_DATA", str(tmp_path))
    assert rates(law, 0, range(2)) == [5.0, 6.0]
    with pytest.raises(ValueError, match=r"there is no file there.up; .* NETSIM_DATA names, /"):
        Mahimahi(("there.up",)).playback(0, STREAMS)
