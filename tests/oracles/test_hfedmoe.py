"""HFedMoE: a plain torch loop with hooks, FedAvg where nothing is selected, closed forms of costs and messages."""

from __future__ import annotations

from collections import OrderedDict
from itertools import combinations
from math import log
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from by_hand import batch, by_samples, distance, same_bits
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from fakes import FakeStreams, FakeWorld, world
from learning.adapters import Lora
from learning.control.experts import ExpertBudgets, divergence, importance, selected
from learning.control.experts.budget import step_cost
from learning.control.observation import observe
from learning.expert_parameters import ExpertParameters, expert_parameters
from learning.models import Experts, Gpt, Segment, Vit
from learning.optimisers import Adam, Sgd
from learning.schemes import FedAvg, HFedMoE
from learning.schemes.hfedmoe import aggregation, training

WIDTH, DEPTH, EXPERTS, TOP_K, STEPS, ROUNDS, TOKENS, BATCH = 8, 2, 4, 2, 2, 2, 4, 4
MODEL = Vit(4, WIDTH, DEPTH, 2, expansion=2, experts=Experts(EXPERTS, TOP_K))
SETTING: dict[str, Any] = {
    "model": MODEL,
    "optimiser": Sgd(0.3, 0.9),
    "batch_size": BATCH,
    "rounds": ROUNDS,
    "samples": (8, 12, 20),
    "test_samples": 10,
    "precision": torch.float64,
}
Gates = Tensor


def ran(scheme: HFedMoE | FedAvg, **changed: Any) -> FakeWorld:
    return world(scheme, **(SETTING | changed))


def decided(run: FakeWorld, name: str, number: int = 0) -> dict[int | None, float]:
    return {user: value for of, user, what, value in run.journal.decisions if (of, what) == (number, name)}


# --- oracles 2 to 4: scores and selection


def test_scores_of_the_hand_case() -> None:
    g = torch.tensor([[[0.9, 0.1], [0.5, 0.5]]], dtype=torch.float64)  # (layers, tokens, experts)
    assert importance(g, 1.0).tolist() == [[pytest.approx(0.7), pytest.approx(0.3)]]
    assert importance(g, 0.0).tolist() == [[0.9, 0.5]]
    assert importance(g, 0.5).tolist() == [[pytest.approx(0.8), pytest.approx(0.4)]]
    expected = [
        0.5 * (0.9 * log(0.9 / 0.7) + 0.5 * log(0.5 / 0.7)),
        0.5 * (0.1 * log(0.1 / 0.3) + 0.5 * log(0.5 / 0.3)),
    ]
    assert divergence(g)[0].tolist() == pytest.approx(expected, rel=1e-12)
    assert expected == pytest.approx([0.02897, 0.07278], abs=2e-5)


def test_divergence_is_positive_and_zero_for_constant_columns() -> None:
    generator = torch.Generator().manual_seed(3)
    for _ in range(1000):
        g = (3 * torch.randn(2, 7, 5, generator=generator, dtype=torch.float64)).softmax(-1)
        assert (divergence(g) > 0).all()
    constant = torch.tensor([0.2, 0.8, 0.0], dtype=torch.float64).expand(1, 6, 3)
    assert divergence(constant).abs().max() < 1e-15
    assert divergence(torch.eye(3, dtype=torch.float64)[None]).tolist()[0] == pytest.approx([log(3) / 3] * 3)


