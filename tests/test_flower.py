"""Apps written for Flower, beside the same learning as a scheme of netsim."""

import random
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from runs import TINY, frame, hashes
from scenarios import RunFailed, load, simulate
from scenarios.errors import ScenarioError
from scenarios.run import Result

pytest.importorskip("flwr", reason="the extra flower is not installed")

import flower_apps

MESSAGES = {"app": "flower_apps:app", "server": "flower_apps:averaging"}
RECORDS = {"app": "flower_apps:client_fn", "server": "flower_apps:record_averaging"}
COMMON = {
    "learning.model": {"name": "mlp", "hidden": [16]},
    "learning.optimiser": {"name": "sgd", "learning_rate": flower_apps.LEARNING_RATE},
    "learning.precision": "float64",
    "learning.stop.rounds": 3,
}
DEADLINE = {"learning.policy": {"name": "deadline", "deadline_s": 0.06}}


def run(scheme: Any, **more: Any) -> Result:
    """The tiny cell with a scheme; double underscores are dots."""
    own = {"name": "flower", **scheme} if isinstance(scheme, dict) else scheme
    overrides = {name.replace("__", "."): value for name, value in more.items()}
    return simulate(load(TINY, {**COMMON, "learning.scheme": own, **overrides}))


def evaluations(result: Result, metric: str) -> np.ndarray:
    return frame(result, "evaluations").query("metric == @metric").value.to_numpy()


@pytest.mark.parametrize(
    ("app", "extra_bits"),
    [(MESSAGES, {"down": 64, "up": 2 * 64}), (RECORDS, {"down": 0, "up": 2 * 64 + 7 * 8})],
    ids=["messages", "records"],
)
def test_federated_averaging_is_that_of_netsim(app: dict[str, Any], extra_bits: dict[str, int]) -> None:
    """Losses, weights and FLOPs of every job.

    A message is larger by the numbers that Flower sends along: that of the round down, and those of samples and of
    rounds up; or that of samples, with the status 0, "Success".
    """
    ours, theirs = run("fedavg"), run(app)
    np.testing.assert_allclose(evaluations(theirs, "loss"), evaluations(ours, "loss"), rtol=1e-6)
    pairs = zip(theirs.model().parameters(), ours.model().parameters(), strict=True)
    assert all(torch.allclose(one, other, rtol=0, atol=1e-6) for one, other in pairs)
    columns = ["round", "node_kind", "user", "kind", "flops"]
    jobs = [frame(each, "computations")[columns].sort_values(columns[:3]) for each in (theirs, ours)]
    assert jobs[0].to_numpy(na_value=-1).tolist() == jobs[1].to_numpy(na_value=-1).tolist()
    sent = [frame(each, "transfers").sort_values(["round", "user"]) for each in (theirs, ours)]
    for direction, extra in extra_bits.items():
        bits = [each[each.direction == direction].bits.to_numpy() for each in sent]
        assert (bits[0] - bits[1]).tolist() == [extra] * 12
    assert frame(theirs, "rounds").latency_s.to_numpy() == pytest.approx(frame(ours, "rounds").latency_s, rel=0.02)


def test_the_template_of_a_server_app_starts_from_its_own_model() -> None:
    """Its main function runs up to the start of the strategy; its evaluation at the server is called in each round."""
    result = run({"app": "flower_apps:app", "server": "flower_apps:server"})
    assert evaluations(result, "server.round").tolist() == [1, 2, 3]
    again = run({"app": "flower_apps:client_fn", "server": "flower_apps:server_fn"})  # the same model, by records
    np.testing.assert_allclose(evaluations(result, "loss"), evaluations(again, "loss"), rtol=1e-6)
    assert evaluations(run(MESSAGES), "loss")[0] != pytest.approx(evaluations(result, "loss")[0], rel=1e-3)


