"""Links that are silent for long come back, and what was under way goes on; what never comes back is known."""

from dataclasses import replace
from math import inf, lcm
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from worlds import World, flat_network, world

from netsim import deadlock
from netsim.radio.fading import Rayleigh
from netsim.radio.rate import FiniteBlocklength
from netsim.radio.rate_recordings import RecordedTable
from netsim.radio.recorded import COMMON_STEPS, LinkTrace, Playback, next_s


def recorded_world(*recordings: str, users: int = 1, step_s: float = 0.1, end: str = "again") -> World:
    """Links that play these rows of seconds and Mbit/s, up and down."""
    flat = flat_network(users)
    (file,) = recordings
    table = RecordedTable(file, unit_bps=1e6, step_s=step_s, trace_column="trace", end=end)  # type: ignore[arg-type]
    channel = replace(flat.channel, uplink_recording=table, downlink_recording=table)
    return world(replace(flat, channel=channel))


def traces(folder: Path, *rows: dict[float, float]) -> str:
    """A file of traces a, b, c and so on: from each second on, so many Mbit/s."""
    lines = [
        f"{name},{time_s},{rate}" for name, trace in zip("abc", rows, strict=False) for time_s, rate in trace.items()
    ]
    file = folder / "drive.csv"
    file.write_text("\n".join(["trace,time_s,rate_bps", *lines]))
    return str(file)


@pytest.mark.parametrize("step_s", [0.001, 0.07, 0.1, 10.0])
@pytest.mark.parametrize("until_s", [150.0, 20_000.0])
def test_a_transfer_goes_on_after_a_hole_in_the_recording(tmp_path: Path, step_s: float, until_s: float) -> None:
    """Half a megabit before the silence, at a megabit a second, and half a megabit after it."""
    w = recorded_world(traces(tmp_path, {0: 1, 10: 0, until_s: 1, 2 * until_s: 1}), step_s=step_s)
    w.env.run(9.5)
    w.run(w.network.users[0].send(w.network.server, 1e6, "x"))
    (row,) = w.rows("transfers")
    within_s = 1e-6 if step_s < 10 else 10.0  # within a step the rate is the mean
    assert row["end_s"] == pytest.approx(until_s + 0.5, abs=max(within_s, step_s))
    assert row["lost"] == 0


def test_a_hole_costs_no_look_at_each_of_its_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A year without coverage, in steps of a millisecond."""
    looked: list[int] = []
    at = Playback.at
    monkeypatch.setattr(Playback, "at", lambda self, numbers: (looked.append(len(numbers)), at(self, numbers))[1])
    year_s = 365 * 86_400.0
    w = recorded_world(traces(tmp_path, {0: 1, 10: 0, year_s: 1, 2 * year_s: 1}), step_s=1e-3)
    w.env.run(9.5)
    w.run(w.network.users[0].send(w.network.server, 1e6, "x"))
    assert w.env.now == pytest.approx(year_s + 0.5, abs=1e-3)
    assert sum(looked) < 10_000


@pytest.mark.parametrize("end", ["again", "silence"])
def test_a_recording_that_is_silent_for_ever_is_known_to_be(tmp_path: Path, end: str) -> None:
    rows = {0: 0, 1: 0} if end == "again" else {0: 1, 1: 0, 2: 0}
    w = recorded_world(traces(tmp_path, rows), step_s=1e-3, end=end)
    waiting = w.env.process(w.network.users[0].send(w.network.server, 1e7, "x"))
    w.env.run()
    assert waiting.is_alive
    assert w.env.now < 2.1
    assert deadlock.describe(w.env).startswith("user 0 is out of range: nothing more was recorded on its link; ")


def test_a_broadcast_waits_until_both_receivers_are_heard(tmp_path: Path) -> None:
    """Traces of 7 and 11 s that receive in one second of each lap: together after 7 a + 3 = 11 b + 5, at 38 s."""
    seven = {second: float(second == 3) for second in range(7)}
    eleven = {second: float(second == 5) for second in range(11)}
    w = recorded_world(traces(tmp_path, seven, eleven), users=2, step_s=1e-3)
    w.run(w.network.server.broadcast(w.network.users, 5e5, "x"))
    assert [row["end_s"] for row in w.rows("transfers")] == [pytest.approx(38.5)] * 2


def test_a_broadcast_to_receivers_that_are_never_heard_together_is_known_never_to_end(tmp_path: Path) -> None:
    even, odd = {0: 1, 1: 0}, {0: 0, 1: 1}
    w = recorded_world(traces(tmp_path, even, odd), users=2, step_s=0.5)
    waiting = w.env.process(w.network.server.broadcast(w.network.users, 5e5, "x"))
    w.env.run()
    assert waiting.is_alive
    assert w.env.now < 1e3


rates = st.lists(st.sampled_from([0.0, 0.0, 0.0, 1.0, 3.0]), min_size=1, max_size=12)
lengths = st.floats(0.3, 2.5)


@given(rates, st.data())
def test_the_next_step_beside_a_search(values: list[float], data: st.DataObject) -> None:
    link = Playback(
        LinkTrace(np.arange(len(values) + 1.0), np.concatenate([[0.0], np.cumsum(values)])),
        data.draw(st.sampled_from([1.0, 0.5, 0.3, 0.7, 2.0, 5.0])),
        data.draw(st.integers(0, 3)),
        data.draw(st.booleans()),
    )
    number = data.draw(st.integers(0, 30))
    heard = link.at(np.arange(number, number + 200)) > 1e-9
    found = link.next_step(number)
    if not heard.any():
        assert found is None or (not link.again and found - number <= 1)
    else:
        first = number + int(heard.argmax())
        assert found in (first - 1, first) if link.steps > int(link.steps) else found == first


@given(st.lists(rates, min_size=2, max_size=3))
def test_the_next_step_of_several_links_beside_a_search(traces: list[list[float]]) -> None:
    links = [
        Playback(LinkTrace(np.arange(len(trace) + 1.0), np.concatenate([[0.0], np.cumsum(trace)])), 1.0, 0, True)
        for trace in traces
    ]
    period = lcm(*map(len, traces))
    assert period <= COMMON_STEPS
    together = [step for step in range(period) if all(trace[step % len(trace)] for trace in traces)]
    assert next_s(links, 0.0) == (together[0] if together else inf)


def test_a_rare_block_of_fading_is_found_wherever_it_is() -> None:
    """Codewords need 12 times the mean signal: six fading blocks in a million carry anything."""
    flat = flat_network(1)
    least = FiniteBlocklength().min_snr
    rare = replace(flat, channel=replace(flat.channel, rate=FiniteBlocklength(), fading=Rayleigh(1e-3)))
    w = world(rare)
    link = w.network.users[0].uplink.link
    link.mean_power_over_noise_hz = least * 1e6 / 12
    w.run(w.network.users[0].send(w.network.server, 1.0, "x"))
    (row,) = w.rows("transfers")
    gains = rare.channel.fading.at(1e9, np.zeros(1)).power_gains(link.key, np.arange(3 * 10**6))
    bits = 1e3 * FiniteBlocklength().efficiency(least / 12 * gains)  # a block of a millisecond on a megahertz
    reached = np.cumsum(bits)
    last = int(np.searchsorted(reached, 1.0))
    assert last < len(bits)
    assert row["end_s"] == pytest.approx(1e-3 * (last + 1 - (reached[last] - 1.0) / bits[last]), rel=1e-9)
    assert 10 ** (row["mean_snr_db"] / 10) == pytest.approx(least / 12, rel=0.5)
