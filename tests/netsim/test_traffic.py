"""Requests: one by hand, arrivals by their statistics, recorded ones, and storms in which nothing may get lost."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice, takewhile
from math import exp
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import expon, lognorm, uniform
from worlds import At, ask, flat_compute, flat_network, flat_rates_bps, world

from netsim.description import FaultsDescription, RequestStream, ServersDescription, TrafficDescription
from netsim.faults import Outage
from netsim.queueing import DISCIPLINES, Discipline, Fifo
from netsim.streams import Streams
from netsim.traffic import (
    Arrival,
    Arrivals,
    OnOffArrivals,
    PeriodicArrivals,
    PoissonArrivals,
    RecordedArrivals,
    SizeLaw,
)
from netsim.traffic.requests import Traffic
from netsim.traffic.sizes import ConstantSize, ExponentialSize, ListedSizes, LognormalSize, UniformSize
from netsim.values import ConstantPerUser, ListedPerUser
from stats import assert_ks, assert_mean, assert_proportion

STREAMS = Streams(5)


def test_a_request_in_closed_form() -> None:
    """Up, FLOPs over FLOP/s, down; then one that waits for the first at the radio and at the server."""
    w = world(users=2)
    up_bps, down_bps = flat_rates_bps(2)
    stream = RequestStream(At(1.0, 1.001), ConstantSize(1e5), ConstantSize(1e11), ConstantSize(4e5))
    first, second = ask(w, 10.0, chat=stream)
    up_s, down_s = 1e5 / up_bps, 4e5 / down_bps
    assert first["start_s"] == pytest.approx(1 + up_s)
    assert first["latency_s"] == pytest.approx(up_s + 1.0 + down_s)
    assert second["latency_s"] == pytest.approx(up_s + 1.0 + 1.0 + down_s - 0.001)
    assert (first["user"], first["node"], first["stream"], first["number"]) == (0, "server", "chat", 0)
    assert (first["bits"], first["flops"], first["outcome"]) == (5e5, 1e11, "served")
    assert {row["kind"] for row in w.rows("transfers") + w.rows("computations")} == {"request_chat"}
    assert [row["direction"] for row in w.rows("transfers")] == ["up", "up", "down", "down"]
    assert w.env.now == 10.0


def test_energy_of_a_run_without_rounds() -> None:
    w = world(users=2)
    ask(w, 10.0, chat=RequestStream(At(1.0), ConstantSize(1e5)))
    up_s = 1e5 / flat_rates_bps(2)[0]
    asking, idle = w.rows("energy")
    assert (asking["start_s"], asking["end_s"], asking["round"]) == (0.0, 10.0, 0)
    assert asking["transmit_j"] == pytest.approx(up_s * 0.3)
    assert asking["idle_j"] == pytest.approx((10 - up_s) * 0.03)
    assert idle["idle_j"] == pytest.approx(0.3)


@pytest.mark.parametrize(("timeout_s", "transfers", "computations"), [(0.005, 1, 0), (0.5, 1, 1)])
def test_a_request_that_takes_too_long_is_given_up(timeout_s: float, transfers: int, computations: int) -> None:
    w = world(users=2)
    (row,) = ask(w, 10.0, x=RequestStream(At(1.0), ConstantSize(1e5), ConstantSize(1e11), timeout_s=timeout_s))
    assert (row["outcome"], row["latency_s"]) == ("timed_out", pytest.approx(timeout_s))
    assert (row["start_s"] is None) == (computations == 0)
    assert len(w.rows("transfers")) == transfers
    assert [row["interrupted"] for row in w.rows("computations")] == [True] * computations


def test_a_full_server_refuses() -> None:
    w = world(compute=replace(flat_compute(), servers=ServersDescription(1.0, capacity=1)))
    rows = ask(w, 10.0, x=RequestStream(At(1.0, 2.0, 4.5), flops=ConstantSize(3.0)))
    assert sorted((row["number"], row["outcome"], row["end_s"]) for row in rows) == [
        (0, "served", 4.0),
        (1, "refused", 2.0),
        (2, "served", 7.5),
    ]


def test_requests_are_no_part_of_a_round() -> None:
    """A round's bits and its critical path are those of learning; the wait for a request at the radio is a queue."""
    w = world(users=2)

    def scheme() -> Iterator[object]:
        w.journal.begin_round(0)
        yield w.env.timeout(1.005)
        yield from w.network.users[0].send(w.network.server, 1e5, "model")
        w.journal.end_round(1, 0)

    traffic = TrafficDescription({"x": RequestStream(At(1.0, 5.0), ConstantSize(1e5))})
    w.run(Traffic(w.network, traffic).run(scheme()))  # type: ignore[arg-type]
    (row,) = w.rows("rounds")
    up_s = 1e5 / flat_rates_bps(2)[0]
    assert row["uplink_bits"] == 1e5
    assert row["latency_s"] == pytest.approx(1 + 2 * up_s)
    assert [part["cause"] for part in w.rows("critical_path")] == ["wait", "queue", "airtime"]
    assert len(w.rows("requests")) == 1  # none arrives after the scheme has ended
    assert sum(row["transmit_j"] for row in w.rows("energy")) == pytest.approx(2 * up_s * 0.3)


