"""The network as a whole: what a description makes, who is moved by what, stage times and order statistics."""

from dataclasses import replace
from math import exp, log2, log10, pi

import numpy as np
import pytest
from scipy.stats import norm
from worlds import ENERGY, Process, circle, flat_compute, flat_network, flat_rates_bps, world

from netsim.description import (
    BandDescription,
    ComputeDescription,
    DevicesDescription,
    EnergyDescription,
    NetworkDescription,
    ServersDescription,
    SharingDescription,
    StationsDescription,
    StragglersDescription,
    UsersDescription,
)
from netsim.energy import JoulesPerFlop
from netsim.geometry import HexagonalGrid, Stations
from netsim.parts import FAMILIES
from netsim.radio.pathloss import UrbanMicro
from netsim.radio.rate import Shannon
from netsim.radio.scheduling import FixedShares, SchedulingPolicy
from netsim.slowdown import ListedSlowdowns, Lognormal, ShiftedExponential
from netsim.values import ConstantPerUser, ListedPerUser, LogUniformPerUser
from stats import assert_ks, assert_mean, assert_proportion

DEFAULT = NetworkDescription()
FLAT = flat_network(2)


def users_table(network: NetworkDescription) -> list[dict[str, object]]:
    w = world(network, ComputeDescription(DevicesDescription(LogUniformPerUser(1e9, 1e10))))
    w.network.record_users()
    return w.rows("users")


def test_users_table_of_a_flat_network() -> None:
    w = world(users=3)
    w.network.users[1].samples = 40
    w.network.record_users()
    rows = w.rows("users")
    friis_db = 20 * log10(4 * pi * 100.0 * 1e9 / 299_792_458.0)
    assert [row["user"] for row in rows] == [0, 1, 2]
    assert [row["samples"] for row in rows] == [None, 40, None]
    for row in rows:
        assert row["distance_m"] == pytest.approx(100.0)
        assert row["path_loss_db"] == pytest.approx(friis_db, rel=1e-12)
        assert (row["station"], row["flops_per_s"], row["shadowing_db"]) == (0, 1e9, 0.0)
        assert (row["line_of_sight"], row["tx_power_dbm"]) == (True, 20.0)


def test_one_more_user_moves_nobody() -> None:
    more = replace(DEFAULT, users=UsersDescription(count=DEFAULT.users.count + 1))
    assert users_table(more)[:-1] == users_table(DEFAULT)


def test_a_far_station_moves_nobody() -> None:
    more = replace(DEFAULT, stations=StationsDescription(placement=Stations(((0.0, 0.0), (3000.0, 0.0)))))
    assert users_table(more) == users_table(DEFAULT)


def test_other_sections_move_no_draw_of_the_network() -> None:
    base = world(DEFAULT)
    other = world(
        DEFAULT, ComputeDescription(stragglers=StragglersDescription(Lognormal(), "job")), EnergyDescription()
    )
    for w in (base, other):
        w.network.record_users()
        w.run(w.network.users[3].send(w.network.server, 1e7, "x"))
    assert base.table("users").drop(["flops_per_s"]) == other.table("users").drop(["flops_per_s"])
    assert base.table("transfers").drop(["energy_j"]) == other.table("transfers").drop(["energy_j"])


def test_seeds_differ() -> None:
    first, second = (world(DEFAULT, seed=seed) for seed in (1, 2))
    for w in (first, second):
        w.network.record_users()
    assert all(a["x_m"] != b["x_m"] for a, b in zip(first.rows("users"), second.rows("users"), strict=True))


def test_shadowing_is_lognormal_by_user_and_station() -> None:
    network = replace(
        DEFAULT,
        users=UsersDescription(count=1500),
        channel=replace(DEFAULT.channel, path_loss=UrbanMicro("nlos")),
    )
    w = world(network)
    w.network.record_users()
    assert_ks(np.array([row["shadowing_db"] for row in w.rows("users")]) / 7.82, norm.cdf)
    w = world(replace(network, channel=replace(network.channel, shadowing_std_db=3.0)))
    w.network.record_users()
    assert_ks(np.array([row["shadowing_db"] for row in w.rows("users")]) / 3.0, norm.cdf)
    assert not any(row["line_of_sight"] for row in w.rows("users"))


def test_the_link_budget() -> None:
    """Noise figures of the receiving ends, antenna gains of both, and the gap, in the formula and in the simulation."""
    flat = flat_network(1)
    network = replace(
        flat,
        stations=replace(flat.stations, noise_figure_db=3.0, antenna_gain_db=2.0),
        users=replace(flat.users, noise_figure_db=7.0, antenna_gain_db=4.0),
        channel=replace(flat.channel, rate=Shannon(gap_db=5.0)),
    )
    w = world(network)
    user, server = w.network.users[0], w.network.server
    w.run(user.send(server, 1e6, "x"))
    w.run(server.send(user, 1e6, "x"))
    loss_db = 20 * log10(4 * pi * 100.0 * 1e9 / 299_792_458.0)
    budgets = ((20.0, 3.0, 1e6), (30.0, 7.0, 2e6))  # power, noise figure of the receiver, band
    for row, (power_dbm, figure_db, band_hz) in zip(w.rows("transfers"), budgets, strict=True):
        snr_db = power_dbm - loss_db + 2 + 4 - (-174 + figure_db + 10 * log10(band_hz))
        assert row["mean_snr_db"] == pytest.approx(snr_db, rel=1e-9)
        assert row["mean_rate_bps"] == pytest.approx(band_hz * log2(1 + 10 ** ((snr_db - 5) / 10)), rel=1e-9)


