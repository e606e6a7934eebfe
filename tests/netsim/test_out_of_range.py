"""Links over which nothing gets through: for ever, which is known at once and said, for a while, or with bad luck."""

from collections.abc import Sequence
from dataclasses import replace
from math import log10, pi
from pathlib import Path

import numpy as np
import pytest
import simpy
from worlds import Process, World, flat_network, world

from netsim import deadlock
from netsim.description import BandDescription, MobilityDescription, NetworkDescription, SharingDescription
from netsim.geometry import Explicit
from netsim.mobility import RecordedPaths, Straight
from netsim.radio import fading, jakes, selective
from netsim.radio.fading import FADINGS, Fading, Nakagami, NoFading, Rayleigh, Rician
from netsim.radio.fidelity import Fidelity, Flow, Slots
from netsim.radio.rate import AdaptiveModulation, FiniteBlocklength, RateLaw, Shannon
from netsim.radio.scheduling import Controlled, EqualShares, MaxRate, ProportionalFair, RoundRobin, SchedulingPolicy
from netsim.streams import LARGEST_EXPONENTIAL, LARGEST_UNIFORM
from netsim.values import ListedPerUser

FREE_SPACE_DB = 20 * log10(4 * pi * 100 * 1e9 / 299_792_458.0)
NOISE_DBM = -174 + 60
"""In the megahertz of the uplink."""
FIDELITIES = [Flow(), Slots(1e-3, 10)]
BLOCKS_BITS = AdaptiveModulation(block_bits=300)
"""Near what a slot of ten resource blocks carries at the lowest code."""


def network(
    snrs_db: Sequence[float],
    fidelity: Fidelity,
    law: SchedulingPolicy | None = None,
    rate: RateLaw = BLOCKS_BITS,
    fading: Fading | None = None,
) -> NetworkDescription:
    """Users 100 m away in free space, each with its ratio on the whole uplink of 1 MHz."""
    flat = flat_network(len(snrs_db))
    powers = ListedPerUser(tuple(snr_db + FREE_SPACE_DB + NOISE_DBM for snr_db in snrs_db))
    band = BandDescription(1.0, law or EqualShares(), fidelity)
    return replace(
        flat,
        users=replace(flat.users, tx_power_dbm=powers),
        channel=replace(flat.channel, rate=rate, fading=fading or NoFading()),
        sharing=SharingDescription(band, band),
    )


def send(w: World, user: int, bits: float = 1e4, start_s: float = 0.0) -> simpy.Process:
    def body() -> Process:
        yield w.env.timeout(start_s)
        try:
            yield from w.network.users[user].send(w.network.server, bits, "x")
        except simpy.Interrupt as interrupt:
            return interrupt.cause

    return w.env.process(body())


@pytest.mark.parametrize("fidelity", FIDELITIES)
@pytest.mark.parametrize("law", [EqualShares(), RoundRobin(), MaxRate(), ProportionalFair()])
@pytest.mark.parametrize("fading", [NoFading(), Rayleigh(0.01), Rician(), Nakagami()])
def test_who_is_out_of_range_is_named_at_once(fidelity: Fidelity, law: SchedulingPolicy, fading: Fading) -> None:
    """Fading adds at most 15.7 dB (Rayleigh), so nothing ever arrives; who is in range is served, and is not named."""
    w = world(network([-42.0, 30.0], fidelity, law, fading=fading))
    waiting = [send(w, 0), send(w, 1)]
    w.env.run()
    assert w.env.now < 0.1
    assert [row["user"] for row in w.rows("transfers")] == [1]
    sentence = deadlock.describe(w.env)
    mean = "" if fading == NoFading() else "mean "
    lowest_db = 10 * log10(BLOCKS_BITS.min_snr)
    assert sentence.startswith(
        f"user 0 is out of range: {mean}SNR -42 dB, the lowest code needs about {lowest_db:.0f} dB; nothing is going to"
    )
    assert "user 1 is out of range" not in sentence
    assert waiting[0].is_alive


@pytest.mark.parametrize("fidelity", FIDELITIES)
def test_codewords_of_finite_length_have_a_range_too(fidelity: Fidelity) -> None:
    w = world(network([-30.0], fidelity, rate=FiniteBlocklength()))
    waiting = send(w, 0)
    w.env.run()
    assert waiting.is_alive
    assert deadlock.describe(w.env).startswith(
        "user 0 is out of range: SNR -30 dB, the lowest code needs about -11 dB; "
    )