def times(arrivals: Iterable[Arrival]) -> list[float]:
    """Instants, in seconds."""
    return [arrival.instant_s for arrival in arrivals]


def first(arrivals: Arrivals, count: int, users: int = 1) -> list[np.ndarray]:  # type: ignore[type-arg]
    """The first arrivals of each user."""
    return [np.array(times(islice(each, count))) for each in arrivals.of_users(range(users), users, STREAMS, "x")]


def test_poisson_arrivals() -> None:
    silent, busy = first(PoissonArrivals(ListedPerUser((0.0, 4.0))), 4000, users=2)
    assert not len(silent)
    assert_ks(np.diff(busy, prepend=0.0), expon(scale=0.25).cdf)


def test_periodic_arrivals() -> None:
    clocks = first(PeriodicArrivals(ConstantPerUser(2.0)), 3, users=500)
    assert all(np.diff(each) == pytest.approx(2.0) for each in clocks)
    assert_ks(np.array([each[0] for each in clocks]), uniform(0, 2).cdf)
    (late,) = first(PeriodicArrivals(ConstantPerUser(2.0), jitter_s=2.0), 4000)
    assert (np.diff(late) >= 0).all()
    phase = STREAMS.uniform("phase", "x", index=0)
    assert_ks(late - 2.0 * (phase + np.arange(4000)), uniform(0, 2).cdf)


def test_on_off_arrivals() -> None:
    """Mean and variance of the number in an interval, in equilibrium: Fischer and Meier-Hellstern 1993."""
    law = OnOffArrivals(ConstantPerUser(5.0), mean_on_s=2.0, mean_off_s=6.0, off_rate_per_s=0.5)
    length_s, users = 10.0, 1500
    numbers = [
        sum(1 for _ in takewhile(lambda arrival: arrival.instant_s < length_s, each))
        for each in law.of_users(range(users), users, STREAMS, "x")
    ]
    on, decay, gap = 0.25, 1 / 2 + 1 / 6, 5.0 - 0.5
    mean = length_s * (on * 5.0 + (1 - on) * 0.5)
    spread = 2 * on * (1 - on) * gap**2 * (length_s / decay - (1 - exp(-decay * length_s)) / decay**2)
    assert_mean(numbers, mean)
    assert_mean((np.array(numbers) - mean) ** 2, mean + spread)


def test_on_off_with_one_rate_is_poisson() -> None:
    (instants,) = first(OnOffArrivals(ConstantPerUser(3.0), 1.0, 1.0, off_rate_per_s=3.0), 4000)
    assert_ks(np.diff(instants, prepend=0.0), expon(scale=1 / 3).cdf)
    (bursts,) = first(OnOffArrivals(ConstantPerUser(3.0), 1.0, 1.0), 4000)
    assert_proportion(int((np.diff(bursts) > 2.0).sum()), len(bursts), longer_than_two())


