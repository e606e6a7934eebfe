"""Links that were recorded: steps, traces of users, what follows the end, and one sentence for each bad file."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from worlds import World, flat_network, world

from netsim.integral import Integral
from netsim.radio.fidelity import Slots
from netsim.radio.rate import FiniteBlocklength
from netsim.radio.rate_recordings import Mahimahi, RateRecording, RecordedTable, _steps
from netsim.radio.recorded import Playback, play
from netsim.radio.sharing import EqualShares
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


def test_users_take_traces_in_turn(drive: str) -> None:
    both = table(drive, step_s=1.0)
    assert [rates(both, user, range(1)) for user in range(3)] == [[1e6], [4e6], [1e6]]
    assert rates(table(drive, traces=("b",)), 0, range(1)) == pytest.approx([4e6])


def test_a_trace_begins_again_or_falls_silent(drive: str) -> None:
    b = table(drive, traces=("b",), step_s=1.0)
    assert rates(b, 0, range(5)) == pytest.approx([4e6, 8e6, 4e6, 8e6, 4e6])
    assert rates(replace(b, end="silence"), 0, range(5)) == pytest.approx([4e6, 8e6, 0, 0, 0])


def test_users_begin_anywhere(drive: str) -> None:
    """Random starts are spread over the trace, and the same for both directions: they are drawn for the user."""
    law = table(drive, traces=("a",), step_s=0.01, start="random")
    firsts = [law.playback(user, STREAMS).first for user in range(400)]
    assert len(law.playback(0, STREAMS).rates_bps) == 450
    assert np.mean(firsts) == pytest.approx(225, abs=4 * 450 / 12**0.5 / 20)
    assert firsts == [law.playback(user, STREAMS).first for user in range(400)]


@given(st.lists(st.tuples(st.floats(0.0, 3.0), st.floats(0.0, 1e8)), min_size=2, max_size=30), st.floats(0.01, 1.0))
def test_no_bit_is_lost_between_steps(rows: list[tuple[float, float]], step_s: float) -> None:
    gaps, recorded = np.array(rows).T
    gaps[0] += 1.0
    times_s = np.concatenate([[5.0], 5.0 + np.cumsum(gaps[:-1])])
    found = _steps(times_s, recorded, "x", step_s)
    end_s = 5.0 + len(found) * step_s
    until_s = np.minimum(np.append(times_s[1:], np.inf), end_s)
    assert found.sum() * step_s == pytest.approx((recorded * np.maximum(0.0, until_s - times_s)).sum(), rel=1e-6, abs=1)


def test_mahimahi_counts_opportunities(tmp_path: Path) -> None:
    """Three packets in the first 100 ms, none in the second, two in the third, whose last instant ends the trace."""
    file = tmp_path / "trace.up"
    file.write_text("0\n50\n50\n200\n300\n")
    found = rates(Mahimahi((str(file),)), 0, range(4))
    assert found == pytest.approx([3 * 120_000, 0, 2 * 120_000, 3 * 120_000])


def recorded_world(recording: RateRecording, users: int = 2) -> World:
    flat = flat_network(users)
    equal = replace(flat.sharing.uplink, law=EqualShares())
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


def test_the_other_direction_keeps_its_laws(drive: str) -> None:
    w, plain = recorded_world(table(drive)), world()
    for each in (w, plain):
        each.run(each.network.server.send(each.network.users[0], 1e6, "x"))
    assert w.rows("transfers") == plain.rows("transfers")


def test_slots_cannot_be_recorded(drive: str) -> None:
    flat = flat_network(1)
    band = replace(flat.sharing.uplink, fidelity=Slots())
    channel = replace(flat.channel, uplink_recording=table(drive))
    with pytest.raises(ValueError, match="the uplink is recorded as a flow of bits"):
        world(replace(flat, channel=channel, sharing=replace(flat.sharing, uplink=band)))


def test_a_broadcast_waits_for_the_slowest() -> None:
    a = Playback(np.array([1e6, 5e6]), 1.0, 0, True)
    b = Playback(np.array([2e6, 3e6]), 1.0, 0, True)
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
    area = Integral(np.array([1.0, 2.0, np.inf]), np.array([1.0, np.inf]), np.array([3.0, 0.0]))
    assert list(area.cumulative) == [0.0, 3.0, 3.0]
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
        ("trace,t_s,mbps\na,1,2\na,2,2\n", {"traces": ("c",)}, 'has no trace "c"'),
        ("trace,t_s,mbps\na,1,2\na,2,2\n", {"step_s": 3.0}, "shorter than a step"),
        ("trace,t_s,mbps\na,1,x\na,2,y\n", {}, "holds no numbers"),
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


def test_files_are_found_in_the_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pq.write_table(pa.table({"time_s": [0.0, 1.0], "rate_bps": [5.0, 6.0]}), tmp_path / "here.parquet")
    law = RecordedTable("here.parquet", step_s=1.0)
    monkeypatch.delenv("NETSIM_DATA", raising=False)
    with pytest.raises(ValueError, match=r"there is no file here.parquet; .* where NETSIM_DATA says"):
        law.playback(0, STREAMS)
    monkeypatch.setenv("NETSIM_DATA", str(tmp_path))
    assert rates(law, 0, range(2)) == [5.0, 6.0]
    with pytest.raises(ValueError, match=r"there is no file there.up; .*, nor in"):
        Mahimahi(("there.up",)).playback(0, STREAMS)
