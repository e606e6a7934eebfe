"""Random cells with faults, deadlines, handover and batteries: bits, joules and time are conserved, nobody hangs."""

from typing import Any

import numpy as np
import pandas as pd
from tries import draws, tries

from runs import TINY, adjusted, frame, policy
from scenarios import ScenarioError, load, simulate
from scenarios.run import Result
from test_every_scheme import ALLOWED, given_up_at_the_end

ATTEMPTS = 20
"""Draws until a cell is valid: some schemes refuse some of this."""


def cell(rng: np.random.Generator, scheme: str, by: str) -> dict[str, Any]:
    """Overrides of the tiny scenario."""
    out: dict[str, Any] = {path.replace("__", "."): value for path, value in policy(by, scheme).items()}
    out |= {"learning.scheme": scheme, "learning.executor": "dry", "learning.stop.rounds": int(rng.integers(2, 8))}
    out["seed"] = int(rng.integers(10**6))
    if by == "deadline":
        out["learning.policy"]["deadline_s"] *= float(10 ** rng.uniform(-0.5, 0.5))
    if rng.random() < 0.7:
        on_s, off_s = 10 ** rng.uniform(-1.5, 0.5, 2)
        out["network.faults.availability"] = {"name": "on_off", "mean_on_s": float(on_s), "mean_off_s": float(off_s)}
    if rng.random() < 0.3:
        out["network.faults.mean_lifetime_s"] = float(10 ** rng.uniform(-1, 1))
    if rng.random() < 0.5:
        out["network.stations.placement"] = {"name": "hexagonal_grid", "rings": 1, "inter_site_distance_m": 60}
        out["network.mobility"] = {"model": {"name": "random_waypoint", "min_speed_kmh": 50, "max_speed_kmh": 500}}
        out["network.handover"] = {"time_to_trigger_s": 0.0, "interruption_s": float(rng.choice([0.0, 0.01, 0.05]))}
    if rng.random() < 0.5:
        charges_j = [float(charge_j) for charge_j in 10 ** rng.uniform(-3.5, 0, 4)]
        out["energy.battery"] = {"capacity_j": charges_j, "harvest_power_w": float(rng.choice([0.0, 0.01, 0.1]))}
    if rng.random() < 0.3:
        out["energy.tail"] = {"power_w": 0.5, "duration_s": float(10 ** rng.uniform(-3, 0))}
    if rng.random() < 0.2:
        out["network.sharing.uplink.fidelity"] = "slot"
    return out


@tries(400)
def test_storm_of_faults(number: int) -> None:
    rng, refusals = draws("faults", number), list[str]()
    while len(refusals) < ATTEMPTS:
        scheme, by = ALLOWED[rng.integers(len(ALLOWED))]
        try:
            result = simulate(load(TINY, adjusted(cell(rng, scheme, by))))
        except ScenarioError as refused:
            refusals.append(str(refused))
        else:
            break
    assert len(refusals) < ATTEMPTS, refusals
    assert "\n" not in "".join(refusals)
    assert result.status in ("complete", "stalled")
    assert_conserved(result, by)


def assert_conserved(result: Result, by: str) -> None:
    transfers, computations = frame(result, "transfers"), frame(result, "computations")
    rounds, outages, energy = frame(result, "rounds"), frame(result, "outages"), frame(result, "energy")
    assert ((transfers.lost >= 0) & (transfers.lost <= transfers.bits)).all()
    for direction, column in (("up", "uplink_bits"), ("down", "downlink_bits")):
        own = transfers[(transfers.direction == direction) & ~given_up_at_the_end(by, result)]
        np.testing.assert_allclose(rounds[column].sum(), ((own.bits - own.lost) / own.receivers).sum(), rtol=1e-9)
    for work, parts in ((transfers, ["wait_s", "airtime_s"]), (computations, ["wait_s", "service_s"])):
        np.testing.assert_allclose(work.end_s - work.start_s, work[parts].sum(axis=1), atol=1e-9)
    path = frame(result, "critical_path").groupby("round").duration_s.sum()
    np.testing.assert_allclose(path.reindex(rounds["round"], fill_value=0.0), rounds.latency_s, rtol=1e-9, atol=1e-12)
    assert (rounds.start_s.to_numpy()[1:] >= rounds.end_s.to_numpy()[:-1]).all()
    assert_energy(energy, transfers, computations, rounds)
    done = [transfers[["user", "start_s", "end_s"]]]
    done.append(computations.loc[computations.user.notna(), ["user", "start_s", "end_s"]])
    away = outages[~outages.cause.isin(["memory", "radio_link"])].fillna({"end_s": np.inf})
    both = pd.concat(done).merge(away, on="user", suffixes=("", "_away"))
    assert not ((both.start_s < both.end_s_away) & (both.end_s > both.start_s_away)).any()


def assert_energy(
    energy: pd.DataFrame, transfers: pd.DataFrame, computations: pd.DataFrame, rounds: pd.DataFrame
) -> None:
    """A device spends what its work takes; a battery holds what it held and got, less what was spent."""
    users = energy.groupby("user")
    for column, rows in (
        ("transmit_j", transfers[transfers.direction == "up"]),
        ("receive_j", transfers[transfers.direction == "down"]),
        ("compute_j", computations[computations.node_kind == "user"]),
    ):
        total = users[column].sum()
        own = rows.groupby("user").energy_j.sum().reindex(total.index, fill_value=0.0)
        np.testing.assert_allclose(total, own, rtol=1e-9, atol=1e-15)
    spent = energy[["transmit_j", "receive_j", "compute_j", "idle_j", "tail_j"]].sum(axis=1)
    per_round = spent.groupby(energy["round"]).sum().reindex(rounds["round"], fill_value=0.0)
    np.testing.assert_allclose(rounds.energy_j, per_round, rtol=1e-9, atol=1e-12)
    if energy.charge_j.notna().any():
        assert (energy.charge_j >= 0).all()
        before = users.charge_j.shift()
        change = (energy.charge_j - before)[before.notna()]
        np.testing.assert_allclose(change, (energy.harvested_j - spent)[before.notna()], rtol=1e-9, atol=1e-12)
