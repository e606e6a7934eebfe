"""Requests that the model of a scheme answers: by hand, beside training, and in storms in which none may get lost."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from learning import steps
from learning.executor.deferred import Deferred
from learning.parties import Server, User
from learning.ports import Process
from learning.protocols.join import join
from learning.scheme import Scheme
from learning.schemes import SCHEMES
from learning.schemes.fedavg import FedAvg
from learning.store import Store
from learning.world import World
from netsim.trace import Trace
from runs import TINY, frame, hashes
from scenarios import load, simulate
from scenarios.build import build
from scenarios.errors import ScenarioError
from scenarios.families import register
from scenarios.run import Result
from scenarios.simulation import Simulation

TIMEOUT_S, DURATION_S = 0.025, 1.0
SITES = {"near": {"station": 0, "flops_per_s": 1e7}, "far": {"flops_per_s": 1e8, "delay_s": 0.01}}


@dataclass(frozen=True)
class Asked(Scheme):
    """The first blocks at the user, the others at two sites side by side, both of which answer. No training."""

    period_s: float = 0.25
    """Simulated seconds of a round, after which the model is evaluated."""

    serves = True

    def run(self, world: World) -> Process[None]:
        world.answer_by(partial(answer, world))
        for _ in world.rounds():
            yield world.env.timeout(self.period_s)
            world.models(world.initial(world.whole))


@dataclass(frozen=True)
class AskedWhileTraining(FedAvg):
    """Federated averaging, whose initial model answers meanwhile."""

    serves = True

    def run(self, world: World) -> Process[None]:
        world.answer_by(partial(answer, world))
        return super().run(world)


@dataclass(frozen=True)
class Silent(Scheme):
    """It declares that its model answers, and gives no service."""

    serves = True

    def run(self, world: World) -> Process[None]:
        for _ in world.rounds():
            yield world.env.timeout(1.0)
            world.models(world.initial(world.whole))


answered: list[tuple[int, str, int]] = []
"""Requests whose answers have arrived since a test cleared this list: user, stream, number."""


def answer(world: World, user: User, stream: str, number: int) -> Process[None]:
    x, _ = user.batch(number)
    z = yield from user.do(steps.front, world.front, world.initial(world.front), x, kind="question")
    sites = [world.sites[name] for name in SITES]
    yield from join(world.env, [called(world, user, site, z) for site in sites])
    answered.append((user.number, stream, number))


def called(world: World, user: User, site: Server, z: Deferred[Any]) -> Process[Any]:
    seen = yield from user.send(site, z, "activation")
    y = yield from site.do(steps.front, world.back, world.initial(world.back), seen, kind="work", user=user)
    return (yield from site.send(user, y, "answer"))


@pytest.fixture(autouse=True)
def schemes(own_parts: None) -> None:
    for name, scheme in {"asked": Asked, "asked_while_training": AskedWhileTraining, "silent": Silent}.items():
        register("scheme", name, scheme)
    answered.clear()


def stream(**fields: Any) -> dict[str, Any]:
    return {"arrivals": {"name": "poisson", "rate_per_s": 15.0}, "answered_by": "model", **fields}


def settled(**overrides: Any) -> dict[str, Any]:
    """Overrides of the tiny scenario: two sites, requests to the model for a second, and rounds as long."""
    streams = overrides.pop("streams", {"questions": stream()})
    return {
        "compute.sites": SITES,
        "learning.scheme": "asked",
        "learning.stop": {"time_s": DURATION_S},
        "traffic": {"duration_s": DURATION_S, "streams": streams},
        **{name.replace("__", "."): value for name, value in overrides.items()},
    }


def ran(**overrides: Any) -> Result:
    return simulate(load(TINY, settled(**overrides)))


def test_a_request_is_its_chain_of_work(tmp_path: Path) -> None:
    """A single request: the job at the user, then the longer of two chains of uplink, job and downlink."""
    (tmp_path / "one.csv").write_text("time_s\n0.3\n")
    one = stream(arrivals={"name": "recorded", "file": str(tmp_path / "one.csv")})
    result = ran(streams={"questions": one})
    (row,) = frame(result, "requests").to_dict("records")
    work = pd.concat([frame(result, "computations"), frame(result, "transfers")])
    ends_s = dict(zip(work.kind + work.node, work.end_s, strict=True))
    assert (row["arrival_s"], row["outcome"], row["number"], row["stream"]) == (0.3, "served", 0, "questions")
    assert row["end_s"] == work.end_s.max() == frame(result, "transfers").query("kind == 'answer'").end_s.max()
    assert sorted(work.query("kind == 'question'").start_s) == [0.3]
    assert ends_s["worknear"] < row["end_s"]
    assert ends_s["workfar"] < row["end_s"]
    assert set(work.query("kind == 'activation' and direction == 'up'").start_s) == {ends_s["questionuser0"]}
    assert row["latency_s"] == row["end_s"] - 0.3
    assert pd.isna([row[name] for name in ("node", "bits", "flops", "start_s")]).all()


def test_a_request_that_takes_too_long_leaves_nothing_behind() -> None:
    """Both calls of a request are abandoned at its timeout, whatever they are doing."""
    late = ran(streams={"questions": stream(timeout_s=TIMEOUT_S)})
    requests = frame(late, "requests")
    slow = requests[requests.outcome == "timed_out"]
    assert len(slow) > 5
    assert set(requests.outcome) == {"served", "timed_out"}
    assert slow.latency_s.to_numpy() == pytest.approx(TIMEOUT_S)
    assert (requests[requests.outcome == "served"].latency_s <= TIMEOUT_S * (1 + 1e-12)).all()
    work = pd.concat([frame(late, "computations"), frame(late, "transfers")])
    abandoned = work[work.interrupted.fillna(False).astype(bool) | (work.lost.fillna(0) > 0)]
    assert set(abandoned.end_s.round(9)) <= set(slow.end_s.round(9))


def test_a_request_is_lost_when_its_user_leaves(tmp_path: Path) -> None:
    """At that instant, although only a site works for it then, and radio and device of the user are idle."""
    (tmp_path / "one.csv").write_text("time_s,user\n0.3,0\n")
    one = stream(arrivals={"name": "recorded", "file": str(tmp_path / "one.csv"), "user_column": "user"})
    result = ran(
        streams={"questions": one},
        compute__sites={"near": {**SITES["near"], "flops_per_s": 5e4}, "far": SITES["far"]},  # takes 0.17 s
        network__faults={"outages": [{"user": 0, "from_s": 0.4, "until_s": 0.45}]},
    )
    (row,) = frame(result, "requests").to_dict("records")
    (job,) = frame(result, "computations").query("node == 'near'").to_dict("records")
    assert job["start_s"] < 0.4
    assert job["interrupted"]
    assert (row["outcome"], row["end_s"], job["end_s"]) == ("lost", 0.4, 0.4)


def test_training_goes_on_beside() -> None:
    """Requests take time of radios and processors, and change no value of the training."""
    rounds = {"learning__stop": {"rounds": 4}, "learning__scheme": "asked_while_training"}
    busy = ran(**rounds, streams={"questions": stream(arrivals={"name": "periodic", "period_s": 0.01})})
    alone = ran(**rounds, traffic=None)
    assert frame(busy, "evaluations").value.tolist() == frame(alone, "evaluations").value.tolist()
    assert busy.simulated_time_s > alone.simulated_time_s
    assert len(frame(busy, "requests")) > 100


@pytest.mark.parametrize("executor", ["eager", "dry"])
def test_values_do_not_matter_to_time(executor: str) -> None:
    time = ("requests", "transfers", "computations")
    one, other = hashes(ran()), hashes(ran(learning__executor=executor))
    assert [one[table] for table in time] == [other[table] for table in time]


def test_a_second_run_reads_the_answers_from_the_cache(tmp_path: Path) -> None:
    scenario, results = load(TINY, settled()), []
    for _ in range(2):
        store = Store(tmp_path / "store")
        results.append(simulate(scenario, store=store))
        store.close()
    assert hashes(results[0]) == hashes(results[1])
    assert results[0].operations["run"] > 0 == results[1].operations["run"]


OUTAGES = st.lists(
    st.tuples(st.integers(0, 3), st.just(0.0) | st.floats(1e-9, 0.9), st.none() | st.floats(0.001, 0.2)), max_size=4
)


@given(
    st.dictionaries(st.sampled_from(["a", "b"]), st.none() | st.sampled_from([TIMEOUT_S, 0.04]), min_size=1),
    OUTAGES,
    st.sampled_from(["fifo", "processor_sharing"]),
    st.sampled_from(["asked", "asked_while_training"]),
)
@settings(max_examples=10)
def test_storms(
    timeouts_s: dict[str, float | None], outages: Sequence[tuple[int, float, float | None]], queue: str, scheme: str
) -> None:
    """Each request ends once, served ones were answered once; radios, processors and queues are free at the end."""
    answered.clear()
    away = [
        {"user": user, "from_s": from_s, "until_s": None if lasts_s is None else from_s + lasts_s}
        for user, from_s, lasts_s in outages
    ]
    scenario = load(
        TINY,
        settled(
            streams={name: stream(timeout_s=timeout_s) for name, timeout_s in timeouts_s.items()}
            | {"at_server": stream(answered_by="server", flops=1e5)},
            network__faults={"outages": away},
            compute__sites={name: {**site, "discipline": queue} for name, site in SITES.items()},
            learning__scheme=scheme,
            learning__executor="dry",
        ),
    )
    simulation = build(scenario)
    simulation.record_in(Trace(None))
    assert simulation.process is not None
    simulation.env.run(simulation.env.process(simulation.process))
    rows = simulation.journal.trace.frame("requests").to_pylist()
    assert scenario.traffic is not None
    arrivals = [
        (user, name, number)
        for name, each in scenario.traffic.streams.items()
        for user, instants in enumerate(each.arrivals.of_users(range(4), 4, simulation.network.streams, name))
        for number, _ in enumerate(takewhile(lambda arrival: arrival.instant_s < DURATION_S, instants))
    ]
    assert sorted((row["user"], row["stream"], row["number"]) for row in rows) == sorted(arrivals)
    served = [(row["user"], row["stream"], row["number"]) for row in rows if row["outcome"] == "served"]
    assert sorted(each for each in served if each[1] != "at_server") == sorted(answered)
    for row in rows:
        if row["outcome"] == "timed_out":
            assert row["latency_s"] == pytest.approx(timeouts_s[row["stream"]])
        if row["outcome"] == "lost":  # at the instant at which the device leaves, or at once
            assert row["end_s"] in {row["arrival_s"], *(from_s for user, from_s, _ in outages if user == row["user"])}
    assert busy(simulation) == []


def busy(simulation: Simulation) -> list[str]:
    """Names of processors that have a job, and radios that are taken."""
    network = simulation.network
    processors = [node.processor for node in (*network.sites.values(), *network.users)]
    radios = [radio for user in network.users for radio in (user.uplink, user.downlink)]
    return [processor.node for processor in processors if processor.queue.present] + [
        f"{radio.user}" for radio in radios if radio.lock.count or radio.lock.queue
    ]


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        ({"learning__scheme": "fedavg"}, "answered_by: found model, but the scheme does not answer requests"),
        ({"streams": {"x": stream(flops=1e6, at="central")}}, "found flops and at where answered_by is model"),
        (
            {"streams": {"x": stream(arrivals={"name": "recorded", "file": "a.csv", "flops_column": "b"})}},
            r"found arrivals\.flops_column where answered_by is model",
        ),
        ({"streams": {"x": stream(answered_by="cloud")}}, r'found "cloud"; one of server, model is allowed'),
    ],
)
def test_what_cannot_be_answered(overrides: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ScenarioError, match=sentence):
        load(TINY, settled(**overrides))


def test_without_learning_there_is_no_model() -> None:
    without = {"learning": None, "traffic": {"duration_s": 1.0, "streams": {"x": stream()}}}
    with pytest.raises(ScenarioError, match=r"traffic\.streams\.x\.answered_by: found model, but there is no learning"):
        load(TINY, without)


def test_a_scheme_must_keep_its_word() -> None:
    with pytest.raises(Exception, match=r"has not called world\.answer_by"):
        ran(learning__scheme="silent")


def test_schemes_of_training_answer_nothing() -> None:
    assert [
        name for name, scheme in SCHEMES.items() if scheme.serves and name not in ("dual_health", "moe_inference")
    ] == [
        "asked",
        "asked_while_training",
        "silent",
    ]
