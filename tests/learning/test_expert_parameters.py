"""Parameters of experts by name, use of experts, and means of models that lack some: by enumeration and plain torch."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from named_streams import NamedStreams
from torch.func import grad, vmap

from learning.adapters import Lora
from learning.aggregators import mean_of_holders, weighted_mean
from learning.expert_parameters import Expert, expert_parameters
from learning.expert_usage import chosen_tokens, max_probability, mean_probability
from learning.models import Experts, Gpt, Segment, Vit
from learning.models.segment import modules
from learning.steps import mean_loss

STREAMS = NamedStreams()
SHAPE, CLASSES, BATCH = (1, 8, 8), 10, 4
X = torch.from_numpy(STREAMS.generator("x").normal(size=(BATCH, *SHAPE)))
Y = torch.arange(BATCH)


def vit(depth=3, **experts):
    described = Experts(**{"count": 4, "top_k": 2, "shared": 1} | experts)
    return Segment(Vit(4, 8, depth, 2, experts=described), SHAPE, CLASSES, 0, depth + 2)


def parameters(model):
    weights = model.initial(STREAMS, torch.float64)
    return {name: value * (8 if ".gate." in name else 1) for name, value in weights.items()}


def test_every_parameter_belongs_to_one_expert_one_gate_or_neither():
    model = vit(depth=12, layers=(1, 3, 11))
    places = expert_parameters(model)
    assert places.layers == ("2.feed.1", "4.feed.1", "12.feed.1")  # 12 behind 4: in the order of the model
    assert (places.count, places.top_k) == (4, 2)
    of_expert = {name: places.expert(name) for name in model.parameters()}
    assert {each for each in of_expert.values() if each} == set(places.experts)
    assert all((places.expert(name) is not None) == (".experts." in name) for name in of_expert)
    assert [places.gate(f"{layer}.gate.weight") for layer in places.layers] == [0, 1, 2]
    assert places.gate("2.feed.1.shared.fc1.weight") is None
    assert of_expert["4.feed.1.experts.3.fc2.bias"] == (1, 3)
    assert places.name(Expert(2, 1)) == "12.feed.1.experts.1"
    kept = places.without(of_expert, [(0, 0), (2, 3)])
    assert set(of_expert) - set(kept) == {name for name, each in of_expert.items() if each in ((0, 0), (2, 3))}
    assert list(kept) == [name for name in of_expert if name in kept]


def test_factors_of_adapters_belong_to_the_experts_that_they_change():
    model = vit(depth=2)
    bound = Lora(2, targets=("fc1", "q")).on(model).bind({})
    places = expert_parameters(bound)
    found = {name: places.expert(name) for name in bound.parameters()}
    assert found["2.feed.1.experts.3.fc1.fc1.down"] == (1, 3)
    assert found["1.attend.1.inward.q.up"] is None
    assert {each for each in found.values() if each} == set(places.experts)


def test_a_model_without_experts_has_none():
    with pytest.raises(ValueError, match=r"no experts; give learning.model.experts"):
        expert_parameters(Segment(Vit(4, 8, 1, 2), SHAPE, CLASSES, 0, 3))


def test_use_of_experts_is_that_of_single_tokens():
    model = vit()
    probabilities, ids = model.routed(parameters(model), X)
    flat = probabilities.reshape(3, -1, 4)
    tokens = flat.shape[1]
    mean, largest = mean_probability(probabilities), max_probability(probabilities)
    chosen = chosen_tokens(ids, 4)
    for layer in range(3):
        for expert in range(4):
            own = [float(flat[layer, token, expert]) for token in range(tokens)]
            assert float(mean[layer, expert]) == pytest.approx(sum(own) / tokens, rel=1e-12)
            assert float(largest[layer, expert]) == max(own)
            assert int(chosen[layer, expert]) == int((ids[layer] == expert).sum())
    assert (chosen.sum(1) == 2 * tokens).all()
    assert mean.sum(1) == pytest.approx(torch.ones(3).numpy())


@given(st.lists(st.lists(st.booleans(), min_size=3, max_size=3), min_size=1, max_size=5), st.integers(0, 9))
def test_a_mean_of_holders_is_that_of_those_alone(held, seed):
    generator = torch.Generator().manual_seed(seed)
    names = ["a", "b", "c"]
    full = [{name: torch.randn(2, generator=generator, dtype=torch.float64) for name in names} for _ in held]
    trees = [
        {n: tree[n] for n, has in zip(names, own, strict=True) if has} for tree, own in zip(full, held, strict=True)
    ]
    weights = tuple(float(1 + i) for i in range(len(held)))
    previous = {name: torch.randn(2, generator=generator, dtype=torch.float64) for name in names}
    merged = mean_of_holders(previous, trees, weights)
    for name in names:
        having = [(tree[name], w) for tree, w in zip(trees, weights, strict=True) if name in tree]
        if not having:
            assert merged[name] is previous[name]
        elif len(having) == 1:
            assert torch.equal(merged[name], having[0][0])
        else:
            expected = sum(value * w for value, w in having) / sum(w for _, w in having)
            torch.testing.assert_close(merged[name], expected, rtol=1e-12, atol=1e-12)
    if all(all(own) for own in held):
        plain = weighted_mean(full, weights)
        assert all(torch.equal(merged[name], plain[name]) for name in names)


def test_holders_of_weight_zero_do_not_count():
    one, two = {"a": torch.ones(1)}, {"b": torch.ones(1)}
    merged = mean_of_holders({"a": torch.zeros(1), "b": torch.zeros(1)}, [one, two], (0.0, 1.0))
    assert (float(merged["a"]), float(merged["b"])) == (0.0, 1.0)
    with pytest.raises(ValueError, match="cannot be averaged"):
        mean_of_holders({"a": torch.zeros(1)}, [one], (0.0,))


def loss(weights, model, active):
    return mean_loss(model.selective_backward(weights, X, active), Y)


def hooked(model, weights, active):
    """Gradients by plain autograd, where a hook on each expert's output stops what comes back."""
    leaves = {name: value.clone().requires_grad_() for name, value in weights.items()}
    functional, hooks = modules(model), []

    def stop(place):
        def hook(_, __, output):
            output.register_hook(lambda gradient: gradient * active[place])

        return hook

    for layer, mixture in enumerate(m for m in functional.modules() if type(m).__name__ == "MixtureOfExperts"):
        for number, expert in enumerate(mixture.experts):
            hooks.append(expert.register_forward_hook(stop((layer, number))))
    mean_loss(torch.func.functional_call(functional, leaves, X), Y).backward()
    for hook in hooks:
        hook.remove()
    return {name: torch.zeros_like(leaf) if leaf.grad is None else leaf.grad for name, leaf in leaves.items()}


