"""The examples of placed parts run as their users run them, and learn what plainer schemes learn."""

import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import scenarios
from learning.data import DATASETS
from learning.schemes import SCHEMES
from learning.store import Store
from runs import FAULTS, frame, policy
from scenarios.errors import ScenarioError
from scenarios.run import Result

EXAMPLES = Path(__file__).parents[1] / "examples"
OUTER = 64 * 64 + 64 + 32 * 10 + 10  # weights of the first and the last layer, which are at the users
QUICK: dict[str, Any] = {"learning.stop.rounds": 3, "learning.evaluate_every": 1}
AT_A_SITE = {"compute.sites": {"edge": {"station": 0, "flops_per_s": 1e9}}, "learning.placement": {"middle": "edge"}}


@pytest.fixture(autouse=True)
def _registered(own_parts: None) -> None:
    for name in ("u_shaped", "two_towers"):
        runpy.run_path(str(EXAMPLES / f"{name}.py"))


def u_shaped(**changes: Any) -> Result:
    setting = {path.replace("__", "."): value for path, value in changes.items()}
    return scenarios.simulate(scenarios.load(EXAMPLES / "u_shaped.yaml", {**QUICK, **setting}))


def test_the_u_shaped_example_runs_and_learns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`python examples/u_shaped.py`, but for the number of rounds; ten classes, so that guessing gets 0.1."""
    read = scenarios.load
    monkeypatch.setattr(scenarios, "load", lambda path: read(path, {"learning.stop.rounds": 15}))
    monkeypatch.chdir(tmp_path)
    del SCHEMES["u_shaped"]  # the script gives the name to a class of its own
    result: Result = runpy.run_path(str(EXAMPLES / "u_shaped.py"), run_name="__main__")["result"]
    assert capsys.readouterr().out.startswith(f"accuracy {result.accuracy:.3f} after ")
    assert result.accuracy > 0.7


@pytest.mark.parametrize("where", ["at the server", "at a site"])
@pytest.mark.parametrize("executor", ["eager", "batched"])
def test_its_losses_are_those_of_splitfed_bit_for_bit(executor: str, where: str) -> None:
    """The same layers cut once more, wherever the middle is: nothing but time and bits differs."""
    scheme = {"name": "sfl_v1", "local_steps": 4, "weighting": "by_samples"}
    split = u_shaped(learning__scheme=scheme, learning__cut=1, learning__executor=executor)
    ours = u_shaped(learning__executor=executor, **(AT_A_SITE if where == "at a site" else {}))
    columns = ["round", "metric", "value"]
    assert frame(ours, "evaluations")[columns].equals(frame(split, "evaluations")[columns])
    served = frame(ours, "computations").query("kind in ['server_forward', 'server_backward']")
    assert set(served.node) == {"edge" if where == "at a site" else "server"}


def test_labels_never_leave_the_users() -> None:
    """Every uplink message is of activations, gradients or weights, each of the size that these have."""
    transfers = frame(u_shaped(learning__executor="dry", learning__last_batch="wrap"), "transfers")
    up = transfers[transfers.direction == "up"].groupby("kind").bits.unique()
    assert up.activation.tolist() == [32 * 64 * 32]
    assert up.gradient.tolist() == [32 * 32 * 32]
    assert up.model.tolist() == [32 * OUTER]
    assert set(up.index) == {"activation", "gradient", "model"}


@pytest.mark.parametrize("by", ["deadline", "first_k"])
def test_it_follows_policies_and_survives_faults(by: str) -> None:
    given = policy(by, "u_shaped")
    result = u_shaped(learning__executor="dry", learning__stop__rounds=4, network__faults=FAULTS, **given)
    rounds = frame(result, "rounds")
    assert (result.status, len(rounds)) == ("complete", 4)
    assert (rounds.dropped > 0).any()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"learning.cut": 1}, "a U-shaped split needs two cuts"),
        ({"learning.placement": {"tail": "server"}}, "only front and tail at the user"),
        (
            {"learning.placement": {"head": "user"}},
            "learning.placement: the model has no part head; it has front, middle, tail",
        ),
        ({"learning.placement": {"middle": "moon"}}, "there is no host moon for part middle; user, server are allowed"),
        ({"learning.cut": [1, 3]}, "learning.cut: cut 3 does not leave a block on either side; possible cuts: 2 to 2"),
        ({"learning.scheme.name": "sfl"}, "learning.cut: the scheme splits a model in two, if at all"),
    ],
)
def test_what_does_not_fit_is_refused_in_a_sentence(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ScenarioError, match=sentence):
        scenarios.simulate(scenarios.load(EXAMPLES / "u_shaped.yaml", {**QUICK, **changes}))


def two_towers(**changes: Any) -> Result:
    setting = {path.replace("__", "."): value for path, value in changes.items()}
    return scenarios.simulate(scenarios.load(EXAMPLES / "two_towers.yaml", {**QUICK, **setting}))


@pytest.mark.slow
def test_two_modalities_are_better_than_either_though_half_of_the_users_lack_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`python examples/two_towers.py`.

    By 11 to 14 points with seeds 3 to 5; 5 are two standard errors of a difference on 360 test images.
    """
    monkeypatch.chdir(tmp_path)
    del DATASETS["halves"], SCHEMES["two_towers"]  # the script gives the names to classes of its own
    accuracy = runpy.run_path(str(EXAMPLES / "two_towers.py"), run_name="__main__")["accuracy"]
    assert accuracy["upper", "lower"] > max(accuracy["upper",], accuracy["lower",]) + 0.05
    assert capsys.readouterr().out.startswith(f"upper and lower: accuracy {accuracy['upper', 'lower']:.3f} after ")