def longer_than_two() -> float:
    """Of the hyperexponential times between arrivals of an interrupted Poisson process (Kuczura 1973)."""
    rate, off, on = 3.0, 1.0, 1.0  # and the rates of leaving on and off
    root = np.sqrt((rate + off + on) ** 2 - 4 * rate * on)
    fast, slow = (rate + off + on + root) / 2, (rate + off + on - root) / 2
    part = (rate - slow) / (fast - slow)
    return float(part * exp(-2 * fast) + (1 - part) * exp(-2 * slow))


def test_recorded_arrivals(tmp_path: Path) -> None:
    file = tmp_path / "requests.csv"
    file.write_text("time_s,who\n3.0,1\n1.0,0\n2.0,1\n")
    in_turn = RecordedArrivals(str(file)).of_users(range(2), 2, STREAMS, "x")
    assert [times(each) for each in in_turn] == [[1.0, 3.0], [2.0]]
    named = RecordedArrivals(str(file), user_column="who").of_users(range(3), 3, STREAMS, "x")
    assert [times(each) for each in named] == [[1.0], [2.0, 3.0], []]
    with pytest.raises(ValueError, match="must hold users from 0 to 0"):
        RecordedArrivals(str(file), user_column="who").of_users(range(1), 1, STREAMS, "x")
    file.write_text("time_s\n-1.0\n")
    with pytest.raises(ValueError, match="no negative times"):
        RecordedArrivals(str(file)).of_users(range(1), 1, STREAMS, "x")


@pytest.mark.parametrize("asking", [(0,), (1, 2), (3, 0, 2)])
def test_recorded_requests_are_dealt_to_those_that_ask(tmp_path: Path, asking: tuple[int, ...]) -> None:
    """A hundred requests in a table are a hundred requests, made in turn by the users of the stream."""
    file = tmp_path / "requests.csv"
    file.write_text("time_s\n" + "".join(f"{second}\n" for second in range(100)))
    stream = RequestStream(RecordedArrivals(str(file)), flops=ConstantSize(1e6), users=asking)
    rows = sorted(ask(world(flat_network(4)), 200.0, x=stream), key=lambda row: row["arrival_s"])  # type: ignore[arg-type, return-value]
    assert [row["arrival_s"] for row in rows] == list(range(100))
    assert [row["user"] for row in rows] == [asking[number % len(asking)] for number in range(100)]


def test_recorded_users_ask_for_themselves(tmp_path: Path) -> None:
    """Where the table says who asks, a stream of some users makes the requests of these."""
    file = tmp_path / "requests.csv"
    file.write_text("time_s,who\n3.0,1\n1.0,0\n2.0,1\n4.0,2\n")
    law = RecordedArrivals(str(file), user_column="who")
    assert [times(each) for each in law.of_users((2, 1), 3, STREAMS, "x")] == [[4.0], [2.0, 3.0]]


def test_recorded_sizes(tmp_path: Path) -> None:
    """Each request has the sizes of its row, whoever it is dealt to; what the table does not tell is the stream's."""
    file = tmp_path / "requests.csv"
    file.write_text("time_s,prompt,work,answer\n3.0,8e4,2e6,1e3\n1.0,1e4,1e6,4e3\n-2.0,9,9,9\n2.0,0,3e6,0\n")
    law = RecordedArrivals(
        str(file), time_origin=0, uplink_bits_column="prompt", flops_column="work", downlink_bits_column="answer"
    )
    stream = RequestStream(law, ConstantSize(5e5), ConstantSize(5e5), ConstantSize(5e5))
    w = world(users=2)
    rows = sorted(ask(w, 9.0, x=stream), key=lambda row: row["arrival_s"])  # type: ignore[arg-type, return-value]
    assert [(row["user"], row["arrival_s"], row["bits"], row["flops"]) for row in rows] == [
        (0, 1.0, 1.4e4, 1e6),
        (1, 2.0, 0.0, 3e6),
        (0, 3.0, 8.1e4, 2e6),
    ]
    sent = [(row["direction"], row["bits"]) for row in w.rows("transfers") if row["bits"]]
    assert sorted(sent) == [("down", 1e3), ("down", 4e3), ("up", 1e4), ("up", 8e4)]
    work = replace(law, uplink_bits_column=None, downlink_bits_column=None)
    some = ask(world(users=2), 9.0, x=RequestStream(work, ConstantSize(7e3), ConstantSize(1.0)))
    assert {(row["bits"], row["flops"]) for row in some} == {(7e3, 1e6), (7e3, 2e6), (7e3, 3e6)}
    with pytest.raises(ValueError, match=r'the column "time_s" of .* must hold no negative sizes'):
        replace(law, flops_column="time_s").of_users(range(1), 1, STREAMS, "x")


