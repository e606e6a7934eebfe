"""Transformers with experts: against a loop over single tokens, dense layers, closed forms, and plain autograd."""

from collections import Counter
from itertools import combinations

import pytest
import torch
import torch.nn.functional as F
from named_streams import NamedStreams

from learning import steps
from learning.adapters import Lora
from learning.data import Digits
from learning.executor import EXECUTORS, Dry
from learning.expert_usage import expert_counts, routing, subset_counts
from learning.models import Experts, Gpt, Segment, Vit
from learning.models.experts import load_balance_loss
from learning.optimisers import Adam, Sgd

STREAMS = NamedStreams()
WIDTH, DEPTH, BATCH = 8, 2, 5
SHAPE, CLASSES = (1, 8, 8), 10
X = torch.from_numpy(STREAMS.generator("x").normal(size=(BATCH, *SHAPE)))
Y = torch.arange(BATCH)
KINDS = {
    "top 1": Experts(4, 1),
    "top 2 of some layers": Experts(4, 2, layers=(1,)),
    "softmax of the chosen": Experts(4, 3, softmax="chosen", expansion=0.75),
    "all": Experts(3, 3),
    "gated and shared": Experts(4, 2, gated=True, shared=2, load_balance=0.3),
    "balanced": Experts(4, 1, load_balance=0.5),
    "balanced, softmax of the chosen": Experts(4, 1, softmax="chosen", load_balance=0.5),
}


def vit(experts=None):
    return Segment(Vit(4, WIDTH, DEPTH, 2, experts=experts), SHAPE, CLASSES, 0, DEPTH + 2)


def drawn(model):
    """Weights with gates that tell tokens apart."""
    weights = model.initial(STREAMS, torch.float64)
    return {name: value * (8 if ".gate." in name else 1) for name, value in weights.items()}


