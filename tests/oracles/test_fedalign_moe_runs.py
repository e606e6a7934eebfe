"""Whole runs of FedAlign-MoE: plain loops from its formulas, FedAvg, identical users, messages and server work."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from by_hand import Plain, batch
from fedalign_by_hand import Client, merged, mixtures, personal, statistics, train

from fakes import FakeWorld, world
from learning.executor import EXECUTORS
from learning.models import Experts, Vit
from learning.optimisers import Sgd
from learning.participation import RandomParticipation
from learning.parties import User
from learning.schemes import FedAlignMoE, FedAvg
from learning.wire import Wire

WIDTH, DEPTH, COUNT, TOP_K, STEPS, ROUNDS = 8, 2, 4, 2, 2, 3
HIDDEN = 2 * WIDTH
SETTING: dict[str, Any] = {
    "model": Vit(4, WIDTH, DEPTH, 2, experts=Experts(COUNT, TOP_K)),
    "optimiser": Sgd(0.3),
    "batch_size": 4,
    "rounds": ROUNDS,
    "samples": (8, 12, 20),
    "test_samples": 10,
}
EXPERT = 2 * WIDTH * HIDDEN + HIDDEN + WIDTH
"""Parameters of an expert: two matrices and their biases."""


def ran(scheme: Any, **changed: Any) -> FakeWorld:
    return world(scheme, **(SETTING | changed))


def by_hand(scheme: FedAlignMoE, run: FakeWorld) -> tuple[list[dict[str, torch.Tensor]], float]:
    """The model of each user after all rounds, with the parts of its own, and the last share of rejected pairs."""
    start = run.whole.initial(run.streams, run.precision)
    drawn = run.streams.generator("anchors").standard_normal((1, scheme.anchors, WIDTH))[0]
    anchors = torch.from_numpy(drawn).to(run.precision)
    common, reference, rejected = start, {}, 0.0
    own: list[dict[str, torch.Tensor]] = [{} for _ in run.users]
    for number in range(ROUNDS):
        clients, own_gates = [], []
        for user in run.users:
            plain = Plain(run, run.whole, Sgd(0.3))
            plain.load(common | own[user.number])
            batches = [batch(run, user, position) for position in range(number * STEPS, (number + 1) * STEPS)]
            train(plain, batches, scheme.regularisation, reference)
            xs = [x for x, _ in batches[-(scheme.statistics_batches or STEPS) :]]
            client = Client(user.samples, plain.weights, statistics(plain, xs, TOP_K))
            for name, mixture in mixtures(plain).items():
                for e, expert in enumerate(mixture.experts):
                    client.anchored[f"{name}.{e}"] = list(expert(anchors).detach())
            clients.append(client)
            own_gates.append({key: value for key, value in plain.weights.items() if ".gate." in key})
        base = common
        common, reference, rejected = merged(scheme, clients, base, reference)
        if not scheme.regularisation:
            reference = {}
        for number_of, kept in enumerate(own):
            if scheme.gates == "local":
                kept |= own_gates[number_of]
            if scheme.experts == "personal":
                before = {key: (base | kept)[key] for key in base if ".experts." in key}
                kept |= personal(scheme, clients, number_of, before)
    return [common | kept for kept in own], rejected


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"consistency": "marginal", "beta": 0.0, "regularisation": 2.0},
        {"consistency": "uniform", "beta": None, "regularisation": 0.0},
        {"similarity": "anchors", "anchors": 5, "temperature": 0.01},
        {"similarity": "parameters", "server_step": 0.5, "statistics_batches": 1},
        {"gates": "local"},
        {"gates": "fedavg", "skip_unused": False},
        {"experts": "personal", "statistics_batches": 1},
    ],
    ids=str,
)
def test_it_is_a_loop_over_users_and_tokens(options: dict[str, Any]) -> None:
    """Four mini-batches of four samples of unequal users: the same models, and the same pairs rejected."""
    scheme = FedAlignMoE(STEPS, **options)
    run = ran(scheme)
    wanted, rejected = by_hand(scheme, run)
    models = run.every_model
    assert len(models) == (3 if scheme.gates == "local" or scheme.experts == "personal" else 1)
    for model, expected in zip(models, wanted, strict=False):
        assert model.keys() == expected.keys()
        for name, value in expected.items():
            torch.testing.assert_close(model[name], value, rtol=1e-9, atol=1e-11, msg=name)
    assert run.journal.series("rejected_pairs")[-1] == pytest.approx(rejected, abs=1e-12)


def test_without_alignment_it_is_fedavg_bit_for_bit() -> None:
    plain = ran(FedAvg(STEPS))
    run = ran(FedAlignMoE(STEPS, gates="fedavg", experts="fedavg", regularisation=0.0))
    assert all(torch.equal(run.model[name], value) for name, value in plain.model.items())
    for journal in (plain.journal, run.journal):
        journal.messages.sort(key=lambda message: (message.start_s, message.user))
    assert run.journal.messages == plain.journal.messages
    assert run.journal.works == plain.journal.works


def test_identical_users_are_one_user() -> None:
    """Full batches of the same samples: all pairs pass, nothing diverges, and N users train what one does."""
    rows = range(24)
    setting = {"batch_size": None, "samples": (24, 24, 24)}
    many = ran(FedAlignMoE(1), parts=[rows] * 3, **setting)
    one = ran(FedAlignMoE(1), users=1, parts=[rows], samples=24, batch_size=None)
    for name, value in one.model.items():
        torch.testing.assert_close(many.model[name], value, rtol=1e-6, atol=1e-9, msg=name)
    for metric in ("rejected_pairs", "expert_drift", "gate_divergence"):
        assert many.journal.series(metric) == pytest.approx([0.0] * ROUNDS, abs=1e-9)


@pytest.mark.parametrize("similarity", ["roles", "anchors", "parameters"])
def test_messages_and_server_work_are_those_of_the_formulas(similarity: Any) -> None:
    """Uploaded bits with unused experts left out, downloaded ones, and L E N (N - 1) / 2 pairs of cosines."""
    said: dict[tuple[str, int], Any] = {}
    send = User.send

    def heard(user: User, to: Any, what: Any, kind: str, *codec: Any) -> Any:
        said[kind, user.number] = what
        return send(user, to, what, kind, *codec)

    model = Vit(4, WIDTH, DEPTH, 2, experts=Experts(6, 1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(User, "send", heard)
        run = ran(FedAlignMoE(STEPS, similarity=similarity, anchors=3), model=model, precision=torch.float32, rounds=2)
    layers, count, numbers = DEPTH, 6, run.whole.parameter_count
    gate, experts = count * WIDTH, count * EXPERT
    rest = numbers - layers * (gate + experts)
    used = []
    for user in run.users:
        routing = run.executor.value(said["routing_statistics", user.number])
        active = sum(int((value > 0).sum()) for name, value in routing.items() if name.endswith("usage"))
        used.append(active)
        (bits,) = run.journal.sent(direction="up", kind="model", user=user.number, round=1)
        assert bits == 32 * (active * EXPERT + layers * gate + rest)
    assert min(used) < layers * count
    assert run.journal.sent(kind="routing_statistics", round=1) == [32 * layers * (2 * count + count**2)] * 3
    prototype = {"roles": 2 * WIDTH, "anchors": 3 * WIDTH, "parameters": WIDTH}[similarity] * count
    assert run.journal.sent(kind="prototype", round=1) == [32 * layers * prototype] * 3
    assert run.journal.sent(direction="down", kind="model", round=1) == [32 * numbers] * 3
    assert run.journal.sent(kind="routing_reference") == [32 * layers * count] * 3
    assert run.journal.sent(kind="anchors") == ([32 * 3 * WIDTH] * 3 if similarity == "anchors" else [])
    vectors = {"roles": 2 * WIDTH, "anchors": 3 * WIDTH, "parameters": EXPERT + WIDTH}[similarity]
    *_, pairs = run.journal.charged(node=None, kind="alignment", round=1)
    assert pairs == layers * count * 3 * 2 / 2 * 2 * vectors


def test_statistics_and_regulariser_are_charged() -> None:
    """Four FLOPs for each token and expert and step; four for each element of a chosen pair's input, beside a pass."""
    run = ran(FedAlignMoE(STEPS), samples=(8, 8, 8))
    tokens = 4 * 4 * STEPS
    first, *_, last = run.journal.charged(node=0, kind="client_training")
    assert last - first == 4 * tokens * COUNT * DEPTH
    alone = ran(FedAlignMoE(STEPS, similarity="anchors", anchors=7), samples=(8, 8, 8))
    with_prototypes = run.journal.charged(node=0, kind="statistics")[0]
    without, anchored = alone.journal.charged(node=0, kind="statistics")[:2]
    assert with_prototypes - without == 4 * WIDTH * TOP_K * tokens * DEPTH
    assert anchored == 7 * DEPTH * COUNT * 4 * WIDTH * HIDDEN


def test_the_reference_remembers_rounds_from_which_users_are_missing() -> None:
    """Half of the last one where two of three take part; nothing of it where all do, whatever the memory."""
    plain, other = (ran(FedAlignMoE(STEPS, reference_memory=memory)).model for memory in (0.5, 0.9))
    assert all(torch.equal(plain[name], value) for name, value in other.items())
    two = {"participation": RandomParticipation(2)}
    plain, other = (ran(FedAlignMoE(STEPS, reference_memory=memory), **two).model for memory in (0.0, 0.5))
    assert not all(torch.equal(plain[name], value) for name, value in other.items())


def test_a_dry_run_uploads_every_expert() -> None:
    scheme = FedAlignMoE(STEPS)
    dry = EXECUTORS["dry"]()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fakes.Wire", lambda *given: Wire(*given, scheme.stand_in))
        run = ran(scheme, executor=dry, precision=torch.float32)
    assert run.journal.sent(direction="up", kind="model") == [32 * run.whole.parameter_count] * 3 * ROUNDS


def test_personal_experts_have_no_common_base_to_change() -> None:
    with pytest.raises(ValueError, match="set experts to aligned"):
        FedAlignMoE(experts="personal", similarity="parameters")
