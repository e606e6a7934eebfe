"""Storms of users that move: arrivals, interruptions, outages and handovers lose and double nothing."""

from collections import defaultdict
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recomputed import assert_energy
from test_handover import moving
from worlds import ENERGY, Process, interrupted, listen, world

from netsim.description import BandDescription, FaultsDescription, SharingDescription
from netsim.energy import RadioTail
from netsim.faults import OnOffAvailability
from netsim.handover import Handover
from netsim.radio.fading import Rayleigh
from netsim.radio.fidelity import Fidelity, Flow, Slots
from netsim.radio.interference import Interference
from netsim.radio.scheduling import EqualShares, FixedShares

actions = st.lists(
    st.tuples(
        st.integers(0, 3),
        st.sampled_from(["up", "up", "down", "all", "rateless"]),
        st.floats(0, 3),
        st.floats(1e3, 2e7),
        st.one_of(st.none(), st.floats(0.01, 3)),
    ),
    min_size=1,
    max_size=8,
)


@settings(deadline=None, max_examples=40)
@given(
    actions,
    st.sampled_from([0.0, 0.07, 0.6]),
    st.booleans(),
    st.sampled_from([Flow(), Slots(0.01, 4)]),
    st.sampled_from(
        [
            None,
            FaultsDescription(OnOffAvailability(2.0, 0.3)),
            FaultsDescription(OnOffAvailability(2.0, 0.3), mean_lifetime_s=4.0),
        ]
    ),
    st.one_of(st.none(), st.builds(RadioTail, st.floats(0.1, 2.0), st.floats(0.01, 3.0))),
)
def test_storms_lose_and_double_nothing(
    storm: list[tuple[int, str, float, float, float | None]],
    interruption_s: float,
    fixed: bool,
    fidelity: Fidelity,
    faults: FaultsDescription | None,
    tail: RadioTail | None,
) -> None:
    """Arrivals, interruptions, interference, fading, outages, handovers: rows, meters and bands agree, and all ends.

    Slot by slot with fewer bits: users drive on, and a long broadcast would last until they are hundreds of miles away.
    """
    scale = 1.0 if fidelity == Flow() else 0.05
    handover = Handover(0.5, 0.1, interruption_s)
    starts = ((50.0, 0.0), (180.0, 20.0), (390.0, -30.0), (210.0, 150.0))
    law = FixedShares() if fixed else EqualShares()
    network = moving(starts, 720.0, 20.0, handover, law, Interference())
    bands = SharingDescription(BandDescription(1.0, law, fidelity), BandDescription(1.0, law, fidelity))
    network = replace(network, sharing=bands, channel=replace(network.channel, fading=Rayleigh(0.03)))
    energy = replace(ENERGY, tail=tail)
    w = world(replace(network, faults=faults or network.faults), energy=energy)
    users, server = w.network.users, w.network.server

    def act(user: int, what: str, start_s: float, bits: float, patience_s: float | None) -> Process:
        yield w.env.timeout(start_s)
        work = {
            "up": lambda: users[user].send(server, scale * bits, "x"),
            "down": lambda: server.send(users[user], scale * bits, "x"),
            "all": lambda: server.broadcast(users, scale * bits, "x"),
            "rateless": lambda: listen(w, users, scale * bits),
        }[what]()
        if patience_s is None and faults is None:
            yield from work
        else:
            yield from interrupted(w, work, patience_s or 100.0)

    def all_of_it() -> Process:
        w.journal.begin_round(0)
        yield w.env.all_of([w.env.process(act(*one)) for one in storm])
        w.journal.end_round(4, 0)

    w.run(all_of_it())
    rows, patient = (
        w.rows("transfers"),
        sum((4 if what in ("all", "rateless") else 1) for _, what, _, _, patience in storm if patience is None),
    )
    assert faults is not None or sum(row["lost"] == 0 for row in rows) >= patient
    for row in rows:
        assert row["end_s"] - row["start_s"] == pytest.approx(row["wait_s"] + row["airtime_s"], abs=1e-9)
        assert 0 <= row["lost"] <= row["bits"]
        assert row["airtime_s"] >= 0
        assert row["wait_s"] >= 0
    w.network.record_end()
    assert_energy(w, energy)
    ways: dict[int, list[dict[str, float]]] = defaultdict(list)
    for row in w.rows("handovers"):
        ways[row["user"]].append(row)
    for steps in ways.values():
        for before, after in pairwise(steps):
            assert before["to_station"] == after["from_station"]
            assert before["time_s"] + interruption_s <= after["time_s"] + 1e-9
    for station in w.network.stations:
        served = [user.number for user in users if user.station is station]
        for air in (station.uplink, station.downlink):
            assert not list(air.band.sending())
            assert sorted(air.band.attached) == served