def feed_forward(weights, name, gated, h):
    inner = F.linear(h, weights[f"{name}.fc1.weight"], weights[f"{name}.fc1.bias"])
    inner = F.silu(inner[: len(inner) // 2]) * inner[len(inner) // 2 :] if gated else F.gelu(inner)
    return F.linear(inner, weights[f"{name}.fc2.weight"], weights[f"{name}.fc2.bias"])


def one_token(weights, name, experts, h):
    """Output of a layer's experts for one token (width,), the gate's probabilities, and the chosen experts."""
    logits = weights[f"{name}.gate.weight"] @ h
    probabilities = logits.exp() / logits.exp().sum()
    chosen = sorted(range(experts.count), key=lambda e: -float(logits[e].detach()))[: experts.top_k]
    total = probabilities[chosen].sum() if experts.softmax == "chosen" else 1
    terms = [
        probabilities[e] / total * feed_forward(weights, f"{name}.experts.{e}", experts.gated, h)
        for e in sorted(chosen)
    ]
    if experts.shared:
        terms.append(feed_forward(weights, f"{name}.shared", experts.gated, h))
    return sum(terms), probabilities, chosen


def by_hand(weights, x, experts):
    """Logits, sum of the load-balance losses, and the chosen experts of each layer: one token after another.

    All but the experts is computed by a dense model whose feed-forward parts add nothing.
    """
    dense, penalty, chosen = vit(), 0, []
    blocks = [Segment(dense.architecture, SHAPE, CLASSES, i, i + 1) for i in range(DEPTH + 2)]
    z = x
    for number, block in enumerate(blocks):
        own = {name: weights.get(name, torch.zeros(value.shape).to(z)) for name, value in block.parameters().items()}
        if f"{number}.feed.1.gate.weight" not in weights:
            z = block(own, z)
            continue
        z = block(own, z)
        norm = weights[f"{number}.feed.0.weight"], weights[f"{number}.feed.0.bias"]
        tokens = [
            one_token(weights, f"{number}.feed.1", experts, h) for h in F.layer_norm(z, (WIDTH,), *norm).flatten(0, 1)
        ]
        z = z + torch.stack([out for out, _, _ in tokens]).reshape(z.shape)
        chosen.append([each for _, _, each in tokens])
        counts = Counter(e for each in chosen[-1] for e in each)
        mean = torch.stack([probabilities for _, probabilities, _ in tokens]).mean(0)
        pairs = len(tokens) * experts.top_k
        penalty = penalty + experts.count * sum(counts[e] / pairs * mean[e] for e in range(experts.count))
    return z, penalty, chosen


@pytest.fixture(params=KINDS)
def experts(request):
    return KINDS[request.param]


def test_a_step_is_that_of_a_loop_over_tokens(experts):
    """Logits, loss and all gradients, those of the load-balance loss among them, by plain autograd."""
    model = vit(experts)
    weights = {name: value.requires_grad_() for name, value in drawn(model).items()}
    logits, penalty, chosen = by_hand(weights, X, experts)
    loss = F.cross_entropy(logits, Y)
    gradients = torch.autograd.grad(
        loss + experts.load_balance * penalty, list(weights.values()), materialize_grads=True
    )
    plain = {name: value.detach() for name, value in weights.items()}
    torch.testing.assert_close(model(plain, X), logits.detach(), rtol=1e-12, atol=1e-12)
    after, _, reported = steps.train(model, Sgd(1.0), plain, (), [X[None]], [Y[None]])
    assert float(reported) == pytest.approx(float(loss.detach()), rel=1e-12)
    for (name, value), gradient in zip(plain.items(), gradients, strict=True):
        torch.testing.assert_close(value - after[name], gradient, rtol=1e-9, atol=1e-12, msg=name)
    _, ids = routing(model, plain, X)
    assert ids.flatten(1, 2).tolist() == chosen


@pytest.mark.parametrize("experts", [KINDS["gated and shared"], KINDS["balanced"]], ids=["top 2", "top 1"])
def test_every_cut_gives_the_gradients_of_the_whole(experts):
    """Load-balance losses of layers before, between and behind the cuts enter wherever they are."""
    model = vit(experts)
    weights = drawn(model)
    whole, _, loss = steps.back_gradients(model, weights, X, Y)
    for first in range(1, DEPTH + 1):
        for second in range(first + 1, DEPTH + 2):
            front, rest = model.cut(first)
            middle, tail = rest.cut(second)
            own = [{name: weights[name] for name in part.parameters()} for part in (front, middle, tail)]
            z = steps.front(front, own[0], X)
            upper, dz, of_parts = steps.back_gradients(tail, own[2], steps.front(middle, own[1], z), Y)
            between, dz = steps.middle_gradients(middle, own[1], z, dz)
            parts = steps.front_gradients(front, own[0], X, dz) | between | upper
            assert float(of_parts) == pytest.approx(float(loss), rel=1e-12)
            for name, gradient in whole.items():
                torch.testing.assert_close(parts[name], gradient, rtol=1e-10, atol=1e-13, msg=name)


def test_one_expert_is_a_dense_layer_bit_for_bit():
    """Forward and backward pass; the gate, which has no choice, gets no gradient."""
    dense, model = vit(), vit(Experts(1, 1))
    weights = dense.initial(STREAMS)
    renamed = {
        name.replace("feed.1.", "feed.1.experts.0.fc1.").replace("feed.3.", "feed.1.experts.0.fc2."): name
        for name in weights
    }
    given = {
        name: weights[renamed[name]] if name in renamed else value for name, value in model.initial(STREAMS).items()
    }
    x = X.float()
    assert torch.equal(model(given, x), dense(weights, x))
    gradients, expected = (steps.back_gradients(m, w, x, Y)[0] for m, w in ((model, given), (dense, weights)))
    for name, gradient in gradients.items():
        assert torch.equal(gradient, expected[renamed[name]] if name in renamed else torch.zeros_like(gradient)), name


@pytest.mark.parametrize(
    "experts", [Experts(4, 4), Experts(4, 2, softmax="chosen")], ids=["all", "softmax of the chosen"]
)
def test_equal_experts_are_a_dense_layer(experts):
    model, dense = vit(experts), vit()
    weights = drawn(model)
    for name in weights:
        if ".experts." in name:
            before, _, after = name.partition(".experts.")
            weights[name] = weights[f"{before}.experts.0.{after.partition('.')[2]}"]
    same = {
        name: weights[name.replace("feed.1.", "feed.1.experts.0.fc1.").replace("feed.3.", "feed.1.experts.0.fc2.")]
        for name in dense.parameters()
    }
    torch.testing.assert_close(model(weights, X), dense(same, X), rtol=1e-12, atol=1e-12)


def test_experts_of_zeros_leave_the_residual():
    """What remains is the model whose feed-forward parts add nothing."""
    model, dense = vit(Experts(4, 2)), vit()
    weights = {name: 0 * value if ".experts." in name else value for name, value in drawn(model).items()}
    rest = {n: weights.get(n, torch.zeros(v.shape).to(X)) for n, v in dense.parameters().items()}
    assert torch.equal(model(weights, X), dense(rest, X))
    assert not torch.allclose(model(drawn(model), X), dense(rest, X))


def test_load_balance_loss():
    """1 for uniform routing, `count` if one expert has everything, and a case by hand."""
    uniform, chosen = torch.full((6, 4), 0.25), torch.eye(4, dtype=torch.bool)[[0, 1, 2, 3, 0, 2]]
    assert float(load_balance_loss(uniform, chosen)) == pytest.approx(1)
    for top_k in (1, 2, 3):
        even = torch.tensor([[e in subset for e in range(4)] for subset in combinations(range(4), top_k)])
        assert float(load_balance_loss(torch.softmax(torch.randn(len(even), 4), -1), even)) == pytest.approx(1)
    first = torch.eye(4)[[0] * 5]
    assert float(load_balance_loss(first, first.bool())) == pytest.approx(4)
    probabilities = torch.tensor([[0.7, 0.2, 0.1], [0.5, 0.1, 0.4]])
    chosen = torch.tensor([[True, True, False], [True, False, True]])
    # shares 1/2, 1/4, 1/4 and means 0.6, 0.15, 0.25: 3 (0.3 + 0.0375 + 0.0625)
    assert float(load_balance_loss(probabilities, chosen)) == pytest.approx(1.2)


def test_equal_scores_go_to_the_lower_numbers():
    model = vit(Experts(4, 2))
    weights = {name: 0 * value if ".gate." in name else value for name, value in drawn(model).items()}
    probabilities, ids = routing(model, weights, X)
    assert (ids == torch.tensor([0, 1])).all()
    assert (probabilities == 0.25).all()


def test_sets_of_experts_are_counted():
    ids = torch.from_numpy(STREAMS.generator("ids").random((3, 4, 5, 6)).argsort(-1)[..., :2].copy())
    counts = subset_counts(ids)
    for layer, subsets in enumerate(counts):
        rows = ids[layer].flatten(0, 1).tolist()
        assert subsets == Counter(tuple(sorted(row)) for row in rows)
        assert expert_counts(subsets, 6).tolist() == [sum(e in row for row in rows) for e in range(6)]
    assert sum((counts[0] + counts[1]).values()) == 40


@pytest.mark.parametrize("executor", ["eager", "batched"])
def test_routing_is_an_operation(executor):
    """Of adapted segments too, and of a part that begins behind a cut."""
    model = vit(Experts(4, 2))
    weights, run = drawn(model), EXECUTORS[executor]()
    front, back = model.cut(2)
    lower, upper = ({name: weights[name] for name in part.parameters()} for part in (front, back))
    probabilities, ids = run.value(run.submit(routing, model, weights, X))
    assert (probabilities.shape, ids.shape) == ((DEPTH, BATCH, 4, 4), (DEPTH, BATCH, 4, 2))
    assert torch.equal(ids, probabilities.argsort(-1, descending=True)[..., :2])
    behind = run.value(run.submit(routing, back, upper, run.submit(steps.front, front, lower, X)))
    assert torch.equal(behind[1], ids[1:])
    adapted = Lora(2, targets=("q", "fc1")).on(model)
    frozen, head = adapted.split(weights)
    trained = adapted.adapters(STREAMS, dtype=torch.float64) | head
    assert torch.equal(run.value(run.submit(routing, adapted.bind(frozen), trained, X))[1], ids)
    with pytest.raises(ValueError, match="none of the blocks has experts"):
        vit().routed(vit().initial(STREAMS, torch.float64), X)


def test_adapters_on_experts_train_like_those_of_a_loop_over_tokens():
    """An adapter on each weight of each expert adds its product to that weight."""
    experts = Experts(3, 2, gated=True, shared=1, load_balance=0.2)
    model = vit(experts)
    weights = drawn(model)
    adapted = Lora(2, alpha=3.0, targets=("fc1", "fc2"), head=False).on(model)
    assert len(adapted.ranks) == DEPTH * (3 + 1) * 2
    frozen, _ = adapted.split(weights)
    trained = {
        name: torch.from_numpy(STREAMS.generator(name).normal(0, 0.2, tuple(value.shape))).requires_grad_()
        for name, value in adapted.parameters().items()
    }
    whole = dict(weights)
    for weight, _ in adapted.ranks:
        name = f"{weight.rpartition('.')[0]}.weight"
        whole[name] = weights[name] + 1.5 * trained[f"{weight}.up"] @ trained[f"{weight}.down"]
    logits, penalty, _ = by_hand(whole, X, experts)
    expected = torch.autograd.grad(
        F.cross_entropy(logits, Y) + 0.2 * penalty, list(trained.values()), materialize_grads=True
    )
    plain = {name: value.detach() for name, value in trained.items()}
    gradients, _, _ = steps.back_gradients(adapted.bind(frozen), plain, X, Y)
    for name, gradient in zip(trained, expected, strict=True):
        torch.testing.assert_close(gradients[name], gradient, rtol=1e-9, atol=1e-12, msg=name)


@pytest.mark.parametrize("top_k", [1, 2, 3])
@pytest.mark.parametrize("gated", [False, True])
def test_only_chosen_pairs_are_charged(top_k, gated):
    """FLOPs of n tokens: n (attention + gate + top_k experts + shared ones), and twice that backward."""
    n, d, hidden, count, shared = 7, 16, 24, 5, 2
    described = Experts(count, top_k, gated=gated, expansion=1.5, shared=shared)
    layer = Segment(Gpt(d, 1, 2, experts=described), (n,), 11, 1, 2)
    run, z = Dry(), torch.zeros(3, n, d)
    weights = layer.initial(STREAMS)
    expert = 2 * (3 if gated else 2) * d * hidden
    forward = 3 * n * (8 * d**2 + 4 * n * d + 2 * d * count + (top_k + shared) * expert)
    assert run.cost(run.plan(steps.front, layer, weights, z)).flops == forward
    assert run.cost(run.plan(steps.middle_gradients, layer, weights, z, z)).flops == 2 * forward


def test_parameters():
    """Gate, experts with their biases, and shared experts, beside the rest of the dense layer."""
    d, hidden = WIDTH, 3 * WIDTH
    feed = 2 * d * 2 * d + 2 * d + d
    described = Experts(4, 2, gated=True, expansion=3.0, shared=2)
    expert, both = 3 * d * hidden + 2 * hidden + d, 2 * 3 * d * hidden + 4 * hidden + d
    expected = vit().parameter_count + DEPTH * (4 * d + 4 * expert + both - feed)
    assert vit(described).parameter_count == expected


@pytest.mark.slow
def test_training_on_digits_learns_and_balances():
    """200 steps reach 80 % of the test digits; with the load-balance loss the experts are used more evenly."""
    digits = Digits().load(None, torch.float32)
    rows = STREAMS.generator("batches").integers(len(digits.train.y), size=(10, 20, 32))
    unbalanced = {}
    for coefficient in (0.0, 0.1):
        model = Segment(Vit(2, 16, 2, 2, experts=Experts(4, 1, load_balance=coefficient)), SHAPE, CLASSES, 0, 4)
        weights, adam = model.initial(STREAMS), Adam(0.01)
        state = adam.init(weights)
        for each in rows:
            weights, state, _ = steps.train(
                model, adam, weights, state, [digits.train.arrays["x"][each]], [digits.train.y[each]]
            )
        x, y = digits.test.arrays["x"], digits.test.y
        correct, _ = steps.evaluate(model, weights, x, y)
        assert int(correct) > 0.8 * len(y)
        probabilities, ids = routing(model, weights, x)
        chosen = (ids[..., None] == torch.arange(4)).any(-2)
        unbalanced[coefficient] = sum(
            float(load_balance_loss(*layer)) for layer in zip(probabilities, chosen, strict=True)
        )
    assert 2 <= unbalanced[0.1] < 2 + (unbalanced[0.0] - 2) / 4


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Experts(2, 3), "a token cannot go to top_k = 3 of count = 2 experts"),
        (lambda: Vit(depth=2, experts=Experts(layers=(0, 2))), "there is no layer 2 to have experts; layers: 0 to 1"),
        (lambda: Gpt(depth=3, experts=Experts(layers=(3,))), "there is no layer 3 to have experts; layers: 0 to 2"),
    ],
)
def test_what_cannot_be(make, message):
    with pytest.raises(ValueError, match=message):
        make()