def test_where_all_users_hold_both_it_is_split_federated_learning_bit_for_bit() -> None:
    """Joint steps, and device parts averaged in each round: then all towers together are one device part."""
    scheme = {"name": "sfl", "interval": 1, "weighting": "by_samples"}
    ours, plain = (two_towers(learning__data__lacking=False, **each) for each in ({}, {"learning__scheme": scheme}))
    columns = ["round", "metric", "value"]
    assert frame(ours, "evaluations")[columns].equals(frame(plain, "evaluations")[columns])
    assert frame(ours, "rounds").uplink_bits.equals(frame(plain, "rounds").uplink_bits)
    lacking = frame(two_towers(), "evaluations")
    assert not lacking[columns].equals(frame(ours, "evaluations")[columns])


def test_a_user_without_a_modality_neither_gets_nor_computes_nor_sends_its_tower() -> None:
    """Messages in closed form: towers of 32 hidden units and 32 features on 4 x 8 pixels, mini-batches of 32."""
    result = two_towers(learning__executor="dry", learning__last_batch="wrap")
    transfers = frame(result, "transfers")
    tower, features, flags, labels = 32 * (32 * 32 + 32 + 32 * 32 + 32), 32 * 32 * 32, 32, 64 * 32
    for parity, held in ((0, 2), (1, 1)):
        own = transfers[transfers.user % 2 == parity]
        assert set(own[own.kind == "model"].bits) == {held * tower}
        assert set(own[own.kind == "activation"].bits) == {held * (features + flags) + labels}
        assert set(own[own.kind == "gradient"].bits) == {held * features}


@pytest.mark.parametrize("by", ["deadline", "first_k"])
def test_two_towers_follow_policies_and_survive_faults(by: str) -> None:
    given = policy(by, "two_towers")
    result = two_towers(learning__stop__rounds=4, network__faults=FAULTS, **given)
    rounds = frame(result, "rounds")
    assert (result.status, len(rounds)) == ("complete", 4)
    assert (rounds.dropped > 0).any()
    assert frame(result, "evaluations").value.notna().all()


@pytest.mark.parametrize(
    ("example", "changes"),
    [(u_shaped, AT_A_SITE), (two_towers, {"network.sharing.uplink.bandwidth_mhz": 7})],
    ids=["another placement", "another network"],
)
def test_another_placement_or_network_computes_nothing_again(
    example: Callable[..., Result], changes: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = scenarios.simulate
    monkeypatch.setattr(scenarios, "simulate", lambda scenario: run(scenario, store=Store(tmp_path)))
    first, again = example(), example(**changes)
    assert first.operations["run"] > 0 == again.operations["run"]
    assert first.accuracy == again.accuracy
    assert first.simulated_time_s != again.simulated_time_s
