"""What is done for a device that goes away is given up at that instant, wherever it is, and others have its place."""

from dataclasses import replace

import numpy as np
import pytest
from worlds import At, World, ask, flat_compute, flat_network, world

from netsim.description import (
    BackhaulDescription,
    EdgeServersDescription,
    FaultsDescription,
    RequestStream,
    ServersDescription,
)
from netsim.faults import Outage
from netsim.queueing import DISCIPLINES, Batching, Discipline, Fifo
from netsim.traffic.sizes import ConstantSize

REQUEST = RequestStream(At(0.0, 0.0), ConstantSize(4e6), ConstantSize(2.0), ConstantSize(4e6))
"""Two of user 0 that come at once: some of each is in a queue wherever the other is served."""
OTHER = RequestStream(At(0.0, user=1), ConstantSize(1e6), ConstantSize(2.0), ConstantSize(1e6))


def cell(discipline: Discipline, *outages: Outage) -> World:
    """Air, a line of 4 Mbit/s with a delay and a server of 1 FLOP/s, and the same on the way back.

    A line cannot send in batches; it is first come, first served then.
    """
    line = Fifo() if isinstance(discipline, Batching) else discipline
    network = replace(
        flat_network(2),
        backhaul=BackhaulDescription(4e6, 0.5, line),
        faults=FaultsDescription(outages=outages),
    )
    return world(network, replace(flat_compute(), servers=ServersDescription(1.0, discipline=discipline)))


@pytest.mark.parametrize("discipline", [part() for part in DISCIPLINES.values()], ids=list(DISCIPLINES))
@pytest.mark.parametrize("until_s", [None, 100.0])
def test_at_whatever_instant_it_goes(discipline: Discipline, until_s: float | None) -> None:
    undisturbed = cell(discipline)
    ends_s = [row["end_s"] for row in ask(undisturbed, 1.0, a=REQUEST, b=OTHER)]
    alone_s = ask(cell(discipline), 1.0, b=OTHER)[0]["end_s"]
    stages = set()
    for leaves_s in np.linspace(0.0, max(ends_s), 60)[1:-1].tolist():
        w = cell(discipline, Outage(0, leaves_s, until_s))
        *own, other = sorted(ask(w, 1.0, a=REQUEST, b=OTHER), key=lambda row: row["user"])
        for row in own:
            assert (row["outcome"], row["end_s"]) == ("lost", leaves_s) or row["end_s"] < leaves_s
        for table in ("transfers", "computations"):
            rows = [row for row in w.rows(table) if row["user"] == 0]
            assert all(row["end_s"] <= leaves_s for row in rows)
            stages |= {(table, row["node"], row["start_s"] + row["wait_s"] < leaves_s) for row in rows if stopped(row)}
        assert other["outcome"] == "served"
        assert alone_s - 1e-9 <= other["end_s"] <= max(ends_s) + 1e-9
    places = {("transfers", "station0"), ("transfers", "core"), ("computations", "server")}
    assert {stage[:2] for stage in stages} == places
    waited = {stage[:2] for stage in stages if not stage[2]}
    assert waited == places or discipline == DISCIPLINES["processor_sharing"]()


def stopped(row: dict[str, float]) -> bool:
    return bool(row["interrupted"] if "interrupted" in row else row["lost"])


def test_the_place_at_the_server_is_free_at_once() -> None:
    """User 0 is served from 0 s and goes at 5 s; user 1 has waited from 1 s on."""
    compute = replace(flat_compute(), servers=ServersDescription(1.0))
    w = world(replace(flat_network(2), faults=FaultsDescription(outages=(Outage(0, 5.0, 50.0),))), compute)
    work = ConstantSize(10.0)
    lost, served = ask(w, 30.0, a=RequestStream(At(0.0), flops=work), b=RequestStream(At(1.0, user=1), flops=work))
    assert (lost["outcome"], lost["end_s"]) == ("lost", 5.0)
    assert (served["outcome"], served["end_s"]) == ("served", 15.0)


def test_at_a_server_of_the_edge_too() -> None:
    compute = replace(flat_compute(), edge_servers=EdgeServersDescription(1.0))
    w = world(replace(flat_network(2), faults=FaultsDescription(outages=(Outage(0, 5.0, 50.0),))), compute)
    (row,) = ask(w, 30.0, a=RequestStream(At(0.0), flops=ConstantSize(10.0)))
    assert (row["node"], row["outcome"], row["end_s"]) == ("server0", "lost", 5.0)
