"""Models in stages: against the whole model, against plain recomputation of every prefix, and against closed forms."""

from dataclasses import replace

import pytest
import torch
from named_streams import NamedStreams

from learning import charge
from learning.executor import Dry, Eager
from learning.inference.operations import answer, expert, summed, trunk
from learning.inference.staged import StagedModel
from learning.models import Experts, Gpt, Mlp, Segment, Vit
from learning.models.segment import chain
from learning.models.stage import stages

STREAMS = NamedStreams()
LENGTH, VOCABULARY = 12, 17
KINDS = {
    "all layers": Experts(4, 2),
    "some layers": Experts(4, 2, layers=(1,)),
    "the last layer is dense": Experts(4, 1, layers=(0,)),
    "softmax of the chosen": Experts(4, 3, softmax="chosen", expansion=0.75),
    "all experts": Experts(3, 3),
    "gated and shared": Experts(4, 2, gated=True, shared=2, load_balance=0.3),
}


def gpt(experts: Experts | None, depth: int = 3) -> Segment:
    return chain(Gpt(8, depth, 2, experts=experts), (LENGTH,), VOCABULARY)


def vit(experts: Experts | None, class_token: bool = False) -> Segment:
    return chain(Vit(4, 8, 3, 2, class_token=class_token, experts=experts), (1, 8, 8), 10)


def drawn(model: Segment) -> dict[str, torch.Tensor]:
    """Weights with gates that tell tokens apart."""
    weights = model.initial(STREAMS, torch.float64)
    return {name: value * (8 if ".gate." in name else 1) for name, value in weights.items()}


def samples(model: Segment, count: int) -> torch.Tensor:
    generator = STREAMS.generator("samples", count)
    if len(model.input_shape) == 1:
        return torch.from_numpy(generator.integers(VOCABULARY, size=(count, LENGTH)))
    return torch.from_numpy(generator.normal(size=(count, *model.input_shape)))


def mixed(experts, tokens, ids, weights):
    """Outputs of the chosen experts, token by token and pair by pair, in the order of their numbers."""
    total = torch.zeros_like(tokens[0])
    for row, (own, of) in enumerate(zip(ids.tolist(), weights, strict=True)):
        for each, weight in sorted(zip(own, of, strict=True), key=lambda pair: pair[0]):
            total[row] += weight * expert(experts[each], tokens[0, row])
    return total[None]


def passed(staged: StagedModel, x: torch.Tensor, caches=None):
    """One pass: logits, best token, and the caches of all stages."""
    caches = caches or [[] for _ in staged.stages]
    inputs, kept = [x], []
    layers = zip(staged.stages, staged.trunks, caches, staged.experts, staged.shared, strict=False)
    for stage, parameters, cache, experts, shared in layers:
        residual, tokens, ids, weights, own = trunk(stage, parameters, inputs, cache)
        kept.append(own)
        inputs = [residual, mixed(experts, tokens, ids, weights), *([expert(shared, tokens)] if shared else [])]
    logits, best, own = answer(staged.stages[-1], staged.trunks[-1], inputs, caches[-1])
    return logits, best, [*kept, own]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "build", [gpt, vit, lambda experts: vit(experts, class_token=True)], ids=["gpt", "vit", "class"]
)
def test_a_pass_in_stages_is_the_whole_model(build, kind) -> None:
    """Rounding differs, because matrix products of other numbers of tokens sum in another order."""
    model = build(KINDS[kind])
    weights, x = drawn(model), samples(model, 3)
    whole = model(weights, x)
    logits, best, _ = passed(StagedModel(model, weights), x)
    wanted = whole[:, -1] if whole.ndim == 3 else whole
    torch.testing.assert_close(logits, wanted, rtol=1e-12, atol=1e-12)
    assert torch.equal(best[:, 0], wanted.argmax(-1))


@pytest.mark.parametrize("kind", KINDS)
def test_decoding_with_a_cache_is_the_full_pass_of_every_prefix(kind) -> None:
    """The prompt in one pass, then in two parts; every further token alone."""
    model = gpt(KINDS[kind])
    weights, x = drawn(model), samples(model, 2)
    staged = StagedModel(model, weights)
    for parts in ([5], [2, 3]):
        caches, end = None, 0
        for size in [*parts, *[1] * (LENGTH - 5)]:
            logits, _, caches = passed(staged, x[:, end : end + size], caches)
            end += size
            torch.testing.assert_close(logits, model(weights, x[:, :end])[:, -1], rtol=1e-12, atol=1e-12)
            assert {each.shape for cache in caches for each in cache} == {(2, end, 8)}
        assert sum(map(len, caches)) == 2 * 3


