"""Edge servers that average for the aggregator: time by hand, values beside one server's, bits on the backhaul."""

from math import log2, pi
from typing import Any

import numpy as np
import pandas as pd
import pytest

from runs import TOKENS, frame, run
from scenarios.errors import ScenarioError
from scenarios.run import Result

LINE_BPS, DELAY_S, EDGE_FLOPS_PER_S = 2e6, 0.05, 5e8
PLACES_M = [[100, 0], [0, 100], [4900, 0], [5000, 100]]
WEIGHTS = 64 * 24 + 24 + 24 * 16 + 16 + 16 * 10 + 10
FRONT = 64 * 24 + 24

TWO_CELLS: dict[str, Any] = {
    "network.stations": {"placement": {"positions_m": [[0, 0], [5000, 0]]}, "height_m": 5, "noise_figure_db": 0},
    "network.users": {
        "count": 4,
        "placement": {"name": "list", "positions_m": PLACES_M},
        "height_m": 5,
        "noise_figure_db": 0,
        "tx_power_dbm": 20,
    },
    "network.channel": {"carrier_ghz": 1, "path_loss": "free_space", "fading": "none"},
    "network.sharing": {
        "uplink": {"bandwidth_mhz": 1, "scheduler": "fixed"},
        "downlink": {"bandwidth_mhz": 2, "scheduler": "fixed"},
    },
    "network.backhaul": {"rate_bps": LINE_BPS, "delay_s": DELAY_S},
    "compute.devices.flops_per_s": 1e8,
    "compute.stragglers": {"slowdown": "none"},
    "compute.edge_servers": {"flops_per_s": EDGE_FLOPS_PER_S},
    "learning.precision": "float64",
    "learning.partition": "iid",
    "learning.stop.rounds": 2,
}
"""Users 0 and 1 at station 0, 2 and 3 at station 1, each 100 m from it in free space; the aggregator in the core."""


def cells(scheme: str = "fedavg", servers: str = "nearest", **overrides: Any) -> Result:
    fields = {**TWO_CELLS, "learning.servers": servers, "learning.scheme": scheme, **overrides}
    return run(**{name.replace(".", "__"): value for name, value in fields.items()})


