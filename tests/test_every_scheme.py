"""One contract for every registered scheme."""

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest

from learning.evaluation import Evaluator
from learning.executor import Executor
from learning.policies import IN_ROUNDS
from learning.schemes import SCHEMES
from learning.world import World
from netsim.radio.flow.ongoing import OngoingTransmissions
from netsim.radio.flow.together import AllTogether
from runs import FAULTS, HEAVY, MULTIMODAL, NEEDS, TABLES, TINY, TRAINED, frame, hashes, heavy_are_slow, policy, run
from scenarios import load, simulate
from scenarios.run import Result

NETWORKED = sorted(set(TRAINED) - {"centralised"})
POLICIES = (*IN_ROUNDS, "asynchronous", "buffered")
ALLOWED = [(name, by) for name in TRAINED for by in POLICIES if by in IN_ROUNDS or SCHEMES[name].asynchronous]
CLOCK = [table for table in TABLES if table != "evaluations"]

networked = pytest.mark.parametrize("name", NETWORKED)
DROPPING = "deadline", "first_k", "over_selection"
RARER = {"first_k", "over_selection", "buffered"}
"""Policies that end rounds, or go on without them, by means that others have, too."""


def rare_are_slow(pairs: Sequence[tuple[str, str]], schemes: Collection[str]) -> list[Any]:
    """Parameters of a test, of which those of these schemes under the rarer policies are marked slow."""
    return [
        pytest.param(name, by, marks=pytest.mark.slow) if by in RARER and name in schemes else (name, by)
        for name, by in pairs
    ]


executed = pytest.mark.parametrize(
    ("name", "by"),
    [
        pytest.param(name, by, marks=pytest.mark.slow)
        if by in RARER or (name in HEAVY and by != "wait_for_all")
        else (name, by)
        for name, by in ALLOWED
    ],
)
networked_under_policies = pytest.mark.parametrize(
    ("name", "by"), rare_are_slow([pair for pair in ALLOWED if pair[0] in NETWORKED], HEAVY)
)


def timed(name: str, by: str) -> Result:
    """The run without values: its clock is that of the others, as `test_executors_agree` shows."""
    return run(learning__scheme=name, learning__executor="dry", **policy(by, name))


@pytest.mark.parametrize("name", heavy_are_slow(TRAINED))
def test_same_seed_same_tables(name: str) -> None:
    run_again = run(learning__scheme=name, name="again")  # another entry of the cache, so it really runs again
    assert hashes(run(learning__scheme=name)) == hashes(run_again)
    assert hashes(run(learning__scheme=name, seed=12)) != hashes(run_again)


@executed
def test_executors_agree(name: str, by: str) -> None:
    """Identical clock; values within what float64 arithmetic in another order may differ."""
    setting = {"learning__scheme": name, "learning__precision": "float64", **policy(by, name)}
    eager, batched, dry = (run(learning__executor=each, **setting) for each in ("eager", "batched", "dry"))
    for table in CLOCK:
        assert eager.tables[table] == batched.tables[table] == dry.tables[table], table
    a, b, c = (frame(each, "evaluations") for each in (eager, batched, dry))
    np.testing.assert_allclose(a.value, b.value, rtol=1e-9)
    assert c.value.isna().all()
    pd.testing.assert_frame_equal(a.drop(columns="value"), c.drop(columns="value"))
    assert dry.operations["run"] == 0 < eager.operations["run"]


