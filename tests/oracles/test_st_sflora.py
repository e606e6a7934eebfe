"""ST-SFLora against the oracles of its specification: bits and seconds on the air, who is admitted, what is learnt."""

from dataclasses import fields
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F

from fakes import FakeChannel, FakeStreams, world
from learning.control.rate import min_energy_j, rate_bps
from learning.control.tokens import SOLVERS
from learning.control.tokens.controller import TokenController
from learning.control.tokens.dwell import DwellTime
from learning.control.tokens.upload import upload_cost
from learning.protocols.split import token_draw
from learning.schemes import FedAvg
from runs import TINY, TOKENS
from scenarios import load, simulate
from scenarios.build import build
from scenarios.errors import ScenarioError
from scenarios.run import Result

PATCHES, WIDTH, BATCH, LABEL = 16, 16, 8, 4
BAND_HZ = 1e6
SETTING = {
    **TOKENS,
    "network.users.count": 2,
    "network.channel.fading": "none",
    "network.sharing.uplink": {"bandwidth_mhz": BAND_HZ / 1e6, "scheduler": "controlled"},
    "learning.adapter": {"rank": 2, "blocks": "server"},
    "learning.partition": "iid",
    "learning.executor": "eager",
    "learning.stop.rounds": 2,
    "compute.stragglers.slowdown": "none",
    "learning.optimiser": {"name": "sgd", "learning_rate": 0.03, "momentum": 0.9},
}
NEAR_AND_FAR = {"name": "list", "positions_m": [[30.0, 0.0], [0.0, 900.0]]}


def scenario(scheme: dict[str, Any], **changed: Any) -> Any:
    """The setting with these fields of the scheme, those of its controller among them, and other fields changed."""
    overrides = {name.replace("__", "."): value for name, value in changed.items()}
    control = {field.name: scheme[field.name] for field in fields(TokenController) if field.name in scheme}
    own = {name: value for name, value in scheme.items() if name not in control}
    described = {"name": "st_sflora", **own, **({"control": control} if control else {})}
    return load(TINY, {**SETTING, "learning.scheme": described, **overrides})


def ran(scheme: dict[str, Any], **changed: Any) -> Result:
    return simulate(scenario(scheme, **changed))


def table(result: Result, name: str) -> pd.DataFrame:
    frame: pd.DataFrame = result.table(name).to_pandas()
    return frame


def decided(result: Result) -> pd.DataFrame:
    """Tokens, part of the band and power by (round, user)."""
    rows = table(result, "decisions").dropna(subset="user")
    return rows.pivot(index=["round", "user"], columns="name", values="value")


def losses(result: Result) -> list[float]:
    rows = table(result, "evaluations")
    return list(rows[rows["metric"] == "loss"]["value"])


def uploads(result: Result) -> pd.DataFrame:
    """Tokens on the air by (round, user)."""
    rows = table(result, "transfers")
    return rows[rows["kind"] == "activation"].set_index(["round", "user"]).sort_index()


