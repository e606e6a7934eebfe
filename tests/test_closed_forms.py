"""Stage times, round latency and energy of whole runs against the closed forms that papers use.

N equal users on a circle, fixed shares, no fading, no stragglers: the five stages of split learning, with the sizes
of an MLP worked out here by hand. Then shifted-exponential stragglers against the order statistics of their law.
"""

from dataclasses import dataclass
from math import cos, log2, pi, sin, sqrt
from typing import Any

import numpy as np
import pandas as pd
import pytest

from runs import frame, run
from scenarios.run import Result

USERS, BATCH, STEPS, ROUNDS = 4, 8, 3, 3
INPUTS, CUT, HIDDEN, CLASSES = 64, 24, 16, 10  # units of the tiny scenario's MLP
CIRCLE = [[100 * cos(2 * pi * i / USERS), 100 * sin(2 * pi * i / USERS)] for i in range(USERS)]
EXACT = 1e-9

EQUAL: dict[str, Any] = {
    "network__users__placement": CIRCLE,
    "network__channel__path_loss": "free_space",
    "network__channel__fading": "none",
    "network__sharing__uplink__scheduler": "fixed",
    "network__sharing__downlink__scheduler": "fixed",
    "compute__devices__flops_per_s": 1e8,
    "compute__stragglers__slowdown": "none",
    "learning__partition": "iid",
    "learning__executor": "dry",
    "learning__stop__rounds": ROUNDS,
    "energy__idle_power_w": 0.02,
}


def run_equal(**overrides: Any) -> Result:
    return run(**{**EQUAL, **overrides})


@dataclass(frozen=True)
class Stages:
    """What one user's stages take, in seconds, by hand."""

    forward = BATCH * 2 * INPUTS * CUT / 1e8
    backward = BATCH * 2 * INPUTS * CUT / 1e8  # the first layer has no input gradient
    server = BATCH * 3 * 2 * (CUT * HIDDEN + HIDDEN * CLASSES) / 1e9
    front_bits = 32 * (INPUTS * CUT + CUT)
    back_bits = 32 * (CUT * HIDDEN + HIDDEN + HIDDEN * CLASSES + CLASSES)
    aggregation = 2 * USERS * (INPUTS * CUT + CUT) / 1e9

    @property
    def uplink_bps(self) -> float:
        """A user's whole power in its quarter of 1 MHz; noise figure 5 dB at the station."""
        share_hz = 1e6 / USERS
        return share_hz * log2(1 + 10 ** (0.1 * (23 - 30)) * self.gain / (self.noise * 10**0.5 * share_hz))

    @property
    def downlink_bps(self) -> float:
        """A station's power over the whole band; noise figure 9 dB at the user."""
        return 1e6 / USERS * log2(1 + 1.0 * self.gain / (self.noise * 10**0.9 * 1e6))

    @property
    def gain(self) -> float:
        """Friis, over the slanted distance between antennas at 10 m and 1.5 m."""
        distance = sqrt(100**2 + 8.5**2)
        return (299_792_458 / (4 * pi * 3.5e9 * distance)) ** 2

    noise = 10 ** (-17.4 - 3)  # W/Hz

    @property
    def smashed_data(self) -> float:
        return BATCH * (32 * CUT + 64) / self.uplink_bps

    @property
    def gradient(self) -> float:
        return BATCH * 32 * CUT / self.downlink_bps

    @property
    def model_up(self) -> float:
        return self.front_bits / self.uplink_bps

    @property
    def model_down(self) -> float:
        return self.front_bits / self.downlink_bps


stages = Stages()


def latencies(result: Result) -> np.ndarray:
    return frame(result, "rounds").latency_s.to_numpy()


def times(table: pd.DataFrame, kind: str, column: str) -> np.ndarray:
    return table[table.kind == kind][column].to_numpy()


def test_every_stage_of_joint_split_learning() -> None:
    result = run_equal(learning__scheme="sfl")
    transfers, computations = frame(result, "transfers"), frame(result, "computations")
    up, down = (transfers[transfers.direction == each] for each in ("up", "down"))
    for table, kind, column, expected in (
        (computations, "client_forward", "service_s", stages.forward),
        (up, "activation", "airtime_s", stages.smashed_data),
        (computations, "server_step", "service_s", stages.server),
        (down, "gradient", "airtime_s", stages.gradient),
        (computations, "client_backward", "service_s", stages.backward),
        (up, "model", "airtime_s", stages.model_up),
        (down, "model", "airtime_s", stages.model_down),
        (computations, "aggregation", "service_s", stages.aggregation),
    ):
        measured = times(table, kind, column)
        assert len(measured) == ROUNDS * (1 if kind == "aggregation" else USERS)
        np.testing.assert_allclose(measured, expected, rtol=EXACT, err_msg=kind)
    waits = times(computations, "server_step", "wait_s").reshape(ROUNDS, USERS)
    np.testing.assert_allclose(np.sort(waits), np.tile(stages.server * np.arange(USERS), (ROUNDS, 1)), atol=1e-12)


def test_round_latency_of_joint_split_learning() -> None:
    """All arrive together, so the last one's gradient leaves the server after N service times."""
    chain = stages.forward + stages.smashed_data + USERS * stages.server + stages.gradient + stages.backward
    expected = stages.model_down + chain + stages.model_up + stages.aggregation
    np.testing.assert_allclose(latencies(run_equal(learning__scheme="sfl")), expected, rtol=EXACT)
    never = latencies(run_equal(learning__scheme="psl"))
    np.testing.assert_allclose(never, [stages.model_down + chain, chain, chain], rtol=EXACT)