@pytest.mark.parametrize("policy", ["equal", "fixed"])
@networked
def test_granularities_agree(name: str, policy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """All transmissions of a band (of a channel, with fixed shares) at once have the clock of each by itself."""
    band = {"bandwidth_mhz": 1, "scheduler": policy}
    setting = {
        "learning__scheme": name,
        "learning__executor": "dry",
        "network__sharing": {"uplink": band, "downlink": band},
        "network__interference": {"reuse": 1} if policy == "fixed" else None,
    }
    each = run(**setting)
    joined: list[int] = []
    join = AllTogether.join
    monkeypatch.setattr(AllTogether, "join", lambda self, one: (joined.append(1), join(self, one))[1])
    monkeypatch.setattr(OngoingTransmissions, "few", 0)
    monkeypatch.setattr(OngoingTransmissions, "many", 0)
    together = run(**setting, name="together")  # another entry of the cache, so it really runs
    assert bool(joined) == bool(len(frame(each, "transfers")))
    for table in CLOCK:
        one, other = frame(each, table), frame(together, table)
        pd.testing.assert_frame_equal(one, other, rtol=1e-9, atol=1e-12)  # rates are quotients of differences
        instants = [column for column in one if column.endswith("_s")]
        pd.testing.assert_frame_equal(one[instants], other[instants], rtol=1e-12, atol=1e-12)


@networked_under_policies
def test_conservation(name: str, by: str) -> None:
    result = timed(name, by)
    transfers, computations = frame(result, "transfers"), frame(result, "computations")
    assert ((transfers.lost >= 0) & (transfers.lost <= transfers.bits)).all()
    if by == "wait_for_all":
        assert (transfers.lost == 0).all()
        assert not computations.interrupted.any()
    np.testing.assert_allclose(transfers.end_s - transfers.start_s, transfers.wait_s + transfers.airtime_s, atol=1e-9)
    np.testing.assert_allclose(
        computations.end_s - computations.start_s, computations.wait_s + computations.service_s, atol=1e-9
    )


@networked_under_policies
def test_round_latency_is_the_sum_of_its_critical_path(name: str, by: str) -> None:
    result = timed(name, by)
    rounds, path = frame(result, "rounds"), frame(result, "critical_path")
    np.testing.assert_allclose(path.groupby("round").duration_s.sum(), rounds.latency_s, rtol=1e-9)
    for _, chain in path.sort_values("position").groupby("round"):
        np.testing.assert_allclose(chain.end_s.to_numpy()[:-1], chain.start_s.to_numpy()[1:], rtol=0, atol=1e-12)
    assert (path.duration_s >= 0).all()
    assert (rounds.start_s.to_numpy()[1:] >= rounds.end_s.to_numpy()[:-1]).all()


@networked_under_policies
def test_a_users_energy_is_the_sum_of_its_rows(name: str, by: str) -> None:
    result = timed(name, by)
    energy = frame(result, "energy").groupby("user").sum()
    transfers, computations = frame(result, "transfers"), frame(result, "computations")
    up, down = (transfers[transfers.direction == each].groupby("user").energy_j.sum() for each in ("up", "down"))
    own = computations[computations.node_kind == "user"].groupby("user").energy_j.sum()
    for column, rows in (("transmit_j", up), ("receive_j", down), ("compute_j", own)):
        np.testing.assert_allclose(energy[column], rows.reindex(energy.index, fill_value=0.0), rtol=1e-9)
    spent = energy[["transmit_j", "receive_j", "compute_j", "idle_j", "tail_j"]].to_numpy().sum()
    np.testing.assert_allclose(frame(result, "rounds").energy_j.sum(), spent, rtol=1e-9)


@networked_under_policies
def test_every_scheme_survives_faults(name: str, by: str) -> None:
    """Devices come, go and die within rounds: the run ends, bits and joules add up, nobody works who is away."""
    result = run(learning__scheme=name, learning__executor="dry", network__faults=FAULTS, **policy(by, name))
    transfers, computations = frame(result, "transfers"), frame(result, "computations")
    rounds, outages = frame(result, "rounds"), frame(result, "outages")
    assert result.status == "complete"
    assert len(rounds) == 4
    assert (transfers.lost.sum() > 0) or computations.interrupted.any() or (rounds.dropped > 0).any()
    assert ((transfers.lost >= 0) & (transfers.lost <= transfers.bits)).all()
    for direction, column in (("up", "uplink_bits"), ("down", "downlink_bits")):
        own = transfers[(transfers.direction == direction) & ~given_up_at_the_end(by, result)]
        np.testing.assert_allclose(rounds[column].sum(), ((own.bits - own.lost) / own.receivers).sum(), rtol=1e-12)
    done = [transfers[["user", "start_s", "end_s"]]]
    done.append(computations.loc[computations.user.notna(), ["user", "start_s", "end_s"]])  # by servers for them, too
    both = pd.concat(done).merge(outages.fillna({"end_s": np.inf}), on="user", suffixes=("", "_away"))
    assert not ((both.start_s < both.end_s_away) & (both.end_s > both.start_s_away)).any()
    energy = frame(result, "energy").groupby("user").sum()
    for column, rows in (
        ("transmit_j", transfers[transfers.direction == "up"]),
        ("receive_j", transfers[transfers.direction == "down"]),
        ("compute_j", computations[computations.node_kind == "user"]),
    ):
        spent = rows.groupby("user").energy_j.sum().reindex(energy.index, fill_value=0.0)
        np.testing.assert_allclose(energy[column], spent, rtol=1e-9, atol=1e-15)


def given_up_at_the_end(by: str, result: Result) -> pd.Series:
    """Where users carry on, what is under way after the last update belongs to no round.

    What an outage of its user cut off does, even if it was the end of the last round that way.
    """
    transfers, outages, rounds = (frame(result, table) for table in ("transfers", "outages", "rounds"))
    ends = pd.MultiIndex.from_frame(outages[["user", "start_s"]].rename(columns={"start_s": "end_s"}))
    cut_off = pd.MultiIndex.from_frame(transfers[["user", "end_s"]]).isin(ends)
    return (by not in IN_ROUNDS) & (transfers.end_s == rounds.end_s.max()) & (transfers.lost > 0) & ~cut_off


@networked
def test_processors_are_never_busier_than_time_allows(name: str) -> None:
    result = timed(name, "wait_for_all")
    jobs = frame(result, "computations")
    for _, own in jobs.assign(begin_s=jobs.start_s + jobs.wait_s).groupby(["node_kind", "node"], dropna=False):
        ordered = own.sort_values("begin_s")
        assert (ordered.begin_s.to_numpy()[1:] >= ordered.end_s.to_numpy()[:-1] - 1e-12).all()  # one slot each


@pytest.mark.parametrize(
    ("name", "by"),
    rare_are_slow([(n, by) for n in NETWORKED for by in ("deadline", "first_k", "over_selection")], HEAVY),
)
def test_policies_drop_stragglers(name: str, by: str) -> None:
    everyone, rounds = (frame(timed(name, each), "rounds") for each in ("wait_for_all", by))
    assert (rounds.participants + rounds.dropped == 4).all()
    assert rounds.participants.sum() > 0
    assert rounds.dropped.sum() > 0
    if by == "deadline":  # it cuts the longest round; who was dropped may have to fetch its part anew in the next
        assert rounds.latency_s.max() < everyone.latency_s.max()
    else:
        assert rounds.latency_s.mean() < everyone.latency_s.mean()
    if by == "first_k":
        assert (rounds.participants >= 2).all()


@networked
@pytest.mark.parametrize("share", [0.03, 0.4, 0.8])
def test_a_deadline_ends_whatever_is_in_a_round(name: str, share: float) -> None:
    """All that is done, sent or decided ends by then, and nothing follows but the server's aggregation."""
    longest_s = frame(timed(name, "wait_for_all"), "rounds").latency_s.max()
    deadline = {"name": "deadline", "deadline_s": share * longest_s}
    result = run(learning__scheme=name, learning__executor="dry", learning__policy=deadline)
    rounds, jobs = frame(result, "rounds").set_index("round"), frame(result, "computations")
    aggregation = jobs[(jobs.node_kind == "server") & jobs.kind.isin(["aggregation", "alignment"])]
    others = pd.concat([jobs.drop(aggregation.index), frame(result, "transfers")])
    closes_s = rounds.start_s + share * longest_s
    assert (others.end_s <= others["round"].map(closes_s) + 1e-12).all()
    after_s = (aggregation.end_s - aggregation.start_s).groupby(aggregation["round"]).sum()
    assert (rounds.end_s <= closes_s.add(after_s, fill_value=0.0) + 1e-12).all()


PLAIN: dict[str, dict[str, Any]] = {
    "fedprox": {"mu": 0},
    "fedsl_pq": {"pruning_rate": {"final": 0}},
    "genfl": {"generator": "oracle"},
    "hasfl": {"controller": "fixed"},
    "sflam": {"control": {"solver": "fixed", "ranges": "equal"}},
    "tsflora": {"tokens": 8},
    "st_sflora": {"control": {"attention": "flat"}},
    "hsplitlora": {"control": {"importance": "uniform", "configuration": "fixed", "ranks": [1, 2]}},
    "hetlora": {"control": {"ranks": [1, 2]}},
    "hfedmoe": {"selection": "all", "tau": 0},
}
"""Settings in which all of a scheme's samples cost the same."""
A_MINI_BATCH_A_ROUND = (
    "centralised",
    "sfl",
    "psl",
    "epsl",
    "gapsl",
    "ho_sfl",
    "zo_sfl",
    "fedsl_pq",
    "hasfl",
    "st_sflora",
    "token_comm",
    "token_fusion",
)


@pytest.mark.parametrize("name", sorted(set(TRAINED) - MULTIMODAL))
@pytest.mark.parametrize("size", [8, "all"])
def test_a_pass_is_charged_for_the_samples_that_there_are(name: str, size: Any) -> None:
    """FLOPs of each forward pass, or local training, over those of one sample: what torch's DataLoader would deal."""
    described = {"name": name, **PLAIN.get(name, {})}
    in_epochs = name not in A_MINI_BATCH_A_ROUND
    setting = {
        **{field.replace(".", "__"): value for field, value in NEEDS.get(name, {}).items()},
        "learning__data": {"name": "digits", "train_samples": 60, "test_samples": 20},
        "learning__partition": {"name": "quantity_skew", "alpha": 0.5, "min_samples": 1},
        "learning__executor": "dry",
    }
    one = {**described, "local_steps": 1} if in_epochs else described
    alone = run(**setting | {"learning__scheme": one, "learning__batch_size": 1, "learning__stop__rounds": 1})
    passing = {**described, "local_epochs": 1} if in_epochs else described
    rounds = 1 if in_epochs else 9
    result = run(
        **setting | {"learning__scheme": passing, "learning__batch_size": size, "learning__stop__rounds": rounds}
    )
    samples = frame(result, "users").set_index("user").samples.to_dict() if name != "centralised" else {-1: 60}
    private = round(60 * (1 - NEEDS.get(name, {}).get("learning.public_fraction", 0)))
    assert name == "centralised" or (
        sum(samples.values()) == private and min(samples.values()) < 8 < max(samples.values())
    )
    each, whole = (_training(found) for found in (alone, result))
    for user, owned in samples.items():
        taken = [flops / each[user][0] * (4 if name == "centralised" else 1) for flops in whole[user]]
        most = owned if size == "all" else 8 * (4 if name == "centralised" else 1)
        mini_batches = [min(most, owned - first) for first in range(0, owned, most)]
        if name in ("fedavg", "fedprox", "genfl", "local", "hetlora", "fedalign_moe"):
            mini_batches = [owned]  # one job
        assert taken == (mini_batches * 9)[: len(taken)]
        assert len(taken) == (len(mini_batches) if in_epochs else 9)


def _training(result: Result) -> dict[int, list[float]]:
    """FLOPs of what looks at samples first, by user (the server is -1), in order."""
    jobs = frame(result, "computations")
    first = jobs[jobs.kind.isin(["client_forward", "client_training", "server_training"])].sort_values("start_s")
    return {int(user): list(own.flops) for user, own in first.assign(user=first.user.fillna(-1)).groupby("user")}


BY_VALUES: dict[str, dict[str, Any]] = {
    "gapsl": {"penalty": "double", "skip_empty_downlink": True},
    "hasfl": {"constants": {"estimate": True}},
    "sflam": {"control": {}},
    "st_sflora": {"control": {"attention": "reported"}},
    "fedalign_moe": {"skip_unused": True},
    "hfedmoe": {"selection": "importance", "tau": None, "budget": {"experts": [2]}},
    "token_fusion": {"task_rounds": 1, "loss": {"curve": "power_law"}},
    "hsplitlora": {"control": {**NEEDS["hsplitlora"]["learning.scheme"]["control"], "importance": "rngwp"}},
}
"""Settings in which a scheme decides by values that training produces."""


@pytest.mark.parametrize(("name", "by_values"), [(n, False) for n in TRAINED] + [(n, True) for n in BY_VALUES])
def test_a_scheme_that_reads_values_names_its_stand_in(
    name: str, by_values: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reads are seen at the executor; those of evaluations, which decide nothing, are not counted."""
    given = NEEDS.get(name, {}).get("learning.scheme", {})
    described = {**given, "name": name, **(BY_VALUES[name] if by_values else {})}
    setting = {"learning.scheme": described, "learning.executor": "eager", "learning.stop.rounds": 2}
    scenario = load(TINY, {**NEEDS.get(name, {}), **setting})
    reads = []
    evaluate, value = Evaluator.__call__, Executor.value
    monkeypatch.setattr(World, "trained", lambda world: [])  # the models that are written at the end decide nothing

    def seen(executor: Executor, tree: Any) -> Any:
        reads.append(tree)
        return value(executor, tree)

    def unseen(*args: Any, **named: Any) -> None:
        before = len(reads)
        evaluate(*args, **named)
        del reads[before:]

    monkeypatch.setattr(Executor, "value", seen)
    monkeypatch.setattr(Evaluator, "__call__", unseen)
    simulate(scenario)
    assert scenario.learning is not None
    assert (scenario.learning.scheme.stand_in is not None) == bool(reads) == by_values


@pytest.mark.parametrize("name", heavy_are_slow(sorted(set(TRAINED) - MULTIMODAL)))
def test_it_learns(name: str) -> None:
    rounds = 35 if name in A_MINI_BATCH_A_ROUND else 25
    evaluations = frame(run(learning__scheme=name, learning__stop__rounds=rounds), "evaluations")
    assert evaluations.query("metric == 'accuracy'").value.max() > 0.3  # chance is 0.1