def test_the_parts_hold_all_weights_once() -> None:
    for kind in KINDS.values():
        model = gpt(kind)
        weights = drawn(model)
        staged = StagedModel(model, weights)
        parts = [*staged.trunks, *(each for layer in staged.experts for each in layer), *staged.shared]
        names = [name for part in parts for name in part]
        assert sorted(names) == sorted(weights)


def test_gradients_of_a_pass_in_stages_are_those_of_the_whole_model() -> None:
    model = gpt(Experts(4, 2, shared=1))
    weights, x = drawn(model), samples(model, 2)

    def loss(of):
        return lambda weights: of(weights).square().sum()

    whole = torch.func.grad(loss(lambda w: model(w, x)[:, -1]))(weights)
    composed = torch.func.grad(loss(lambda w: passed_functionally(model, w, x)))(weights)
    for name, value in whole.items():
        torch.testing.assert_close(composed[name], value, rtol=1e-9, atol=1e-12)


def passed_functionally(model, weights, x):
    """`passed` without assignments in place: each expert computes all tokens."""
    staged, inputs = StagedModel(model, weights), [x]
    layers = zip(staged.stages, staged.trunks, staged.experts, staged.shared, strict=False)
    for stage, parameters, experts, shared in layers:
        residual, tokens, ids, of, _ = trunk(stage, parameters, inputs, [])
        terms = [((ids == each) * of).sum(-1)[:, None] * expert(own, tokens) for each, own in enumerate(experts)]
        inputs = [residual, sum(terms), *([expert(shared, tokens)] if shared else [])]
    return answer(staged.stages[-1], staged.trunks[-1], inputs, [])[0]


def flops(executor, operation, *args):
    return executor.cost(executor.plan(operation, *args)).flops


@pytest.mark.parametrize("charged", [False, True], ids=["own", "charged"])
def test_flops_are_those_of_the_formulas(charged, monkeypatch) -> None:
    """Per token and layer 8 d^2 + 4 S d for attention over S tokens and 2 d E for the gate; 4 d d_ff for an expert."""
    size = {"family": "gpt", "width": 40, "depth": 3, "heads": 2, "expansion": 4, "vocabulary": 29}
    monkeypatch.setitem(charge.SIZES, "switch_base_64", {**size, "experts": {"count": 6, "top_k": 1}})
    model = gpt(Experts(6 if charged else 4, 1))
    staged, executor = StagedModel(model, model.initial(STREAMS)), Dry()
    d, hidden, vocabulary, count = 8, 32, VOCABULARY, 4
    if charged:
        executor.charge = charge.Charge("switch_base_64", model)
        d, hidden, vocabulary, count = 40, 160, 29, 6
    x = torch.zeros((1, 5), dtype=torch.int64)
    residual, tokens, _, _, cache = executor.submit(trunk, staged.stages[0], staged.trunks[0], [x], [])
    layer = lambda t, context: t * (8 * d**2 + 4 * context * d + 2 * d * count)  # noqa: E731
    assert flops(executor, trunk, staged.stages[0], staged.trunks[0], [x], []) == layer(5, 5)
    assert flops(executor, trunk, staged.stages[1], staged.trunks[1], [residual, tokens], []) == layer(5, 5)
    assert flops(executor, trunk, staged.stages[0], staged.trunks[0], [x[:, :1]], cache) == layer(1, 6)
    assert flops(executor, expert, staged.experts[1][2], tokens) == 5 * 4 * d * hidden
    assert flops(executor, answer, staged.stages[-1], staged.trunks[-1], [residual, tokens], []) == 2 * d * vocabulary
    assert executor.charged(tokens).leaves[0].shape == (1, 5, d)


def test_stages_end_with_the_layers_with_experts() -> None:
    model = gpt(Experts(4, 2, layers=(1,)))
    assert [(each.start, each.stop) for each in stages(model)] == [(0, 3), (3, 5)]
    assert replace(stages(model)[0], stop=5) == model


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        (gpt(None), "no layer of the model has experts"),
        (chain(Mlp(), (1, 8, 8), 10), "choose vit or gpt, with experts"),
    ],
)
def test_other_models_are_refused(model, sentence) -> None:
    with pytest.raises(ValueError, match=sentence):
        stages(model)


def test_executors_compute_the_same_pass() -> None:
    """Also with a cache that is empty, which a deferred value may be."""
    model = vit(Experts(4, 2))
    weights, x = drawn(model), samples(model, 1)
    staged, executor = StagedModel(model, weights), Eager()
    _, _, ids, _, cache = executor.submit(trunk, staged.stages[0], staged.trunks[0], [x], [])
    assert executor.value(cache) == []
    assert torch.equal(executor.value(ids), trunk(staged.stages[0], staged.trunks[0], [x], [])[2])
    assert torch.equal(summed([x]), x)