def test_round_latency_of_split_federated_learning() -> None:
    """With a server slot for each user nobody queues: N times the five stages, then both averages."""
    chain = stages.forward + stages.smashed_data + stages.server + stages.gradient + stages.backward
    averages = stages.aggregation + 2 * USERS * stages.back_bits / 32 / 1e9
    scheme = {"name": "sfl_v1", "local_steps": STEPS}
    result = run_equal(learning__scheme=scheme, compute__servers__slots=USERS)
    expected = stages.model_down + STEPS * chain + stages.model_up + averages
    np.testing.assert_allclose(latencies(result), expected, rtol=EXACT)


def test_round_latency_of_sequential_split_learning() -> None:
    """The sum over users: only one is active, and with fixed shares that makes it no faster."""
    chain = stages.forward + stages.smashed_data + stages.server + stages.gradient + stages.backward
    result = run_equal(learning__scheme={"name": "sl", "local_steps": STEPS})
    expected = USERS * (stages.model_down + STEPS * chain + stages.model_up)
    np.testing.assert_allclose(latencies(result), expected, rtol=EXACT)


def test_round_latency_of_federated_averaging() -> None:
    bits = stages.front_bits + stages.back_bits
    # forward, weight gradients, and input gradients above the first layer
    flops = BATCH * 2 * (2 * INPUTS * CUT + 3 * (CUT * HIDDEN + HIDDEN * CLASSES))
    result = run_equal(learning__scheme={"name": "fedavg", "local_steps": STEPS})
    expected = bits / stages.downlink_bps + STEPS * flops / 1e8 + bits / stages.uplink_bps
    np.testing.assert_allclose(latencies(result), expected + 2 * USERS * bits / 32 / 1e9, rtol=EXACT)


def test_energy_of_every_user() -> None:
    """Transmit, receive and compute powers times their durations, and idle power for the rest of the round."""
    result = run_equal(learning__scheme="sfl")
    energy = frame(result, "energy")
    latency = latencies(result)[0]
    up, down = stages.smashed_data + stages.model_up, stages.gradient + stages.model_down
    computing = stages.forward + stages.backward
    work = 2 * BATCH * 2 * INPUTS * CUT
    clock_hz = 1e8 / 4
    for column, expected in (
        ("transmit_j", up * (10 ** (0.1 * (23 - 30)) / 0.35 + 0.0982)),
        ("receive_j", down * 0.1125),
        ("compute_j", 1e-28 * clock_hz**2 * work / 4),
        ("idle_j", 0.02 * (latency - up - down - computing)),
    ):
        np.testing.assert_allclose(energy[column], expected, rtol=EXACT, err_msg=column)


def test_doubled_bandwidth_at_fixed_snr_halves_the_transfers() -> None:
    """3 dB more power in twice the band leaves the signal-to-noise ratio as it is."""
    double = 10 * np.log10(2)
    wide = {
        "network__sharing__uplink__bandwidth_mhz": 2,
        "network__sharing__downlink__bandwidth_mhz": 2,
        "network__users__tx_power_dbm": 23 + double,
        "network__stations__tx_power_dbm": 30 + double,
    }
    narrow, wider = (frame(run_equal(learning__scheme="sfl", **each), "transfers") for each in ({}, wide))
    np.testing.assert_allclose(wider.mean_snr_db, narrow.mean_snr_db, atol=1e-9)
    np.testing.assert_allclose(wider.airtime_s, narrow.airtime_s / 2, rtol=EXACT)


def test_shifted_exponential_stragglers_follow_their_order_statistics() -> None:
    """A synchronous round waits for the largest of N slowdowns: on average shift + H_N / mu."""
    rounds, shift, rate = 2000, 1.0, 2.0
    law = {"name": "shifted_exponential", "shift": shift, "rate": rate}
    result = run_equal(
        learning__scheme={"name": "fedavg", "local_steps": 1},
        compute__stragglers__slowdown=law,
        learning__stop__rounds=rounds,
        learning__evaluate_every=rounds,
    )
    latency = latencies(result)
    bits = stages.front_bits + stages.back_bits
    fixed = bits / stages.downlink_bps + bits / stages.uplink_bps + 2 * USERS * bits / 32 / 1e9
    nominal = BATCH * 2 * (2 * INPUTS * CUT + 3 * (CUT * HIDDEN + HIDDEN * CLASSES)) / 1e8
    slowest = (latency - fixed) / nominal
    harmonic = sum(1 / k for k in range(1, USERS + 1))
    error = slowest.std(ddof=1) / sqrt(rounds)
    assert slowest.mean() == pytest.approx(shift + harmonic / rate, abs=4 * error)  # wrong by chance once in 15,000
    assert slowest.min() > shift
    spread = sqrt(sum(1 / k**2 for k in range(1, USERS + 1))) / rate  # standard deviation of the largest of N
    assert slowest.std(ddof=1) == pytest.approx(spread, rel=0.15)


def test_the_tail_of_a_round_is_attributed_to_straggling() -> None:
    law = {"name": "list", "factors": [1, 1, 1, 5]}
    result = run_equal(learning__scheme={"name": "fedavg", "local_steps": 1}, compute__stragglers__slowdown=law)
    path = frame(result, "critical_path")
    straggle = path[path.cause == "straggle"]
    nominal = BATCH * 2 * (2 * INPUTS * CUT + 3 * (CUT * HIDDEN + HIDDEN * CLASSES)) / 1e8
    assert (straggle.user == 3).all()
    np.testing.assert_allclose(straggle.duration_s, 4 * nominal, rtol=EXACT)