@given(seed=st.integers(0, 10**6), budget=st.integers(0, 9), over=st.sampled_from(["model", "layer"]))
@settings(deadline=None, max_examples=60)
def test_selection_is_optimal(seed: int, budget: int, over: Any) -> None:
    """Brute force over all subsets of the routed experts that keep to the budget, scores made positive."""
    generator = torch.Generator().manual_seed(seed)
    scores = torch.rand(2, 4, generator=generator, dtype=torch.float64)
    routed = torch.rand(2, 4, generator=generator) < 0.7
    chosen = selected(scores, routed, torch.tensor(budget), over)
    assert not (chosen & ~routed).any()
    shares = [budget, budget] if over == "model" else [budget - budget // 2, budget // 2]
    places = [(layer, expert) for layer in range(2) for expert in range(4) if routed[layer, expert]]
    allowed = (
        some
        for count in range(min(budget, len(places)) + 1)
        for some in combinations(places, count)
        if all(sum(layer == at for at, _ in some) <= shares[layer] for layer in range(2))
    )
    best = max(sum(float(scores[place]) for place in some) for some in allowed)
    assert float(scores[chosen].sum()) == pytest.approx(best, rel=1e-12)


def test_of_equal_scores_the_first_is_preferred() -> None:
    assert selected(torch.ones(2, 3), torch.ones(2, 3) > 0, torch.tensor(4), "model").tolist() == [
        [True, True, True],
        [True, False, False],
    ]


# --- oracles 5, 6 and the whole scheme: a plain loop


class ByHand:
    """The model as torch has it: one forward pass, in which hooks hold what gates say and stop gradients later."""

    def __init__(self, run: FakeWorld) -> None:
        segment: Any = run.whole
        blocks = segment.architecture.blocks(segment.input_shape, segment.classes)
        self.module = nn.Sequential(OrderedDict((str(i), block) for i, block in enumerate(blocks))).to(torch.float64)
        self.gates: list[Tensor] = []
        self.active = torch.ones(DEPTH, EXPERTS, dtype=torch.bool)
        for layer in range(DEPTH):
            mixture: Any = self.module.get_submodule(f"{layer + 1}.feed.1")
            mixture.gate.register_forward_hook(lambda _, __, out: self.gates.append(out.detach().flatten(0, -2)))
            for number, expert in enumerate(mixture.experts):
                expert.register_forward_hook(lambda _, __, out, at=(layer, number): self._stop(out, at))

    def _stop(self, out: Tensor, at: tuple[int, int]) -> None:
        if out.requires_grad:
            out.register_hook(lambda gradient: gradient * self.active[at])

    def loss(self, x: Tensor, y: Tensor) -> tuple[Tensor, np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """The loss, gate probabilities (layers, tokens, experts), and which experts a token chose, likewise."""
        self.gates.clear()
        loss = F.cross_entropy(self.module(x), y)
        logits = torch.stack(self.gates).numpy()
        g = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
        kth = np.sort(logits, -1)[..., [-TOP_K]]
        return loss, g, logits >= kth


def by_hand(
    run: FakeWorld, budget: int, lam: float, beta: float, tau: float
) -> tuple[dict[str, Tensor], list[list[set[tuple[int, int]]]]]:
    """Rounds of HFedMoE, and who uploaded which experts in each."""
    hand = ByHand(run)
    server = {n: v.clone() for n, v in run.initial(run.whole).items()}  # type: ignore[arg-type]
    owner = {n: (int(n[0]) - 1, int(n.split(".")[4])) for n in server if ".experts." in n}
    momenta: list[dict[str, Tensor]] = [{n: torch.zeros_like(v) for n, v in server.items()} for _ in run.users]
    uploads = []
    for number in range(ROUNDS):
        models, u, s, sets = [], [], [], []
        for user, momentum in zip(run.users, momenta, strict=True):
            hand.module.load_state_dict(server)
            means, scores, trained = [], [], set()
            for step in range(STEPS):
                x, y = batch(run, user, STEPS * number + step)
                loss, g, chosen = hand.loss(x, y)
                mixed = lam * g.mean(1) + (1 - lam) * g.max(1)
                kl = (g * np.log(g / g.mean(1, keepdims=True))).mean(1)
                ranked = sorted(
                    (place for place in np.ndindex(DEPTH, EXPERTS) if chosen[place[0], :, place[1]].any()),
                    key=lambda place: -(mixed - beta * kl)[place],
                )
                hand.active[:] = False
                for place in ranked[:budget]:
                    hand.active[place] = True
                    trained.add(place)
                hand.module.zero_grad()
                loss.backward()
                with torch.no_grad():
                    for name, p in hand.module.named_parameters():
                        if name in owner and not hand.active[owner[name]]:
                            assert p.grad is None or not p.grad.any()
                            continue
                        momentum[name] = 0.9 * momentum[name] + p.grad
                        p -= 0.3 * momentum[name]
                means.append(g.mean(1))
                scores.append(mixed)
            models.append({n: p.detach().clone() for n, p in hand.module.named_parameters()})
            u.append(np.mean(means, 0))
            s.append(np.mean(scores, 0))
            sets.append({place for place in trained if u[-1][place] >= tau})
        samples = [user.samples for user in run.users]
        for name, before in list(server.items()):
            using = [i for i in range(len(models)) if name not in owner or owner[name] in sets[i]]
            if ".gate." in name:
                layer = int(name[0]) - 1
                alpha = [sum(u[i][p] * s[i][p] for p in sets[i] if p[0] == layer) for i in range(len(models))]
                server[name] = sum(models[i][name] * a / sum(alpha) for i, a in enumerate(alpha))  # type: ignore[assignment]
            elif using:
                total = sum(samples[i] for i in using)
                server[name] = sum(models[i][name] * (samples[i] / total) for i in using)  # type: ignore[assignment]
            else:
                server[name] = before
        uploads.append(sets)
    return server, uploads


@pytest.mark.parametrize(("budget", "lam", "beta", "tau"), [(3, 0.5, 0.1, 0.2), (5, 0.3, 1.0, 0.26)])
def test_it_is_a_plain_torch_loop_with_hooks(budget: int, lam: float, beta: float, tau: float) -> None:
    """One forward pass, of which hooks stop gradients at experts that its own gates make inactive; oracle 6."""
    scheme = HFedMoE(STEPS, lam=lam, beta=beta, tau=tau, budget=ExpertBudgets((budget,)))
    run = ran(scheme)
    server, uploads = by_hand(run, budget, lam, beta, tau)
    assert distance(run.model, server) < 1e-12
    for number, sets in enumerate(uploads):
        assert decided(run, "experts_uploaded", number) == {i: len(own) for i, own in enumerate(sets)}
        everywhere = len(set().union(*sets))
        assert decided(run, "routing_consistency", number) == {i: len(own) / everywhere for i, own in enumerate(sets)}
    counts = [len(own) for sets in uploads for own in sets]
    assert min(counts) < DEPTH * EXPERTS


PLACES = ExpertParameters(("1.feed.1", "2.feed.1"), EXPERTS, TOP_K)
SEGMENT = Segment(MODEL, (1, 8, 8), 10, 0, DEPTH + 2)


def one_step(optimiser: Any, rule: training.Selection, budget: int, given: Tensor | None = None) -> Any:
    weights = SEGMENT.initial(FakeStreams(), torch.float64)
    generator = torch.Generator().manual_seed(4)
    x, y = torch.randn(BATCH, 1, 8, 8, generator=generator, dtype=torch.float64), torch.arange(BATCH)
    state = optimiser.init(weights)
    for _ in range(2):  # states are no longer zero
        weights, state = optimiser.step(weights, {n: torch.ones_like(v) for n, v in weights.items()}, state)
    out = training.step(SEGMENT, optimiser, rule, PLACES, weights, state, x, y, torch.tensor(budget), given)
    return weights, state, out


@pytest.mark.parametrize("optimiser", [Sgd(0.1, 0.9, 0.01), Adam(0.01, weight_decay=0.1)])
@pytest.mark.parametrize("mask", ["output", "params_only"])
def test_what_is_not_active_stays_bit_for_bit(optimiser: Any, mask: Any) -> None:
    rule = training.Selection("importance", 0.5, 0.1, "model", mask)
    before, state_before, (after, state, used, activity) = one_step(optimiser, rule, 3)
    active = used[2].bool()
    assert active.sum() == 3 == activity[1]
    moments = zip(state[1:], state_before[1:], strict=True) if isinstance(state, tuple) else [(state, state_before)]
    trees = [(after, before), *moments]
    for name in before:
        place = PLACES.expert(name)
        for new, old in trees:
            assert torch.equal(new[name], old[name]) == (place is not None and not bool(active[place])), name


def test_params_only_passes_gradients_through_inactive_experts() -> None:
    """Their input's gradients are those of plain training; under `output` they are not."""
    steps = {}
    for mask in ("output", "params_only"):
        rule = training.Selection("importance", 0.5, 0.1, "model", mask)  # type: ignore[arg-type]
        steps[mask] = one_step(Sgd(0.1), rule, 2)[2]
    plain = one_step(Sgd(0.1), training.Selection("all", 0.5, 0.1, "model", "output"), 0)[2][0]
    active = steps["params_only"][2][2].bool()
    for name, value in steps["params_only"][0].items():
        place = PLACES.expert(name)
        assert torch.allclose(value, plain[name], rtol=0, atol=1e-14) == (place is None or bool(active[place])), name
    assert not torch.allclose(steps["output"][0]["0.project.weight"], plain["0.project.weight"], rtol=0, atol=1e-10)


def test_activity_counts_pairs_of_token_and_expert() -> None:
    rule = training.Selection("importance", 0.5, 0.0, "layer", "output")
    weights, _, (_, _, used, activity) = one_step(Sgd(0.1), rule, 3)
    generator = torch.Generator().manual_seed(4)
    x = torch.randn(BATCH, 1, 8, 8, generator=generator, dtype=torch.float64)
    _, ids = SEGMENT.routed(weights, x)
    active = used[2].bool()
    assert active.sum(1).tolist() == [2, 1]
    pairs = [(layer, int(e)) for layer in range(DEPTH) for e in ids[layer].flatten()]
    assert activity.tolist() == [
        len(set(pairs)),
        3,
        sum(bool(active[p]) for p in pairs),
        BATCH * TOKENS * TOP_K * DEPTH,
    ]


def test_a_step_on_texts_is_one_of_plain_autograd_if_the_budget_lasts() -> None:
    """Next characters of texts: every character is a token, and counts for the use of experts."""
    length, vocabulary, model = 6, 11, Gpt(8, DEPTH, 2, experts=Experts(EXPERTS, TOP_K))
    segment = Segment(model, (length,), vocabulary, 0, DEPTH + 2)
    weights = segment.initial(FakeStreams(), torch.float64)
    text = torch.randint(vocabulary, (BATCH, length + 1), generator=torch.Generator().manual_seed(4))
    x, y = text[:, :-1], text[:, 1:]
    rule = training.Selection("importance", 0.5, 0.1, "model", "output")
    work = segment, Sgd(0.3), rule, expert_parameters(segment), weights, Sgd(0.3).init(weights), x, y
    after, _, used, activity = training.step(*work, torch.tensor(DEPTH * EXPERTS), None)
    leaves = {name: value.clone().requires_grad_() for name, value in weights.items()}
    F.cross_entropy(segment(leaves, x).flatten(0, 1), y.flatten()).backward()
    assert distance(after, {n: p.detach() - 0.3 * p.grad for n, p in leaves.items() if p.grad is not None}) < 1e-12
    probabilities, _ = segment.routed(weights, x)
    assert torch.allclose(used[0], probabilities.flatten(1, -2).mean(1), rtol=1e-12)
    assert activity[3] == BATCH * length * TOP_K * DEPTH


# --- oracle 1 and other degenerate cases

ALL = HFedMoE(STEPS, selection="all", tau=0.0, gates="by_samples")


def test_with_everything_active_and_uploaded_it_is_fedavg_bit_for_bit() -> None:
    plain = ran(FedAvg(STEPS))
    assert same_bits(ran(ALL).model, plain.model)
    adapted = {"adapter": Lora(2, targets=("fc1", "fc2", "q"))}
    assert same_bits(ran(ALL, **adapted).model, ran(FedAvg(STEPS), **adapted).model)


@pytest.mark.slow
def test_a_budget_of_all_experts_is_fedavg_too() -> None:
    """Gates are averaged by samples, or equally where users are alike."""
    full = HFedMoE(STEPS, tau=0.0, require_update=False, gates="by_samples", budget=ExpertBudgets((99,)))
    plain: dict[str, Any] = {"optimiser": Sgd(0.3)}  # momentum moves experts that no token was routed to
    run = ran(full, **plain)
    assert set(decided(run, "budget").values()) == {DEPTH * EXPERTS}
    assert distance(run.model, ran(FedAvg(STEPS), **plain).model) < 1e-12
    rows = [np.arange(12)] * 2  # two users with equal data, of whom the shuffles differ
    alike = plain | {"users": 2, "parts": rows, "batch_size": None}
    equal = HFedMoE(STEPS, tau=0.0, require_update=False, budget=ExpertBudgets((99,)))
    assert distance(ran(equal, **alike).model, ran(FedAvg(STEPS), **alike).model) < 1e-12


def test_routed_and_without_a_bound_are_the_same() -> None:
    one, other = (ran(HFedMoE(STEPS, selection=by)) for by in ("routed", "importance"))  # type: ignore[arg-type]
    assert same_bits(one.model, other.model)


def test_selections_differ_and_static_stays() -> None:
    models = {}
    for by in ("importance", "random", "static"):
        models[by] = ran(HFedMoE(STEPS, selection=by, budget=ExpertBudgets((2,)))).model  # type: ignore[arg-type]
    assert distance(models["importance"], models["random"]) > 1e-3
    assert distance(models["importance"], models["static"]) > 1e-3
    scores = torch.arange(8.0, dtype=torch.float64).reshape(2, 4)
    rule = training.Selection("static", 0.5, 0.1, "model", "output")
    used = one_step(Sgd(0.1), rule, 2, scores)[2][2]
    assert used[2].tolist() == [[0, 0, 0, 0], [0, 0, 1, 1]]


# --- oracles 7 and 8: aggregation


def uploads(seed: int, users: int = 3, held: Any = None) -> tuple[Any, list[Any], list[Any], list[set[Any]]]:
    """A server's model, what users send of theirs, their statistics, and the experts that they send."""
    generator = torch.Generator().manual_seed(seed)

    def drawn(like: dict[str, Tensor]) -> dict[str, Tensor]:
        return {n: torch.randn(v.shape, generator=generator, dtype=torch.float64) for n, v in like.items()}

    shapes = SEGMENT.parameters()
    before, models = drawn(shapes), [drawn(shapes) for _ in range(users)]
    random = np.random.default_rng(seed)
    sets = held or [{p for p in PLACES.experts if random.random() < 0.5} for _ in range(users)]
    trees = [
        {n: v for n, v in model.items() if (e := PLACES.expert(n)) is None or e in own}
        for model, own in zip(models, sets, strict=True)
    ]
    used = torch.rand(users, 3, DEPTH, EXPERTS, generator=generator, dtype=torch.float64)
    return before, trees, [aggregation.statistics_by_name(PLACES, each) for each in used], sets


WEIGHTS = (0.5, 0.2, 0.3)


def aggregate(before: Any, trees: Any, statistics: Any, gates: Any = "normalised", scope: Any = "layer") -> Any:
    return aggregation.aggregated(PLACES, gates, scope, before, trees, statistics, WEIGHTS[: len(trees)])


def test_experts_are_averaged_over_those_that_uploaded_them() -> None:
    sets = [{(0, 0), (0, 1)}, {(0, 1), (1, 2)}, {(0, 1), (0, 0)}]
    before, trees, statistics, _ = uploads(1, held=sets)
    merged = aggregate(before, trees, statistics)
    for name, value in merged.items():
        place = PLACES.expert(name)
        own = [i for i in range(3) if name in trees[i]]
        if place is not None:
            assert own == [i for i in range(3) if place in sets[i]]
        if not own:
            assert torch.equal(value, before[name])
        elif len(own) == 1:
            assert torch.equal(value, trees[own[0]][name])
        elif PLACES.gate(name) is None:
            total = sum(WEIGHTS[i] for i in own)
            expected = sum(trees[i][name] * (WEIGHTS[i] / total) for i in own)
            torch.testing.assert_close(value, expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("scope", ["layer", "model"])
def test_gates_are_weighted_by_preference(scope: Any) -> None:
    before, trees, statistics, sets = uploads(2)
    merged, literal = (aggregate(before, trees, statistics, gates, scope) for gates in ("normalised", "literal"))
    for layer, name in enumerate(f"{layer}.gate.weight" for layer in PLACES.layers):
        inside = [{p for p in own if scope == "model" or p[0] == layer} for own in sets]
        alpha = [
            sum(float(s[f"{PLACES.name(p)}.usage"] * s[f"{PLACES.name(p)}.importance"]) for p in own)
            / len(set().union(*inside))
            for own, s in zip(inside, statistics, strict=True)
        ]
        mixed = sum(tree[name] * a for tree, a in zip(trees, alpha, strict=True))
        torch.testing.assert_close(literal[name], mixed, rtol=0, atol=1e-13)
        torch.testing.assert_close(merged[name], mixed / sum(alpha), rtol=0, atol=1e-13)


def test_equal_gates_are_a_fixed_point_unless_the_weights_are_literal() -> None:
    before, trees, statistics, sets = uploads(3)
    name = "1.feed.1.gate.weight"
    for tree in trees:
        tree[name] = trees[0][name]
    merged, literal = (aggregate(before, trees, statistics, gates) for gates in ("normalised", "literal"))
    torch.testing.assert_close(merged[name], trees[0][name], rtol=0, atol=1e-14)
    sums = sum(aggregation.preferences(PLACES, "layer", sets, statistics)[0])
    assert 0 < float(sums) < 1
    torch.testing.assert_close(literal[name], trees[0][name] * sums, rtol=0, atol=1e-14)


def test_a_gate_is_kept_where_no_expert_of_its_layer_is_dominant() -> None:
    before, trees, statistics, _ = uploads(4, held=[{(0, 0)}, {(0, 1)}, {(0, 1), (0, 2)}])
    merged = aggregate(before, trees, statistics)
    assert torch.equal(merged["2.feed.1.gate.weight"], before["2.feed.1.gate.weight"])
    assert not torch.equal(merged["1.feed.1.gate.weight"], before["1.feed.1.gate.weight"])


def test_the_order_of_users_changes_nothing() -> None:
    before, trees, statistics, _ = uploads(5)
    order = [2, 0, 1]
    shuffled = aggregation.aggregated(
        PLACES,
        "normalised",
        "layer",
        before,
        [trees[i] for i in order],
        [statistics[i] for i in order],
        tuple(WEIGHTS[i] for i in order),
    )
    assert distance(aggregate(before, trees, statistics), shuffled) < 1e-14


# --- oracle 9: messages

P_EXP = 2 * WIDTH * 2 * WIDTH + 2 * WIDTH + WIDTH
"""Parameters of an expert: two matrices and their biases."""
Q = 64
"""Bits of a parameter in these runs."""


def whole_parameters() -> int:
    return sum(v.numel() for v in SEGMENT.parameters().values())


def test_bits_are_those_of_the_formula() -> None:
    """Upload: shared parameters, gates, dominant experts, and two statistics of each expert in 32 bits."""
    rest = whole_parameters() - DEPTH * EXPERTS * P_EXP
    sent = []
    for tau in (0.0, 0.24, 0.27, 1.0):
        run = ran(HFedMoE(STEPS, tau=tau, budget=ExpertBudgets((3,))))
        for number in range(ROUNDS):
            uploaded = decided(run, "experts_uploaded", number)
            for user, count in uploaded.items():
                bits = run.journal.sent(direction="up", user=user, round=number)
                assert bits == [Q * (rest + count * P_EXP) + 32 * 2 * DEPTH * EXPERTS]
        sent.append(sum(run.journal.sent(direction="up")))
    assert sent == sorted(sent, reverse=True)
    assert sent[0] > sent[-1] == 3 * ROUNDS * (Q * rest + 32 * 2 * DEPTH * EXPERTS)


def test_what_has_not_changed_is_not_sent_again() -> None:
    """First everything, then experts that any user uploaded, and those that the user has trained itself."""
    two: dict[str, Any] = {"users": 2, "samples": (8, 8)}
    run = ran(HFedMoE(STEPS, selection="static", budget=ExpertBudgets((2,)), tau=0.0, over="layer"), **two)
    rest = whole_parameters() - DEPTH * EXPERTS * P_EXP
    first = run.journal.sent(direction="down", round=0)
    assert first == [Q * whole_parameters()] * 2
    changed = sum(decided(run, "experts_uploaded").values())
    for bits in run.journal.sent(direction="down", round=1):
        experts = (bits / Q - rest) / P_EXP
        assert experts == int(experts)
        assert 2 <= experts <= changed  # a user's own two at least; all that were uploaded at most
    alone = ran(HFedMoE(STEPS, selection="static", budget=ExpertBudgets((2,)), tau=1.0), **two)
    for user in (0, 1):
        (bits,) = alone.journal.sent(direction="down", user=user, round=1)
        assert bits == Q * (rest + 2 * P_EXP)  # trained, not uploaded: the server's copies come back


# --- oracle 10: union growth


def test_the_union_of_routed_experts_grows_as_the_closed_form() -> None:
    """Uniform independent top 1 routing: E(1 - (1 - 1/E)^n); means of 4000 unions within four standard errors."""
    random, experts, draws = np.random.default_rng(8), 8, 4000
    means = []
    for tokens in (1, 2, 4, 8, 16, 32):
        unions = [len(set(row)) for row in random.integers(0, experts, (draws, tokens)).tolist()]
        expected = experts * (1 - (1 - 1 / experts) ** tokens)
        assert abs(np.mean(unions) - expected) <= 4 * np.std(unions) / draws**0.5 + 1e-12
        means.append(np.mean(unions))
    assert means == sorted(means)


def test_larger_mini_batches_touch_more_experts() -> None:
    model = Vit(4, 8, 2, 2, experts=Experts(8, 1))
    run = {size: ran(HFedMoE(1, selection="routed"), batch_size=size, model=model, rounds=1) for size in (1, 8)}
    routed = [np.mean(list(decided(each, "experts_routed").values())) for each in run.values()]
    assert routed == sorted(routed)
    assert routed[0] < routed[-1]
    assert all(decided(each, "experts_routed") == decided(each, "experts_active") for each in run.values())


# --- costs, budgets, oracle 11

HIDDEN, PATCH_PIXELS = 2 * WIDTH, 16


def flops_of_pass(samples: int, pairs: float) -> tuple[float, float]:
    """Forward FLOPs without scores, and backward FLOPs if so many pairs of token and expert in a layer are active."""
    tokens = samples * TOKENS
    expert = 2 * 2 * WIDTH * HIDDEN
    attention = 8 * WIDTH**2 + 4 * TOKENS * WIDTH
    embedding, head = 2 * tokens * PATCH_PIXELS * WIDTH, 2 * samples * WIDTH * 10
    layers = DEPTH * tokens * (attention + 2 * WIDTH * EXPERTS)
    forward = embedding + layers + DEPTH * tokens * TOP_K * expert + head
    backward = embedding + 2 * (layers + head) + 2 * DEPTH * pairs * expert  # no gradient of the image
    return forward, backward


@pytest.mark.parametrize("budget", [2, 4, 8])
def test_flops_are_those_of_the_formula(budget: int) -> None:
    run = ran(HFedMoE(1, budget=ExpertBudgets((budget,))), rounds=1)
    for user in range(3):
        pairs = decided(run, "active_pairs")[user] * BATCH * TOKENS * TOP_K
        forward, backward = flops_of_pass(BATCH, pairs)
        (charged,) = run.journal.charged(node=user, kind="client_forward")
        assert charged == forward + 6 * DEPTH * BATCH * TOKENS * EXPERTS
        (charged,) = run.journal.charged(node=user, kind="client_backward")
        assert charged == pytest.approx(backward, rel=1e-12)
    assert budget == 8 or max(decided(run, "active_pairs").values()) < 1


def test_inactive_experts_that_pass_gradients_save_half() -> None:
    """Of an inactive expert the gradient of the input is charged, not that of its weights."""
    run = ran(HFedMoE(1, mask="params_only", budget=ExpertBudgets((2,))), rounds=1)
    for user in range(3):
        share = decided(run, "active_pairs")[user]
        (charged,) = run.journal.charged(node=user, kind="client_backward")
        halves = (1 + share) / 2 * BATCH * TOKENS * TOP_K
        assert charged == pytest.approx(flops_of_pass(BATCH, halves)[1], rel=1e-12)


def memory(run: FakeWorld, user: int) -> int:
    return max(work.memory_bytes for work in run.journal.works if work.node == user and work.kind == "client_backward")


def test_memory_grows_by_gradients_of_experts_and_activations_of_pairs() -> None:
    run = ran(HFedMoE(1, budget=ExpertBudgets((3,))), rounds=1)
    cost = step_cost(run, observe(run.users)[0], "output")
    # up to a gradient, a new value and a new momentum of each parameter of each expert at a time
    assert 8 * DEPTH * EXPERTS * P_EXP < cost.updates_bytes <= 3 * 8 * DEPTH * EXPERTS * P_EXP
    hidden = 8 * DEPTH * BATCH * TOKENS * TOP_K * HIDDEN  # before and after the non-linearity
    assert 0 < cost.activations_bytes < 6 * hidden
    for user in range(3):
        share = decided(run, "experts_active")[user] / (DEPTH * EXPERTS)
        assert memory(run, user) == round(cost.memory_bytes(share, decided(run, "active_pairs")[user]))
    whole = max(memory(ran(ALL, rounds=1), user) for user in range(3))
    assert whole == round(cost.memory_bytes(1, 1))


@pytest.mark.parametrize("budget", [2, 3, 5, 7, 8])
def test_a_budget_in_memory_is_the_largest_that_always_fits(budget: int) -> None:
    run = ran(HFedMoE(1), rounds=1)
    cost = step_cost(run, observe(run.users)[0], "output")
    worst = [cost.memory_bytes(n / 8, min(n / (DEPTH * TOP_K), 1)) for n in range(9)]
    for user in run.users:
        user.node.memory_bytes = worst[budget]  # type: ignore[misc]
    assert set(ExpertBudgets().of_users(run, HFedMoE(1), "output").values()) == {budget}
    for user in run.users:
        user.node.memory_bytes = worst[budget] - 1  # type: ignore[misc]
    assert set(ExpertBudgets().of_users(run, HFedMoE(1), "output").values()) == {max(budget - 1, DEPTH)}
    assert set(ExpertBudgets(memory=False).of_users(run, HFedMoE(1), "output").values()) == {8}
    limited = ran(HFedMoE(1, budget=ExpertBudgets((budget,))), rounds=1)
    assert max(memory(limited, user) for user in range(3)) <= worst[budget]


def test_a_budget_in_time_is_what_the_deadline_leaves() -> None:
    """By hand: the spare FLOPs over those of an expert with an even share of the pairs; at least one a layer."""
    run = ran(HFedMoE(STEPS), rounds=1)
    each = observe(run.users)
    bits = Q * whole_parameters()
    for deadline_s in (5.0, 20.0, 21.0, 22.0, 23.0, 24.0, 60.0):
        found = ExpertBudgets(deadline_s=deadline_s).of_users(run, HFedMoE(STEPS), "output")
        for user in each:
            messages_s = bits / user.download_bps(1 / 3) + bits / user.upload_bps(1 / 3)
            forward, none = flops_of_pass(BATCH, 0)
            forward += 6 * DEPTH * BATCH * TOKENS * EXPERTS
            all_pairs = flops_of_pass(BATCH, BATCH * TOKENS * TOP_K)[1] - none
            spare = (deadline_s - messages_s) * user.flops_per_s - STEPS * (forward + none)
            expected = min(max(int(spare // (STEPS * all_pairs / 8)), DEPTH), 8)
            assert found[user.user] == expected, deadline_s
    by_hand = ExpertBudgets((3,), deadline_s=60.0).of_users(run, HFedMoE(STEPS), "output")
    assert set(by_hand.values()) == {3}


def test_rounds_get_shorter_as_the_tightest_budget_falls() -> None:
    """The slowest user's budget, with random active experts that are nested: the same draws rank them."""
    latencies = []
    for budget in (8, 6, 4, 2):
        scheme = HFedMoE(STEPS, selection="random", tau=0.0, require_update=False, budget=ExpertBudgets((8, 8, budget)))
        run = ran(scheme, rounds=1, flops_per_s=(1e6, 1e6, 2e4))
        latencies.append(run.env.now)
    assert latencies == sorted(latencies, reverse=True)
    assert latencies[-1] < 0.9 * latencies[0]


# --- what is refused


def test_bad_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="selection = routed has no budget"):
        HFedMoE(selection="routed", budget=ExpertBudgets((3,)))
    with pytest.raises(ValueError, match=r"budget\.experts has 2 numbers, but there are 3 users"):
        ran(HFedMoE(budget=ExpertBudgets((3, 4))))
    with pytest.raises(ValueError, match="the model has no experts"):
        ran(HFedMoE(), model=Vit(4, 8, 2, 2))


def test_adapters_of_experts_train_where_they_are_active() -> None:
    """Frozen gates, a backbone that is sent once, and factors of active experts alone."""
    adapted = {"adapter": Lora(2, targets=("fc1", "fc2"))}
    run = ran(HFedMoE(STEPS, tau=0.0, budget=ExpertBudgets((2,))), **adapted)
    assert run.journal.sent(kind="backbone") == [Q * whole_parameters() - Q * (2 * WIDTH + WIDTH * 10 + 10)] * 3
    factors = 2 * (WIDTH + HIDDEN) * 2
    head = 2 * WIDTH + WIDTH * 10 + 10
    for user, count in decided(run, "experts_uploaded").items():
        (bits,) = run.journal.sent(direction="up", user=user, round=0)
        assert bits == Q * (head + count * factors) + 32 * 2 * DEPTH * EXPERTS
    assert max(decided(run, "experts_uploaded").values()) < DEPTH * EXPERTS
    assert expert_parameters(run.chain) == PLACES


def test_shares_of_users_are_their_samples() -> None:
    run = ran(ALL, rounds=1)
    assert by_samples(run) == [0.2, 0.3, 0.5]