def test_the_server_has_slots_and_energy() -> None:
    compute = ComputeDescription(servers=ServersDescription(1e11, slots=2))
    w = world(compute=compute, energy=replace(ENERGY, server_compute=JoulesPerFlop(1e-11)))
    w.run(*(w.network.server.compute(1e11, "x") for _ in range(3)))
    rows = w.rows("computations")
    assert [row["end_s"] for row in rows] == [1.0, 1.0, 2.0]
    assert [row["energy_j"] for row in rows] == pytest.approx([1.0] * 3)


def test_every_link_fades_for_itself() -> None:
    def keys(network: NetworkDescription) -> list[int]:
        return [radio.link.key for user in world(network).network.users for radio in (user.uplink, user.downlink)]

    assert len(set(keys(DEFAULT))) == 2 * DEFAULT.users.count
    near = replace(DEFAULT, stations=StationsDescription(placement=Stations(((3000.0, 0.0), (0.0, 0.0)))))
    assert not set(keys(near)) & set(keys(DEFAULT))  # the same place, but station 1 now


def test_stations_are_shadowed_and_blocked_apart() -> None:
    """With two stations in one place, chance alone decides which is better."""
    users = 400
    network = replace(
        DEFAULT,
        stations=StationsDescription(placement=Stations(((0.0, 0.0), (0.0, 0.0)))),
        users=UsersDescription(count=users, placement=circle(users, 60.0)),
        channel=replace(DEFAULT.channel, path_loss=UrbanMicro("nlos")),
    )
    w = world(network)
    w.network.record_users()
    assert_proportion(sum(row["station"] for row in w.rows("users")), users, 0.5)
    w = world(replace(network, channel=replace(DEFAULT.channel, shadowing_std_db=0.0)))
    w.network.record_users()
    clear = 18 / 60 + exp(-60 / 36) * (1 - 18 / 60)
    assert_proportion(sum(row["station"] for row in w.rows("users")), users, clear * (1 - clear))
    assert_proportion(sum(row["line_of_sight"] for row in w.rows("users")), users, 1 - (1 - clear) ** 2)


def test_users_attach_to_the_station_that_they_receive_best() -> None:
    flat = flat_network(3)
    network = replace(
        flat,
        stations=replace(flat.stations, placement=HexagonalGrid(1, 200.0)),
        users=replace(flat.users, placement=circle(3, 180.0)),
    )
    w = world(network)
    w.network.record_users()
    grid = np.array(HexagonalGrid(1, 200.0).sites())
    for row in w.rows("users"):
        distances = np.hypot(*(grid - (row["x_m"], row["y_m"])).T)
        assert row["station"] == distances.argmin()
        assert row["distance_m"] == pytest.approx(distances.min())
    assert len({row["station"] for row in w.rows("users")}) == 3


def test_a_split_round_in_closed_form() -> None:
    """Five stages of split_learning basics with N equal users: barrier formulas hold exactly, energies too."""
    users, batch = 5, 32
    forward, backward, server_step = 2e6, 4e6, 7e7
    activation, gradient = 12_800.0, 12_864.0
    w = world(users=users)
    up_bps, down_bps = flat_rates_bps(users)

    def user_round(number: int) -> Process:
        user, server = w.network.users[number], w.network.server
        yield from user.compute(batch * forward, "client_forward")
        yield from user.send(server, batch * activation, "activation")
        yield from server.compute(batch * server_step, "server_step", user=number)
        yield from server.send(user, batch * gradient, "gradient")
        yield from user.compute(batch * backward, "client_backward")

    def scheme() -> Process:
        w.journal.begin_round(0)
        yield w.env.all_of([w.env.process(user_round(number)) for number in range(users)])
        w.journal.end_round(users, 0)

    w.run(scheme())
    forward_s, backward_s = batch * forward / 1e9, batch * backward / 1e9
    up_s, down_s, server_s = batch * activation / up_bps, batch * gradient / down_bps, batch * server_step / 1e11
    (row,) = w.rows("rounds")
    # equal users reach the queue together: the last one waits for all others
    assert row["latency_s"] == pytest.approx(forward_s + up_s + users * server_s + down_s + backward_s, rel=1e-9)
    first = next(row for row in w.rows("energy") if row["user"] == 0)
    assert first["transmit_j"] == pytest.approx(up_s * (0.1 / 0.5 + 0.1), rel=1e-9)
    assert first["receive_j"] == pytest.approx(down_s * 0.2, rel=1e-9)
    assert first["compute_j"] == pytest.approx(batch * (forward + backward) * 1e-10, rel=1e-9)
    active_s = forward_s + up_s + down_s + backward_s
    assert first["idle_j"] == pytest.approx(0.03 * (row["latency_s"] - active_s), rel=1e-9)
    causes = dict.fromkeys(("compute", "queue", "airtime"), 0.0)
    for segment in w.rows("critical_path"):
        causes[segment["cause"]] += segment["duration_s"]
    assert causes == pytest.approx(
        {"compute": forward_s + server_s + backward_s, "queue": (users - 1) * server_s, "airtime": up_s + down_s}
    )