@pytest.mark.parametrize("fidelity", FIDELITIES)
def test_a_broadcast_names_the_receiver_that_is_out_of_range(fidelity: Fidelity) -> None:
    near = network([0.0, 0.0], fidelity)
    stations = replace(near.stations, tx_power_dbm=FREE_SPACE_DB + NOISE_DBM)
    users = replace(near.users, placement=Explicit(((0.0, 100.0), (1e5, 0.0))))
    w = world(replace(near, stations=stations, users=users))
    waiting = w.env.process(w.network.server.broadcast(w.network.users, 1e4, "x"))
    w.env.run()
    assert waiting.is_alive
    assert deadlock.describe(w.env).startswith("user 1 is out of range: SNR -60 dB, ")


@pytest.mark.parametrize("fidelity", FIDELITIES)
def test_a_user_whose_power_sits_in_half_the_band_may_be_in_range_again(fidelity: Fidelity) -> None:
    """Alone on the band nothing gets through; while another sends, the ratio is 3 dB higher, and something does."""
    w = world(network([-12.0, 0.0], fidelity, rate=FiniteBlocklength()))
    waiting = [send(w, 0, 200.0), send(w, 1, 1e6, start_s=1.0)]
    w.env.run(w.env.all_of(waiting))
    first = w.rows("transfers")[0]
    assert (first["user"], first["lost"]) == (0, 0.0)
    assert 1.0 < first["end_s"] < 1.5


@pytest.mark.parametrize("fidelity", FIDELITIES)
def test_a_controller_brings_a_user_into_range(fidelity: Fidelity) -> None:
    w = world(network([-20.0], fidelity, Controlled()))
    waiting = send(w, 0, 200.0)
    w.at(5.0, lambda: w.network.users[0].uplink.allocate(0.1))
    w.env.run(waiting)
    (row,) = w.rows("transfers")
    assert row["lost"] == 0
    assert 5.0 < row["end_s"] < 5.1


@pytest.mark.parametrize("fidelity", FIDELITIES)
def test_who_walks_into_range_is_served_though_nothing_else_happens(fidelity: Fidelity) -> None:
    """On a way of 20 km through the cell, at 20 m/s: the ratio is 20 dB at 100 m and -20 dB at 10 km."""
    still = network([20.0], fidelity, rate=FiniteBlocklength())
    users = replace(still.users, placement=Explicit(((10_000.0, 5.0),)))
    w = world(replace(still, users=users, mobility=MobilityDescription(Straight(10_001.0, 72.0, 180.0), 1.0)))
    waiting = send(w, 0, 10.0)
    w.env.run(waiting)
    (row,) = w.rows("transfers")
    assert row["lost"] == 0
    reached_m = 100 * 10 ** ((20 - 10 * log10(FiniteBlocklength().min_snr)) / 20)
    assert row["end_s"] == pytest.approx((10_000 - reached_m) / 20, abs=3)


@pytest.mark.parametrize("fidelity", FIDELITIES)
def test_who_has_walked_out_of_range_and_stays_there_is_named(fidelity: Fidelity, tmp_path: Path) -> None:
    """Motion is over, and the world comes to rest."""
    paths = tmp_path / "paths.csv"
    paths.write_text("user,time_s,x_m,y_m\n0,0,10000,0\n0,3.5,0,100000\n")
    still = network([20.0], fidelity)
    users = replace(still.users, placement=Explicit(((10_000.0, 0.0),)))
    w = world(replace(still, users=users, mobility=MobilityDescription(RecordedPaths(str(paths)), 1.0)))
    waiting = send(w, 0)
    w.env.run()
    assert waiting.is_alive
    assert w.env.now < 10
    assert deadlock.describe(w.env).startswith("user 0 is out of range: SNR -40 dB, ")