@pytest.mark.parametrize(
    "law",
    [
        PoissonArrivals(ListedPerUser((1.0, 2.0, 3.0, 4.0))),
        PeriodicArrivals(ListedPerUser((1.0, 2.0, 3.0, 4.0)), 0.5),
        OnOffArrivals(ListedPerUser((1.0, 2.0, 3.0, 4.0)), 2.0, 2.0),
    ],
)
def test_whether_others_ask_changes_no_users_requests(law: Arrivals) -> None:
    """A user keeps its rate and its draws, whoever else is in the stream."""
    everybody = [list(islice(each, 50)) for each in law.of_users(range(4), 4, STREAMS, "x")]
    some = [list(islice(each, 50)) for each in law.of_users((3, 1), 4, STREAMS, "x")]
    assert some == [everybody[3], everybody[1]]


@pytest.mark.parametrize(
    ("arrivals", "sentence"),
    [
        (PoissonArrivals(ListedPerUser((1.0, -1.0))), "rate_per_s of user 1 is -1"),
        (PeriodicArrivals(ConstantPerUser(0.0)), "the period of user 0 is 0 s"),
        (PeriodicArrivals(ConstantPerUser(1.0), jitter_s=2.0), "no less than jitter_s"),
    ],
)
def test_arrivals_that_cannot_be(arrivals: Arrivals, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        arrivals.of_users(range(2), 2, STREAMS, "x")


def test_a_stream_of_nobody_is_refused() -> None:
    with pytest.raises(ValueError, match="stream x names user 2; there are 2, from 0"):
        Traffic(world().network, TrafficDescription({"x": RequestStream(At(), users=(2,))}, 1.0))


def test_sizes() -> None:
    chances = np.asarray(STREAMS.uniform("sizes", index=range(4000)))

    def drawn(law: SizeLaw) -> np.ndarray:  # type: ignore[type-arg]
        return np.array([law.size(number, chance) for number, chance in enumerate(chances.tolist())])

    assert_ks(drawn(ExponentialSize(3.0)), expon(scale=3.0).cdf)
    assert_ks(drawn(UniformSize(1.0, 4.0)), uniform(1, 3).cdf)
    assert_ks(drawn(LognormalSize(2.0, 0.5)), lognorm(0.5, scale=2 * exp(-0.125)).cdf)
    assert drawn(ListedSizes((1.0, 2.0, 3.0)))[:5].tolist() == [1, 2, 3, 1, 2]


def test_one_more_user_or_stream_moves_no_request() -> None:
    stream = RequestStream(PoissonArrivals(ConstantPerUser(1.0)), ExponentialSize(1e4), ExponentialSize(1e9))
    one = ask(world(users=2), 20.0, a=stream)
    more = ask(world(flat_network(3)), 20.0, a=stream, b=stream)
    wanted = ("arrival_s", "bits", "flops", "user", "number")
    assert sorted([row[name] for name in wanted] for row in one) == sorted(
        [row[name] for name in wanted] for row in more if row["stream"] == "a" and row["user"] != 2
    )
    assert {row["bits"] for row in more if row["stream"] == "b"}.isdisjoint(row["bits"] for row in one)


LAWS = st.sampled_from([ConstantSize(0.0), ConstantSize(2e4), ExponentialSize(3e4), LognormalSize(1e4)])
WORK = st.sampled_from([ConstantSize(0.0), ConstantSize(0.2), ExponentialSize(0.3)])
REQUESTS = st.builds(
    RequestStream,
    st.sampled_from(
        [
            PoissonArrivals(ConstantPerUser(1.0)),
            PeriodicArrivals(ConstantPerUser(0.7), 0.3),
            OnOffArrivals(ConstantPerUser(4.0), 1.0, 2.0),
        ]
    ),
    LAWS,
    WORK,
    LAWS,
    st.none() | st.sampled_from([0.05, 0.5, 3.0]),
)


@given(
    st.dictionaries(st.sampled_from(["a", "b"]), REQUESTS, min_size=1),
    st.sampled_from([part() for part in DISCIPLINES.values()]),
    st.integers(1, 2),
    st.none() | st.integers(1, 4),
)
@settings(max_examples=40, deadline=None)
def test_storms(streams: dict[str, RequestStream], discipline: Discipline, slots: int, capacity: int | None) -> None:
    """Every request ends once; Little's law; the server never idles while a job waits; nothing is left over."""
    servers = ServersDescription(1.0, slots, discipline, capacity)
    w = world(compute=replace(flat_compute(), servers=servers), users=3)
    traffic = Traffic(w.network, TrafficDescription(streams, 8.0))
    queue = w.network.server.processor.queue
    over = w.env.process(traffic.run(None))
    there_s = present_s = busy_s = 0.0
    while not over.processed:
        before_s, open_, present = w.env.now, len(traffic.ongoing), queue.present
        w.env.step()
        there_s += open_ * (w.env.now - before_s)
        present_s += present * (w.env.now - before_s)
        busy_s += min(present, slots) * (w.env.now - before_s)
    rows, jobs = w.rows("requests"), w.rows("computations")
    arrivals = {
        (name, user, number)
        for name, stream in streams.items()
        for user, instants in enumerate(stream.arrivals.of_users(range(3), 3, w.network.streams, name))
        for number, _ in enumerate(takewhile(lambda arrival: arrival.instant_s < 8.0, instants))
    }
    assert sorted((row["stream"], row["user"], row["number"]) for row in rows) == sorted(arrivals)
    assert sum(row["latency_s"] for row in rows) == pytest.approx(there_s)  # Little
    assert sum(job["end_s"] - job["start_s"] for job in jobs) == pytest.approx(present_s)
    assert sum(job["service_s"] for job in jobs) == pytest.approx(busy_s)  # work is conserved, utilisation is <= 1
    assert queue.present == 0
    assert not traffic.ongoing
    if isinstance(discipline, Fifo):
        begun = [(job["start_s"], job["start_s"] + job["wait_s"]) for job in jobs if not job["interrupted"]]
        assert all(a[1] <= b[1] + 1e-9 for a, b in zip(sorted(begun), sorted(begun)[1:], strict=False))
    for row in rows:
        assert row["outcome"] in ("served", "timed_out", "refused" if capacity else "served")
        assert row["start_s"] is None or row["arrival_s"] <= row["start_s"] <= row["end_s"]


def test_requests_of_a_device_that_goes_away_are_lost() -> None:
    """Away twice: one is cut off on the uplink, one cannot begin, one answer finds nobody."""
    network = replace(flat_network(2), faults=FaultsDescription(outages=(Outage(0, 2.0, 4.0), Outage(0, 5.5, 6.5))))
    stream = RequestStream(At(1.995, 3.0, 5.0, 7.0), ConstantSize(1e5), ConstantSize(1e11), ConstantSize(4e5))
    rows = ask(world(network), 10.0, x=stream)
    assert [(row["number"], row["outcome"], row["start_s"] is None) for row in rows] == [
        (0, "lost", True),
        (1, "lost", True),
        (2, "lost", False),
        (3, "served", False),
    ]
    assert rows[0]["end_s"] == 2.0
    assert rows[1]["latency_s"] == 0.0