def test_the_slowest_of_n_shifted_exponentials() -> None:
    """E max = shift + H_N / rate: the harmonic number of Renyi's representation."""
    users, rounds = 8, 2000
    compute = replace(flat_compute(), stragglers=StragglersDescription(ShiftedExponential(shift=1.0, rate=2.0)))
    w = world(flat_network(users), compute)

    def scheme() -> Process:
        for number in range(rounds):
            w.journal.begin_round(number)
            yield w.env.all_of([w.env.process(user.compute(1e9, "step")) for user in w.network.users])
            w.journal.end_round(users, 0)

    w.run(scheme())
    harmonic = sum(1 / k for k in range(1, users + 1))
    assert_mean([row["latency_s"] for row in w.rows("rounds")], 1.0 + harmonic / 2.0)
    straggled = [row["duration_s"] for row in w.rows("critical_path") if row["cause"] == "straggle"]
    assert_mean(straggled, harmonic / 2.0)


def test_the_same_run_gives_the_same_tables() -> None:
    def run() -> dict[str, dict[str, int | str]]:
        w = world(DEFAULT, ComputeDescription(stragglers=StragglersDescription(Lognormal())), EnergyDescription())

        def user_round(number: int) -> Process:
            user, server = w.network.users[number], w.network.server
            yield from user.compute(1e8, "client_forward")
            yield from user.send(server, 1e6, "activation")
            yield from server.compute(1e9, "server_step", user=number)
            yield from server.send(user, 1e6, "gradient")

        def scheme() -> Process:
            for number in range(3):
                w.journal.begin_round(number)
                yield w.env.all_of([w.env.process(user_round(user)) for user in range(10)])
                w.journal.end_round(10, 0)

        w.run(scheme())
        return w.journal.trace.close()

    assert run() == run()


@pytest.mark.parametrize("law", [FixedShares((0.5, 0.6)), FixedShares((0.5,))])
def test_shares_that_do_not_fit_are_refused(law: SchedulingPolicy) -> None:
    network = replace(flat_network(2), sharing=SharingDescription(BandDescription(1.0, law)))
    with pytest.raises(ValueError, match="shares"):
        world(network)


def test_numbers_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="device speed of user 1 is 0 FLOP/s; it must be positive"):
        world(compute=ComputeDescription(DevicesDescription(ListedPerUser((1e9, 0.0)))))
    with pytest.raises(ValueError, match="3 slowdown factors are given, but there are 2 users"):
        world(compute=ComputeDescription(stragglers=StragglersDescription(ListedSlowdowns((1.0, 1.0, 1.0)))))
    with pytest.raises(ValueError, match="transmit power has 1 numbers, but there are 2 users"):
        world(replace(FLAT, users=replace(FLAT.users, tx_power_dbm=ListedPerUser((20.0,)))))


def test_listed_shares_and_powers_reach_the_radio() -> None:
    flat = flat_network(2)
    network = replace(
        flat,
        users=replace(flat.users, tx_power_dbm=ListedPerUser((20.0, 10.0))),
        sharing=SharingDescription(BandDescription(1.0, FixedShares((0.5, 0.05))), flat.sharing.downlink),
    )
    w = world(network)
    w.run(*(user.send(w.network.server, 1e6, "x") for user in w.network.users))
    rates = {row["user"]: row["mean_rate_bps"] for row in w.rows("transfers")}
    half_bps, _ = flat_rates_bps(2)
    assert rates[0] == pytest.approx(half_bps, rel=1e-9)
    assert rates[1] == pytest.approx(half_bps / 10, rel=1e-9)  # a tenth of power in a tenth of band: the same ratio


def test_every_default_belongs_to_a_family() -> None:
    """Whatever a description names can be named in a scenario."""
    named = {part for table in FAMILIES.values() for part in table.values()}
    for default in (
        DEFAULT.stations.placement,
        DEFAULT.users.placement,
        DEFAULT.users.tx_power_dbm,
        DEFAULT.channel.path_loss,
        DEFAULT.channel.fading,
        DEFAULT.channel.shadowing,
        DEFAULT.sharing.uplink.scheduler,
        ComputeDescription().devices.flops_per_s,
        ComputeDescription().stragglers.slowdown,
        EnergyDescription().compute,
    ):
        assert type(default) in named
    assert ConstantPerUser in named