@pytest.mark.parametrize("experts", [{}, {"softmax": "chosen"}, {"load_balance": 0.4, "top_k": 1}], ids=str)
def test_only_active_experts_get_gradients_and_pass_them_on(experts):
    model = vit(**experts)
    weights = parameters(model)
    active = torch.tensor([[True, False, True, False], [False] * 4, [True] * 4])
    found, expected = grad(loss)(weights, model, active), hooked(model, weights, active)
    places = expert_parameters(model)
    for name, value in found.items():
        torch.testing.assert_close(value, expected[name], rtol=1e-9, atol=1e-12)
        if (expert := places.expert(name)) and not active[expert]:
            assert not value.any()
        if places.gate(name) is not None:
            assert value.abs().sum(1).min() > 0  # each row, those of experts that are not active too
    assert torch.equal(model.selective_backward(weights, X, active), model(weights, X))
    everything, nothing = grad(loss)(weights, model, True), grad(loss)(weights, model, False)
    plain = grad(lambda w: mean_loss(model(w, X), Y))(weights)
    assert all(torch.equal(everything[name], plain[name]) for name in plain)
    none = grad(loss)(weights, model, torch.zeros(3, 4, dtype=torch.bool))
    assert all(torch.equal(nothing[name], none[name]) for name in none)


def test_masks_of_several_users_vectorise():
    model = vit()
    weights = parameters(model)
    masks = torch.rand(5, 3, 4, generator=torch.Generator().manual_seed(1)) < 0.5
    stacked = vmap(lambda mask: grad(loss)(weights, model, mask))(masks)
    for number, mask in enumerate(masks):
        alone = grad(loss)(weights, model, mask)
        for name in alone:
            torch.testing.assert_close(stacked[name][number], alone[name], rtol=1e-9, atol=1e-12)


def test_a_language_model_and_an_adapted_one_can_be_gated():
    text = torch.randint(0, 20, (3, 6), generator=torch.Generator().manual_seed(2))
    gpt = Segment(Gpt(8, 2, 2, 2, experts=Experts(3, 1)), (6,), 20, 0, 4)
    weights = parameters(gpt)
    active = torch.tensor([[True, False, False], [False, False, True]])
    assert torch.equal(gpt.selective_backward(weights, text, active), gpt(weights, text))
    model = vit(depth=2)
    whole = parameters(model)
    bound = Lora(2, targets=("fc1", "fc2")).on(model).bind(whole)
    own = {n: v + 0.1 for n, v in bound.adapted.adapters(STREAMS, dtype=torch.float64).items()} | {
        n: whole[n] for n in bound.parameters() if n in whole
    }
    bound = bound.adapted.bind(bound.adapted.split(whole)[0])
    mask = torch.tensor([[True, False, False, True], [False, True, False, True]])
    gradients = grad(lambda p: mean_loss(bound.selective_backward(p, X, mask), Y))(own)
    places = expert_parameters(bound)
    for name, value in gradients.items():
        if (expert := places.expert(name)) is not None:
            assert bool(value.any()) == bool(mask[expert]), name
    dense = Segment(Vit(4, 8, 1, 2), SHAPE, CLASSES, 0, 3)
    with pytest.raises(ValueError, match="none of the blocks has experts"):
        dense.selective_backward(dense.initial(STREAMS, torch.float64), X, True)