def backhaul(result: Result) -> pd.DataFrame:
    """Messages on the backhaul: what goes over a line once for both users of a cell is one."""
    rows = frame(result, "transfers").query("direction == 'backhaul'")
    rows = rows.assign(bits=rows.bits / rows.receivers, cell=rows.user // 2)
    return rows.groupby(["round", "end_s", "node", "cell"]).bits.sum().reset_index()


def losses(result: Result) -> np.ndarray[Any, Any]:
    return frame(result, "evaluations").query("metric == 'loss'").value.to_numpy()


def test_the_time_of_a_round() -> None:
    """Model to the edge, to the user, training, back, mean at the edge, over the line, mean of two means."""
    result = cells()
    bits = 64 * WEIGHTS
    gain = (299_792_458.0 / (4 * pi * 100 * 1e9)) ** 2
    noise_w_per_hz = 10 ** (-174 / 10) / 1000
    up_bps = 0.5e6 * log2(1 + 0.1 * gain / (noise_w_per_hz * 0.5e6))
    down_bps = 1e6 * log2(1 + 1.0 * gain / (noise_w_per_hz * 2e6))
    training = frame(result, "computations").query("kind == 'client_training'").flops.max()
    line_s = bits / LINE_BPS + DELAY_S
    expected_s = (
        line_s
        + bits / down_bps
        + training / 1e8
        + bits / up_bps
        + 2 * 2 * WEIGHTS / EDGE_FLOPS_PER_S
        + line_s
        + 2 * 2 * WEIGHTS / 1e9
    )
    np.testing.assert_allclose(frame(result, "rounds").latency_s, expected_s, rtol=1e-12)
    path = frame(result, "critical_path")
    np.testing.assert_allclose(path.groupby("round").duration_s.sum(), expected_s, rtol=1e-12)
    assert "wait" not in set(path.cause)


def test_bits_on_the_backhaul() -> None:
    """Twice the model for each server and round, where one server takes twice the model for each user."""
    near, far = backhaul(cells()), backhaul(cells(servers="central"))
    assert sorted(near.node) == sorted(["station0", "station1", "core", "core"] * 2)
    assert set(near.bits) == {64.0 * WEIGHTS}
    assert near.bits.sum() == 2 * (2 + 2) * 64 * WEIGHTS
    assert far.bits.sum() == 2 * (4 + 4) * 64 * WEIGHTS


def test_split_learning_sends_both_parts_but_no_activations() -> None:
    rows = frame(cells("sfl_v1"), "transfers")
    assert set(rows.query("direction == 'backhaul'").kind) == {"model"}
    assert set(rows.query("direction == 'up'").kind) == {"model", "activation"}
    near = backhaul(cells("sfl_v1")).query("round == 0")
    assert sorted(near[near.node != "core"].bits) == [64 * WEIGHTS] * 2
    assert sorted(near[near.node == "core"].bits) == [64 * (WEIGHTS - FRONT)] * 2 + [64 * FRONT] * 2
    assert set(frame(cells("sfl_v1", servers="central"), "transfers").query("direction == 'backhaul'").kind) > {"model"}
    steps = frame(cells("sfl_v1"), "computations").query("kind == 'server_step'")
    assert {(row.user, row.node) for row in steps.itertuples()} == {
        (0, "server0"), (1, "server0"), (2, "server1"), (3, "server1")
    }  # fmt: skip


@pytest.mark.parametrize(
    ("scheme", "weights"), [("fedavg", "by_samples"), ("fedprox", "uniform"), ("sfl_v1", "by_samples")]
)
def test_the_mean_of_means_is_the_mean(scheme: str, weights: str) -> None:
    """To rounding: the order of summation differs."""
    fields = {"learning.partition": {"name": "dirichlet", "alpha": 1.0, "min_samples": 8}}
    both = [
        cells(scheme, servers, **fields, **{"learning.scheme.weighting": weights}) for servers in ("nearest", "central")
    ]
    near, far = (losses(result) for result in both)
    np.testing.assert_allclose(near, far, rtol=1e-9)


@pytest.mark.parametrize(
    "places_m",
    [
        pytest.param([[100, 0], [4900, 0]], id="one user a server"),
        pytest.param([[100, 0], [0, 100], [50, 50]], id="all users at one server"),
    ],
)
def test_where_sums_are_the_same_so_are_all_bits(places_m: list[list[float]]) -> None:
    users = {
        **TWO_CELLS["network.users"],
        "count": len(places_m),
        "placement": {"name": "list", "positions_m": places_m},
    }
    near, far = (losses(cells("sfl_v1", each, **{"network.users": users})) for each in ("nearest", "central"))
    assert (near == far).all()


def test_adapters_too() -> None:
    needs = {**TOKENS, "learning.scheme": {"name": "tsflora", "tokens": 8}, "learning.stop.rounds": 1}
    near, far = (losses(cells(servers=each, **needs)) for each in ("nearest", "central"))
    np.testing.assert_allclose(near, far, rtol=1e-9)


def test_one_server_beside_the_aggregator() -> None:
    """The aggregator stands at station 0 and has users of its own; what station 1 sends crosses both lines."""
    result = cells(**{"compute.edge_servers.stations": [1], "compute.servers.station": 0})
    lines = (
        frame(result, "transfers").query("direction == 'backhaul' and round == 0 and user == 2").sort_values("end_s")
    )
    assert list(lines.node) == ["core", "station1", "core", "station0"]
    np.testing.assert_allclose(losses(result), losses(cells(servers="central")), rtol=1e-9)
    means = frame(result, "computations").query("kind == 'aggregation' and round == 0")
    assert list(zip(means.node, means.flops, strict=True)) == [("server1", 4 * WEIGHTS), ("server", 6 * WEIGHTS)]


def test_edge_servers_that_nobody_works_with_change_nothing() -> None:
    alone = cells(servers="central", **{"compute.edge_servers": None})
    beside = cells(servers="central")
    assert {name: table["sha256"] for name, table in alone.tables.items()} == {
        name: table["sha256"] for name, table in beside.tables.items()
    }


def test_without_a_backhaul_only_the_means_at_the_edge_take_longer() -> None:
    near, far = (cells(servers=each, **{"network.backhaul": None}) for each in ("nearest", "central"))
    difference_s = 2 * 2 * WEIGHTS / EDGE_FLOPS_PER_S + 2 * (2 - 4) * WEIGHTS / 1e9
    latencies_s = (frame(result, "rounds").latency_s for result in (near, far))
    np.testing.assert_allclose(-np.subtract(*reversed([*latencies_s])), difference_s, rtol=1e-9)


@pytest.mark.parametrize("policy", [{"name": "first_k", "k": 2}, {"name": "deadline", "deadline_s": 0.5}])
def test_copies_that_come_too_late_are_withdrawn(policy: dict[str, Any]) -> None:
    """The round is over when station 0 is done; the copy on its way to station 1 is lost, and the line is free."""
    slow = {"compute.edge_servers.stations": [1], "compute.servers.station": 0, "network.backhaul.delay_s": 30.0}
    result = cells(**slow, **{"learning.policy": policy})
    rounds = frame(result, "rounds")
    assert list(rounds.participants) == [2, 2]
    rows = frame(result, "transfers").query("direction == 'backhaul'")
    assert list(zip(rows["round"], rows.user, rows.node, strict=True)) == [
        (number, user, "core") for number in (0, 1) for user in (2, 3)
    ]
    assert (rows.lost == 64 * WEIGHTS).all()
    np.testing.assert_allclose(rows.end_s, np.repeat(rounds.end_s - 2 * 2 * WEIGHTS / 1e9, 2), rtol=1e-9)


def test_a_user_keeps_its_server_for_a_round() -> None:
    """It drives from one cell into the other and begins the next round with the server there."""
    law = {"name": "straight", "radius_m": 5200, "heading_deg": 0, "speed_kmh": 15000}
    moving = {"network.mobility": {"model": law, "interval_s": 0.01}, "network.handover": {"time_to_trigger_s": 0.05}}
    result = cells("sfl_v1", **moving, **{"learning.stop.rounds": 6})
    steps = frame(result, "computations").query("kind == 'server_step'")
    assert (steps.groupby(["round", "user"]).node.nunique() == 1).all()
    assert steps.groupby("user").node.nunique().max() == 2


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        ({"learning.scheme": "psl"}, "the scheme has a single server part; servers must be central"),
        ({"learning.policy": "asynchronous"}, "edge servers average in rounds; with servers nearest, wait_for_all, "),
        ({"compute.edge_servers": None}, "learning.servers: no station has a server; give compute.edge_servers"),
    ],
)
def test_what_cannot_be_is_refused(overrides: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ScenarioError, match=sentence):
        cells(**overrides)