@pytest.mark.parametrize("server", ["evaluating", "server_fn"])
def test_users_evaluate_at_their_simulated_times(server: str) -> None:
    """The mean accuracy on all training samples, which is also that of the model where it is evaluated in one place."""
    app = "app" if server == "evaluating" else "client_fn"
    result = run({"app": f"flower_apps:{app}", "server": f"flower_apps:{server}"})
    jobs = frame(result, "computations")
    done = jobs.query("kind == 'client_evaluation'")
    assert len(done) == 3 * 4
    ends = jobs.query("kind == 'aggregation'").set_index("round").end_s
    assert (done.start_s.to_numpy() > ends[done["round"]].to_numpy()).all()
    products = 64 * 16 + 16 * 10
    samples = frame(result, "users").set_index("user").samples
    assert done.flops.tolist() == [2 * samples[user] * products for user in done.user]
    accuracy = evaluations(result, "evaluate.accuracy")
    assert len(accuracy) == 3
    assert ((accuracy > 0.1) & (accuracy <= 1)).all()
    assert (frame(result, "rounds").participants == 4).all()


def test_a_deadline_drops_users_whose_state_stays_as_it_was() -> None:
    """Each user counts, in its own state, the rounds that its replies arrived in."""
    result = run(MESSAGES, learning__stop__rounds=8, **{"learning.policy": DEADLINE["learning.policy"]})
    rounds = frame(result, "rounds")
    assert 0 < rounds.dropped.sum() < 8 * 4
    arrived = frame(result, "transfers").query("direction == 'up' and lost == 0 and kind == 'model'")
    counted: dict[int, int] = {}
    means = []
    samples = frame(result, "users").set_index("user").samples
    for _, users in arrived.groupby("round").user:
        counted |= {user: counted.get(user, 0) + 1 for user in users}
        means.append(np.average([counted[user] for user in users], weights=[samples[user] for user in users]))
    assert evaluations(result, "train.rounds") == pytest.approx(means)


def test_a_deadline_holds_for_training_and_for_evaluation_each() -> None:
    result = run({"app": "flower_apps:app", "server": "flower_apps:evaluating"}, **DEADLINE)
    rounds, jobs = frame(result, "rounds"), frame(result, "computations")
    assert (rounds.latency_s > 0.06).all()
    assert (rounds.latency_s < 0.13).all()
    evaluated = jobs.query("kind == 'client_evaluation' and not interrupted")
    assert len(evaluated) > 0
    assert (rounds.participants < 4).any()
    arrived = frame(result, "transfers").query("direction == 'up' and lost == 0 and kind == 'model'")
    assert (
        arrived.groupby("round").size().reindex(rounds["round"], fill_value=0).tolist() == rounds.participants.tolist()
    )