def gains(described: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
    world = build(described).process.gi_frame.f_locals["world"]  # type: ignore[union-attr]
    return np.array([user.node.uplink.gain_over_noise_hz_per_w for user in world.users])


@pytest.mark.parametrize("merge", [True, False])
@pytest.mark.parametrize("tokens", [None, 5, PATCHES])
def test_bits_on_the_air_are_those_of_the_tensors(tokens: int | None, merge: bool) -> None:
    result = ran({"tokens": tokens, "merge": merge, "label_bits": LABEL, "min_tokens": 2})
    kept = decided(result)["tokens"]
    sent = 1 + kept + np.where(kept < PATCHES, merge, 0)
    expected = 32 * BATCH * WIDTH * sent + BATCH * LABEL
    up = uploads(result)
    pd.testing.assert_series_equal(up["bits"], expected.sort_index(), check_names=False, check_index_type=False)
    rows = table(result, "transfers")
    assert set(rows[rows["kind"] == "importance"]["bits"]) == {32.0 * PATCHES}
    if tokens is not None:
        assert set(kept) == {tokens}


def test_what_is_not_chosen_is_the_same_for_everybody() -> None:
    """Powers are chosen where the energy is tight; the band is shared out as long as somebody is farther off."""
    placed = {"name": "list", "positions_m": [[30.0, 0.0], [0.0, 60.0]]}
    apart = {"network__users__placement": placed, "network__users__tx_power_dbm": 20.0}
    least = 32 * BATCH * WIDTH * (2 + 2) + BATCH * LABEL
    tight = 1.2 * float(min_energy_j(least, gains(scenario({}, **apart))).max())
    chosen, powered, equal = (
        decided(ran({"min_tokens": 2, "label_bits": LABEL, **changed}, **apart))
        for changed in (
            {"max_energy_j": tight},
            {"fixed_power": 0.25},
            {"max_energy_j": tight, "bandwidth": "equal"},
        )
    )
    assert chosen["power_w"].nunique() > 1
    assert chosen["share"].nunique() > 1
    assert powered["power_w"].tolist() == pytest.approx([0.025] * 4)
    assert powered["share"].nunique() > 1
    assert set(equal["share"]) == {0.5}
    assert equal["power_w"].nunique() > 1


def test_nothing_comes_down_but_control() -> None:
    rows = table(ran({}), "transfers")
    down = rows[rows["direction"] == "down"]
    assert len(down) == 4  # two users, two rounds
    assert set(zip(down["kind"], down["bits"], strict=True)) == {("allocation", 96.0)}


def test_the_frozen_part_comes_down_once_where_it_is_not_there() -> None:
    described = scenario({"delivers_model": True})
    frozen = build(described).process.gi_frame.f_locals["world"].front.frozen  # type: ignore[union-attr]
    rows = table(simulate(described), "transfers")
    models = rows[rows["kind"] == "model"]
    assert list(models["round"]) == [0, 0]
    assert sorted(models["user"]) == [0, 1]
    assert set(models["bits"]) == {32.0 * sum(value.numel() for value in frozen.values())}


def test_the_device_stays_as_it_is_and_the_server_does_not() -> None:
    simulation = build(scenario({}))
    world = simulation.process.gi_frame.f_locals["world"]  # type: ignore[union-attr]
    before = {name: value.clone() for name, value in world.front.frozen.items()}
    start = world.initial(world.back)
    simulation.env.run(simulation.env.process(simulation.process))  # type: ignore[arg-type]
    ((front, back),) = world._models
    assert not world.executor.value(front)
    assert all(torch.equal(before[name], value) for name, value in world.front.frozen.items())
    assert any(not torch.equal(start[name], value) for name, value in world.executor.value(back).items())


@pytest.mark.parametrize("everything", [{"tokens": PATCHES}, {"min_tokens": PATCHES}, {"tokens": 99, "merge": False}])
def test_all_tokens_are_the_full_variant_bit_for_bit(everything: dict[str, Any]) -> None:
    """The full variant is split federated learning with one step at the server, whose devices have nothing to train."""
    plain = simulate(scenario({"name": "sfl", "weighting": "by_samples"}))
    full = losses(plain)
    assert losses(ran(everything)) == full
    assert losses(ran({"tokens": 5})) != full
    assert set(table(plain, "transfers")["kind"]) >= {"activation"}


def test_one_client_with_all_tokens_is_central_fine_tuning_on_the_frozen_front() -> None:
    rounds, rate, momentum = 3, 0.05, 0.9
    described = scenario(
        {"tokens": PATCHES},
        network__users__count=1,
        learning__precision="float64",
        learning__stop__rounds=rounds,
        learning__optimiser={"name": "sgd", "learning_rate": rate, "momentum": momentum},
    )
    world = build(described).process.gi_frame.f_locals["world"]  # type: ignore[union-attr]
    trained = {name: value.clone().requires_grad_() for name, value in world.initial(world.whole).items()}
    optimiser = torch.optim.SGD(trained.values(), rate, momentum)
    test, expected = world.dataset.test, []
    for number in range(rounds):
        x, y = (rows.tensor() for rows in world.users[0].batch(number))
        optimiser.zero_grad()
        torch.autograd.backward(F.cross_entropy(world.whole(trained, x), y))
        optimiser.step()
        with torch.no_grad():
            expected.append(float(F.cross_entropy(world.whole(trained, test.x), test.y)))
    assert losses(simulate(described)) == pytest.approx(expected, rel=1e-12)
    assert expected[0] != expected[-1]


@pytest.mark.parametrize(
    ("solver", "merge"), [("published", True), ("improved", True), ("brute", True), ("brute", False)]
)
def test_seconds_on_the_air_are_those_of_the_solver(solver: str, merge: bool) -> None:
    scheme = {"solver": solver, "max_energy_j": 2e-3, "label_bits": LABEL, "attention": "flat", "min_tokens": 2}
    scheme["merge"] = merge
    described = scenario(scheme, network__users__placement={"name": "list", "positions_m": [[60.0, 0.0], [0.0, 140.0]]})
    result, gain = simulate(described), gains(described)
    chosen, up = decided(result), uploads(result)
    total = table(result, "decisions").query("name == 'semantic_efficiency'").set_index("round")["value"]
    for number, rows in chosen.groupby("round"):
        assert rows["share"].sum() == pytest.approx(1, rel=1e-9)
        width = rows["share"].to_numpy() * BAND_HZ
        bits = 32 * BATCH * WIDTH * (rows["tokens"].to_numpy() + 1 + merge) + BATCH * LABEL
        seconds = bits / rate_bps(width, rows["power_w"].to_numpy(), gain)
        own = up.loc[number]
        if (rows["tokens"] < PATCHES).all():
            np.testing.assert_allclose(own["airtime_s"], seconds, rtol=1e-9)
        mass = (rows["tokens"] * BATCH / PATCHES).sum()
        assert total[number] == pytest.approx(mass / seconds.max(), rel=1e-9)
        assert (rows["power_w"].to_numpy() * seconds <= 2e-3 * (1 + 1e-9)).all()
    assert (chosen["tokens"] < PATCHES).any()


def test_who_cannot_send_with_its_energy_is_left_out() -> None:
    """Energy between what the least tokens cost the near user and the far one in endless bandwidth (oracle 8)."""
    placed = {"network__users__placement": NEAR_AND_FAR}
    gain = gains(scenario({}, **placed))
    floor = min_energy_j(32 * BATCH * WIDTH * (4 + 2) + BATCH * LABEL, gain)
    assert floor[0] < floor[1] / 10
    result = ran({"max_energy_j": float(floor[1]) * 0.99}, **placed)
    rounds = table(result, "rounds")
    assert list(rounds["participants"]) == [1, 1]
    assert list(rounds["dropped"]) == [1, 1]
    assert set(uploads(result).index.get_level_values("user")) == {0}
    assert np.isfinite(table(result, "decisions")["value"]).all()
    assert np.isfinite(losses(result)).all()
    nobody = ran({"max_energy_j": float(floor[0]) * 0.99}, **placed)
    assert list(table(nobody, "rounds")["participants"]) == [0, 0]
    assert list(table(nobody, "decisions")["value"]) == [0, 0]  # semantic efficiency of each round
    assert len(uploads(nobody)) == 0
    start, end = losses(nobody)
    assert start == end


def test_the_weakest_sender_bounds_everybodys_power() -> None:
    users = world(FedAvg(1), rounds=1, executor="dry").users
    for user, power_w in zip(users, (0.2, 0.05, 0.1), strict=True):
        user.node.uplink = FakeChannel(max_power_w=power_w, gain_over_noise_hz_per_w=1e8 * (1 + user.number))
    whole, part = (TokenController(csi="average", fixed_power=each).band(users) for each in (None, 0.5))
    assert (whole.max_power_w, part.max_power_w) == (0.05, 0.025)
    third = 1e6 / 3
    expected = [third * np.log2(1 + 0.05 * 1e8 * (1 + user) / third) for user in range(3)]
    np.testing.assert_allclose(whole.equal_bps(), expected, rtol=1e-12)


def test_who_leaves_the_cell_is_not_admitted() -> None:
    everybody = ran({})
    last = float(table(everybody, "rounds")["latency_s"].max())
    short = {"dwell_time": {"min_speed_m_per_s": 0.0, "max_speed_m_per_s": 0.0, "max_s": 0.01 * last}}
    soon = ran(short)
    assert list(table(soon, "rounds")["participants"]) == [0, 0]
    assert len(table(soon, "transfers")) == 0
    assert list(table(soon, "rounds")["latency_s"]) == [1.0, 1.0]
    sooner = ran(short, learning__policy={"name": "deadline", "deadline_s": 0.25})
    assert list(table(sooner, "rounds")["latency_s"]) == [0.25, 0.25]
    late = ran({"dwell_time": {"min_speed_m_per_s": 0.0, "max_speed_m_per_s": 0.0, "max_s": 100 * last}})
    assert losses(late) == losses(everybody)


def test_uploads_end_before_users_leave() -> None:
    """A dwell time in which all users can send some, and not all, of its tokens, after what went before."""
    free = ran({"tokens": PATCHES, "attention": "flat"}, network__users__count=4)
    limit = 0.8 * float(table(free, "rounds")["latency_s"].min())
    dwell_time = {"min_speed_m_per_s": 0.0, "max_speed_m_per_s": 0.0, "max_s": limit}
    result = ran({"dwell_time": dwell_time, "attention": "flat", "min_tokens": 1}, network__users__count=4)
    begun = table(result, "rounds").set_index("round")["start_s"]
    up = uploads(result)
    ready = table(result, "transfers").query("kind == 'allocation'").set_index(["round", "user"])
    control_s = ready["airtime_s"].max()
    assert len(up) > 0
    assert (up["end_s"] - begun.reindex(up.index, level="round") <= limit + control_s).all()
    assert (decided(result)["tokens"] < PATCHES).any()


def test_dwell_times_follow_their_law() -> None:
    """The mean way to the edge of a disc is a third of its radius; nobody moves at no speed."""
    dwell_time = DwellTime(300.0, 2.0, 2.0)
    drawn = np.array([dwell_time.seconds(user, 5, FakeStreams()) for user in range(4000)])
    assert drawn.mean() == pytest.approx(50.0, abs=4 * drawn.std() / np.sqrt(4000))
    assert drawn.max() <= 150
    assert DwellTime(300.0, 0.0, 0.0, 7.0).seconds(0, 0, FakeStreams()) == 7.0
    assert DwellTime(300.0, 0.0, 0.0).seconds(0, 0, FakeStreams()) == np.inf


def test_what_users_report_counts_unless_values_are_not_there() -> None:
    """Attention delivered, by torch's own top k; in flat attention five patches have five times the mean."""
    described = scenario({"tokens": 5}, learning__stop__rounds=1)
    world = build(described).process.gi_frame.f_locals["world"]  # type: ignore[union-attr]
    mass = 0.0
    for user in world.users:
        attention = world.front.scored({}, user.batch(0)[0].tensor())[1][:, 1:]
        mass += float((attention / attention.sum(1, keepdim=True)).topk(5).values.sum())

    def delivered(result: Result) -> float:
        efficiency = table(result, "decisions").query("name == 'semantic_efficiency'")["value"].item()
        return float(efficiency * uploads(result)["airtime_s"].max())

    flat = {"tokens": 5, "attention": "flat"}
    assert delivered(simulate(described)) == pytest.approx(mass, rel=1e-6)
    assert delivered(ran(flat, learning__stop__rounds=1)) == pytest.approx(2 * BATCH * 5 / PATCHES, rel=1e-9)
    drawn = ran({"tokens": 5, "selector": "random"}, learning__stop__rounds=1)
    assert delivered(drawn) == pytest.approx(2 * BATCH * 5 / PATCHES, rel=1e-9)
    assert mass > 1.01 * 2 * BATCH * 5 / PATCHES
    dry = table(ran({"tokens": 5}, learning__stop__rounds=1, learning__executor="dry"), "decisions")
    pd.testing.assert_frame_equal(dry, table(ran(flat, learning__stop__rounds=1), "decisions"))


@pytest.mark.parametrize("csi", ["instantaneous", "average"])
def test_the_solver_knows_the_channel_of_the_moment_or_its_mean(csi: str) -> None:
    """With energy to spare all are done at once, if their channels are what the solver takes them for."""
    faded = {"network__channel__fading": {"name": "rayleigh", "coherence_time_s": 20.0}}
    result = ran({"tokens": 5, "csi": csi, "max_energy_j": 1e3, "label_bits": LABEL}, **faded)
    airtime = uploads(result)["airtime_s"].unstack("user")
    apart = (airtime.max(axis=1) / airtime.min(axis=1) - 1).to_numpy()
    assert (apart < 1e-6).all() if csi == "instantaneous" else (apart > 0.05).all()


UNEQUAL = {
    "learning__partition": {"name": "quantity_skew", "alpha": 1.0, "min_samples": 3},
    "learning__batch_size": "all",
}


def test_the_solver_knows_how_many_samples_each_user_has() -> None:
    """With energy to spare all are done at once, though their mini-batches are unequal."""
    up = uploads(ran({"tokens": 5, "max_energy_j": 1e3, "label_bits": LABEL}, learning__executor="dry", **UNEQUAL))
    airtime, bits = (up[column].unstack("user") for column in ("airtime_s", "bits"))
    assert (bits.max(axis=1) > 1.3 * bits.min(axis=1)).all()
    np.testing.assert_allclose(airtime[0], airtime[1], rtol=1e-6)


@pytest.mark.parametrize("changed", [{}, UNEQUAL])
@pytest.mark.parametrize("scheme", [{}, {"fixed_power": 0.25}, {"tokens": 9}, {"tokens": 99}, {"merge": False}])
def test_who_may_begin_has_time_for_the_least_upload(scheme: dict[str, Any], changed: dict[str, Any]) -> None:
    """At nominal speed, with an equal part of the band; a thousandth more time than that is enough, less is not."""
    described = scenario(
        {"label_bits": LABEL, "dwell_time": {}, **scheme}, network__users__tx_power_dbm=20.0, **changed
    )
    world = build(described).process.gi_frame.f_locals["world"]  # type: ignore[union-attr]
    control, extra = described.learning.scheme.control, 1 + scheme.get("merge", True)
    costs = {user: upload_cost(world, user.batch(0), LABEL) for user in world.users}
    tokens = min(scheme.get("tokens", control.min_tokens), PATCHES) + extra
    of_sample = costs[world.users[0]].forward_flops / (world.users[0].samples if changed else BATCH)
    takes = {}
    for user, gain in zip(world.users, gains(described), strict=True):
        samples = user.samples if changed else BATCH
        bits = 32 * samples * WIDTH * tokens + samples * LABEL
        rate = BAND_HZ / 2 * np.log2(1 + scheme.get("fixed_power", 1.0) * 0.1 * gain / (BAND_HZ / 2))
        takes[user] = samples * of_sample / user.node.flops_per_s + bits / rate
    first, second = world.users
    for admitted, factors in ((first, (1.001, 0.999)), (second, (0.999, 1.001))):
        dwell_s = {user: takes[user] * factor for user, factor in zip(world.users, factors, strict=True)}
        assert control.admitted(dwell_s, costs, extra) == [admitted]


def test_users_weigh_by_samples_or_alike_as_in_the_plain_scheme() -> None:
    skewed = {"learning__partition": {"name": "dirichlet", "alpha": 0.5, "min_samples": 8}}
    rules = "by_samples", "uniform"
    by_weights = [
        [losses(ran({"tokens": PATCHES, "weighting": rule}, **skewed)) for rule in rules],
        [losses(simulate(scenario({"name": "sfl", "weighting": rule}, **skewed))) for rule in rules],
    ]
    assert by_weights[0] == by_weights[1]
    assert by_weights[0][0] != by_weights[0][1]


def test_reports_are_sent_with_equal_parts_and_all_the_power() -> None:
    """Of a later round too: what was allocated in one does not outlive it."""
    placed = {"name": "list", "positions_m": [[30.0, 0.0], [0.0, 140.0]]}
    rows = table(ran({"fixed_power": 0.1}, network__users__placement=placed), "transfers")
    reports = rows[rows["kind"] == "importance"].pivot(index="round", columns="user", values="airtime_s")
    assert reports.loc[1].tolist() == pytest.approx(reports.loc[0].tolist(), rel=1e-6)


def test_every_mini_batch_draws_tokens_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[torch.Tensor] = []

    def watched(*args: Any) -> Any:
        draw = token_draw(*args)
        drawn.append(draw.tensor())
        return draw

    monkeypatch.setattr("learning.schemes.st_sflora.token_draw", watched)
    ran({"tokens": 5, "selector": "random"})
    assert len(drawn) == 4  # two users, two rounds
    assert not any(torch.equal(one, other) for one, other in combinations(drawn, 2))


@pytest.mark.parametrize("solver", sorted(SOLVERS))
def test_the_solver_asked_for_decides(solver: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    for name, solve in SOLVERS.items():
        monkeypatch.setitem(SOLVERS, name, lambda problem, name=name, solve=solve: asked.append(name) or solve(problem))
    ran({"solver": solver, "min_tokens": 14})
    assert asked == [solver] * 2


@pytest.mark.parametrize(
    ("scheme", "changed", "sentence"),
    [
        ({}, {"learning__adapter": {"rank": 2}}, "set learning.adapter.blocks to server"),
        ({}, {"learning__adapter": None}, "give learning.adapter"),
        ({}, {"network__sharing__uplink__scheduler": "equal"}, "only where the band's scheduling policy is controlled"),
        ({"min_tokens": 17}, {}, "min_tokens is 17, but there are 16 patches"),
        ({"solver": "brute"}, {"network__users__count": 6}, "6 users with 13 choices each are more than"),
        ({"dwell_time": {"min_speed_m_per_s": 20.0}}, {}, "at most max_speed_m_per_s, 15, is allowed"),
    ],
)
def test_what_does_not_fit_is_one_sentence(scheme: dict[str, Any], changed: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ScenarioError, match=sentence):
        build(scenario(scheme, **changed))