@pytest.mark.parametrize("scheme", ["fedavg", "sfl_v1"])
@pytest.mark.parametrize("policy", ["wait_for_all", "deadline", "first_k"])
def test_faults_and_handovers_on_the_way(scheme: str, policy: str) -> None:
    """Devices come, go, die and drive from cell to cell: the run ends, its paths have no gaps, and bits add up."""
    policies = {"deadline": {"name": "deadline", "deadline_s": 0.6}, "first_k": {"name": "first_k", "k": 2}}
    result = cells(
        scheme,
        **{
            "network.faults": {"availability": {"name": "on_off", "mean_on_s": 1.0, "mean_off_s": 0.4}},
            "network.mobility.model": {"name": "straight", "radius_m": 5200, "speed_kmh": 9000},
            "network.mobility.interval_s": 0.05,
            "network.handover": {"time_to_trigger_s": 0.05},
            "learning.policy": policies.get(policy, policy),
            "learning.executor": "dry",
            "learning.stop.rounds": 8,
        },
    )
    rounds, transfers = frame(result, "rounds"), frame(result, "transfers")
    assert result.status == "complete"
    assert len(rounds) == 8
    assert (rounds.participants > 0).sum() > 4
    assert rounds.dropped.sum() > 0
    assert ((transfers.lost >= 0) & (transfers.lost <= transfers.bits)).all()
    np.testing.assert_allclose(transfers.end_s - transfers.start_s, transfers.wait_s + transfers.airtime_s, atol=1e-9)
    path = frame(result, "critical_path").groupby("round").duration_s.sum()
    np.testing.assert_allclose(path.reindex(rounds["round"], fill_value=0.0), rounds.latency_s, rtol=1e-9)
    means = transfers[(transfers.direction == "backhaul") & (transfers.lost == 0) & (transfers.node == "core")]
    models = transfers[(transfers.direction == "up") & (transfers.kind == "model") & (transfers.lost == 0)]
    assert set(zip(models["round"], models.user, strict=True)) <= set(zip(means["round"], means.user, strict=True))


@pytest.mark.parametrize("share", [0.1, 0.6])
def test_a_deadline_is_for_users_and_what_servers_make_of_it_comes_after(share: float) -> None:
    """Means of edge servers cross the lines after it, where there are any; all else is over by then."""
    deadline_s = share * float(frame(cells(), "rounds").latency_s.max())
    policy = {"learning.policy": {"name": "deadline", "deadline_s": deadline_s}, "learning.executor": "dry"}
    result = cells(**policy)
    rounds, jobs, sent = (frame(result, name) for name in ("rounds", "computations", "transfers"))
    means = (sent.direction == "backhaul") & (sent.node == "core")
    others = pd.concat([jobs[jobs.kind != "aggregation"], sent[~means]])
    closes_s = (rounds.start_s + deadline_s).to_numpy()[others["round"]]
    assert (others.end_s <= closes_s + 1e-12).all()
    assert means.any() == rounds.participants.any() == (share > 0.5)
    if share < 0.5:
        assert rounds.latency_s.to_numpy() == pytest.approx(deadline_s)