def test_random_numbers_of_apps_depend_on_the_seed_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the generators of the process are at neither matters nor changes."""

    def noisy(message: Any, context: Any) -> Any:
        reply = plain(message, context)
        drawn = random.random() + np.random.random() + torch.rand(()).item()  # noqa: NPY002
        reply.content["metrics"]["rounds"] = drawn
        return reply

    plain = flower_apps.app
    app = flower_apps.ClientApp()
    app.train()(noisy)
    monkeypatch.setattr(flower_apps, "app", app)
    first = run(MESSAGES)
    before = random.random(), np.random.random(), torch.rand(()).item()  # noqa: NPY002
    assert hashes(run(MESSAGES)) == hashes(first)
    assert before != (random.random(), np.random.random(), torch.rand(()).item())  # noqa: NPY002
    values = evaluations(first, "train.rounds")
    assert len(set(values)) == 3
    assert not set(values) & set(evaluations(run(MESSAGES, seed=12), "train.rounds"))
    torch.manual_seed(5)
    state = torch.get_rng_state()
    run(MESSAGES)
    assert torch.equal(torch.get_rng_state(), state)


def test_what_a_client_does_to_its_message_is_its_own_affair(monkeypatch: pytest.MonkeyPatch) -> None:
    def scribbling(message: Any, context: Any) -> Any:
        assert "seen" not in message.content["config"]
        message.content["config"]["seen"] = 1
        return plain(message, context)

    plain, app = flower_apps.app, flower_apps.ClientApp()
    app.train()(scribbling)
    expected = hashes(run(MESSAGES))
    monkeypatch.setattr(flower_apps, "app", app)
    assert hashes(run(MESSAGES)) == expected


def test_a_strategy_object_begins_anew_in_each_run(monkeypatch: pytest.MonkeyPatch) -> None:
    from flwr.serverapp.strategy import FedAvgM

    strategy = FedAvgM(fraction_evaluate=0.0, server_momentum=0.9)
    monkeypatch.setattr(flower_apps, "averaging", strategy)
    assert hashes(run(MESSAGES)) == hashes(run(MESSAGES))
    assert strategy.momentum_vector is None


def test_without_evaluation_by_netsim_any_model_will_do() -> None:
    result = run(
        {**RECORDS, "server": "flower_apps:server_fn", "evaluated": False},
        learning__model={"name": "mlp", "hidden": [9]},
    )
    table = frame(result, "evaluations")
    assert set(table.metric) == {"evaluate.accuracy", "evaluate.loss"}
    assert set(table.split) == {"train"}


def test_without_values_the_app_runs_and_nothing_is_evaluated() -> None:
    real, dry = run(MESSAGES), run(MESSAGES, learning__executor="dry")
    for table in ("rounds", "transfers", "computations"):
        assert real.tables[table] == dry.tables[table]
    assert frame(dry, "evaluations").value.isna().all()


@pytest.mark.parametrize(
    ("change", "more", "sentence"),
    [
        ({"app": "elsewhere:app"}, {}, "code that is not loaded; write netsim --import elsewhere"),
        ({"app": "flower_apps"}, {}, "write a module and a name in it"),
        ({"app": "flower_apps:nothing"}, {}, "there is no nothing in the module flower_apps"),
        ({"app": "flower_apps:Perceptron"}, {}, "is the class Perceptron; allowed are a ClientApp and a client_fn"),
        ({"server": "flower_apps:LEARNING_RATE"}, {}, "is a float; allowed are a strategy"),
        ({"server": "flower_apps:idle"}, {}, "ends without a call of Strategy.start"),
        ({"server": "flower_apps:own_loop"}, {}, "sends messages by itself"),
        (
            {"server": "flower_apps:server"},
            {"learning__model": {"name": "mlp", "hidden": [9]}},
            r"array 0 of the app has the shape \(16, 64\), .* of learning.model \(9, 64\); describe",
        ),
        (
            {"server": "flower_apps:server"},
            {"learning__model": {"name": "mlp", "hidden": [16, 10]}},
            "the app's model has 4 arrays and learning.model has 6|array 2",
        ),
    ],
)
def test_what_does_not_fit_is_said_before_the_run(change: dict[str, Any], more: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ScenarioError, match=sentence):
        run({**MESSAGES, **change}, **more)


@pytest.mark.parametrize(("app", "server"), [(MESSAGES, "crowded"), (RECORDS, "record_crowded")])
def test_a_strategy_that_waits_for_more_users_is_told(
    app: dict[str, Any], server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flwr.serverapp.strategy.strategy_utils.sleep", lambda _: None)
    with pytest.raises(RunFailed, match=r"waits for (more|1000) users, and a round has 4"):
        run({**app, "server": f"flower_apps:{server}"})


def test_samples_are_for_clients_of_a_simulation_only() -> None:
    from learning.schemes.flower import samples

    with pytest.raises(ValueError, match="not that of a client in a netsim scenario"):
        samples(object())


def test_the_example_drops_users_and_learns(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`python examples/flower_app.py`, but for the number of rounds."""
    folder = Path(__file__).parents[1] / "examples"
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, "flower_app", raising=False)
    import flower_app  # noqa: F401

    result = simulate(load(folder / "flower_app.yaml", {"learning.stop.rounds": 8}), out=tmp_path / "run")
    assert result.accuracy is not None
    assert result.accuracy > 0.7  # a tenth is chance
    rounds = frame(result, "rounds")
    assert 0 < rounds.dropped.sum() < rounds.participants.sum()