@pytest.mark.parametrize(
    ("law", "uniform"),
    [(Rayleigh(), 1 - LARGEST_UNIFORM), (Rician(3.0), 1 - LARGEST_UNIFORM), (Nakagami(0.7), LARGEST_UNIFORM)],
)
def test_the_largest_gain_is_that_of_the_luckiest_draw(
    law: Fading, uniform: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fading, "uniforms", lambda key, index: np.full(len(index), uniform))
    monkeypatch.setattr(fading, "exponentials", lambda key, index: np.full(len(index), -np.log(uniform)))
    gains = law.at(1e9, np.zeros(1))
    assert gains.power_gains(0, np.arange(3)) == pytest.approx(gains.max_gain, rel=1e-12)
    assert pytest.approx(-np.log(1 - LARGEST_UNIFORM)) == LARGEST_EXPONENTIAL


@pytest.mark.parametrize("law", [jakes.Jakes(), *(selective.TappedDelayLine(profile) for profile in "ABCDE")])
def test_the_largest_gain_is_that_of_waves_in_phase(law: Fading, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (jakes, selective):
        monkeypatch.setattr(module, "uniforms", lambda key, index: np.zeros(len(index)))
    gains = law.at(1e9, np.zeros(1))
    at_once = gains.power_gains(0, np.array([-0.5]))  # type: ignore[arg-type]  # time zero, where all phases are alike
    assert at_once == pytest.approx(gains.max_gain, rel=1e-12)


@pytest.mark.parametrize("name", [name for name in FADINGS if name != "none"])
def test_no_gain_is_above_the_largest(name: str) -> None:
    gains = FADINGS[name]().at(3.5e9, np.linspace(-1e6, 1e6, 3))
    assert gains.power_gains(7, np.arange(20_000)).max() <= gains.max_gain


@pytest.mark.parametrize(
    "law",
    [
        FiniteBlocklength(),
        FiniteBlocklength(1, 1e-300),
        AdaptiveModulation(),
        AdaptiveModulation("qam64_low_se", attempts=1),
        AdaptiveModulation("qam256", block_bits=24),
    ],
)
def test_up_to_the_least_ratio_nothing_gets_through_and_above_it_something_does(law: RateLaw) -> None:
    least = law.min_snr
    assert not law.efficiency(np.geomspace(least * 1e-6, least, 50)).any()
    assert law.efficiency(np.array([least * 1.001]))[0] > 0


def test_shannon_reaches_everywhere() -> None:
    assert Shannon().min_snr == 0


@pytest.mark.parametrize("limit", [0, 3, 32])
def test_a_radio_link_fails_when_a_block_has_been_sent_anew_as_often_as_may_be(limit: int) -> None:
    """In range of a block in ten millions by its fading: eight blocks are under way, and each is sent four times."""
    w = world(network([-29.0], Slots(1e-3, 10, max_retransmissions=limit), fading=Rayleigh(0.01)))
    waiting = send(w, 0, 1e6)
    cause = w.env.run(waiting)
    (row,) = w.rows("transfers")
    attempts = 4 * 8 * limit + 3 * 8 + 1  # of the first block to be lost once too often
    assert (row["lost"], row["attempts"], row["failed"]) == (1e6, attempts, attempts)
    assert row["end_s"] == pytest.approx(1e-3 * attempts)
    assert cause == "the radio link of user 0 has failed"
    assert w.rows("outages") == [
        {"user": 0, "start_s": row["end_s"], "end_s": row["end_s"], "cause": "radio_link", "site": None}
    ]


def test_without_a_limit_blocks_are_sent_anew_for_ever() -> None:
    w = world(network([-29.0], Slots(1e-3, 10, max_retransmissions=None), fading=Rayleigh(0.01)))
    waiting = send(w, 0, 1e6)
    w.env.run(1.2)
    assert waiting.is_alive
    assert not w.rows("transfers")


def test_a_broadcast_whose_radio_link_fails_reaches_nobody() -> None:
    still = network([0.0, 0.0], Slots(1e-3, 10, max_retransmissions=0), fading=Rayleigh(0.01))
    w = world(replace(still, stations=replace(still.stations, tx_power_dbm=FREE_SPACE_DB + NOISE_DBM - 29.0)))
    reached = w.env.run(w.env.process(w.network.server.broadcast(w.network.users, 1e4, "x")))
    assert reached == []
    assert [(row["user"], row["lost"]) for row in w.rows("transfers")] == [(0, 1e4), (1, 1e4)]
    assert [row["user"] for row in w.rows("outages")] == [0, 1]
    assert w.network.users[0].downlink.lock.count == 0
