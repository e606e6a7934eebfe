"""A small model learns and a large one is charged: published sizes, closed forms, and nothing learnt otherwise."""

import pytest
import torch
from named_streams import NamedStreams

from fakes import world
from learning import steps
from learning.adapters import Lora
from learning.charge import Charge
from learning.executor import EXECUTORS, Dry
from learning.large_models import SIZES
from learning.models import Gpt, Mlp, Segment, Transformer, Vit
from learning.optimisers import Adam, Sgd
from learning.schemes import SCHEMES

STREAMS = NamedStreams()
SHAPE = (1, 28, 28)


def small(depth=4, patch=4, classes=10, class_token=True):
    return Segment(Vit(patch, 16, depth, 2, class_token=class_token), SHAPE, classes, 0, depth + 2)


def charged(name, model):
    executor = Dry()
    executor.charge = Charge(name, model)
    return executor


def layer(n, d):
    return 24 * n * d**2 + 4 * n**2 * d


@pytest.mark.parametrize(
    ("name", "patch", "parameters"),
    [
        ("vit_b16", 2, 86_567_656),
        ("vit_b32", 4, 88_224_232),
        ("vit_l16", 2, 304_326_632),
        ("vit_l32", 4, 306_535_400),
        ("vit_s16", 2, 22_050_664),
        ("vit_s32", 4, 22_878_952),
    ],
)
def test_published_numbers_of_parameters(name, patch, parameters):
    """With the 1000 classes of ImageNet, as torchvision (B, L) and timm (S) state them."""
    assert Charge(name, small(patch=patch, classes=1000)).large.parameter_count == parameters


@pytest.mark.parametrize("name", ["gpt2", "gpt2_medium", "gpt2_large"])
def test_parameters_of_gpt2(name):
    """As published with 1024 places and logits tied to the embedding, which ours are not."""
    published = {"gpt2": 124_439_808, "gpt2_medium": 354_823_168, "gpt2_large": 774_030_080}[name]
    large = Charge(name, Segment(Gpt(16, 2, 2), (64,), 65, 0, 4)).large
    assert large.parameter_count == published + 50257 * SIZES[name]["width"] - (1024 - 64) * SIZES[name]["width"]


def test_cost_of_vit_b32_cut_behind_its_embedding():
    """Split fine-tuning as in SFLAM: FLOPs of an image on either side, bits of a batch of 128."""
    model = small(class_token=False)
    executor, parameters = charged("vit_b32", model), model.initial(STREAMS)
    front, back = model.cut(1)
    lower, upper = ({n: parameters[n] for n in part.parameters()} for part in (front, back))
    z = front(lower, torch.zeros(1, *SHAPE))
    assert executor.cost(executor.plan(steps.front, front, lower, torch.zeros(1, *SHAPE))).flops == 2 * 49 * 3072 * 768
    assert executor.cost(executor.plan(steps.front, back, upper, z)).flops == 12 * layer(49, 768) + 2 * 768 * 10
    assert 32 * executor.charged(torch.zeros(128, 49, 16)).numel == 154_140_672
    assert executor.charged(lower).numel == 3 * 32 * 32 * 768 + 768 + 49 * 768
    token = small()
    executor, parameters = charged("vit_b32", token), token.initial(STREAMS)
    flops = executor.cost(executor.plan(steps.front, token, parameters, torch.zeros(1, *SHAPE))).flops
    assert flops == 231_211_008 + 12 * layer(50, 768) + 2 * 768 * 10
    assert 12 * layer(50, 768) == 8_585_625_600


def test_bits_of_chosen_tokens():
    """Class token, 64 of 196 patches and a merged token, for a batch of 64 (ST-SFLora)."""
    executor = charged("vit_b16", small(patch=2))
    assert 32 * executor.charged(torch.zeros(64, 66, 16)).numel == 103_809_024
    assert 32 * executor.charged(torch.zeros(64, 1, 16)).numel == 1_572_864


@pytest.mark.parametrize("depth", [1, 3, 4, 5, 12])
def test_every_cut_divides_the_large_model(depth):
    """The counterparts of front and back make up the whole, and hold layers in the ratio of the small model's."""
    model = small(depth)
    charge = Charge("vit_b32", model)
    for at in range(1, depth + 2):
        front, back = (charge.counterpart(part) for part in model.cut(at))
        assert (front.start, front.stop, back.stop) == (0, back.start, 14)
        assert front.stop - 1 == pytest.approx((at - 1) * 12 / depth, abs=0.5)
        lower, upper = (charge.counterpart(part.parameters()) for part in model.cut(at))
        assert {n: v.shape for n, v in lower.items()} == {n: v.shape for n, v in front.parameters().items()}
        assert {n: v.shape for n, v in (lower | upper).items()} == {
            n: v.shape for n, v in charge.large.parameters().items()
        }


def test_adapters_have_their_rank_and_the_large_models_sides():
    model = small()
    adapted = Lora(8, targets=("q", "v"), head=False).on(model)
    counterpart = Charge("vit_b32", model).counterpart(adapted.parameters())
    assert sum(value.numel() for value in counterpart.values()) == 12 * 4 * 8 * 768
    assert Charge("vit_b32", model).counterpart(adapted).parameter_count == 12 * 4 * 8 * 768
    fused = Lora(8, targets=("qkv", "proj", "fc1", "fc2"), head=False).on(model)
    expected = 12 * 8 * (4 * 768 + 2 * 768 + 2 * 5 * 768)
    assert sum(value.numel() for value in Charge("vit_b32", model).counterpart(fused.parameters()).values()) == expected


def test_cost_of_a_step_with_adapters():
    """Twice the forward pass and little more: frozen weights need no gradients (section 7.7 of TSFLora's oracles)."""
    model = small()
    executor, full = charged("vit_b32", model), model.initial(STREAMS)
    adapted = Lora(4).on(model)
    frozen, head = adapted.split(full)
    start, x, y = adapted.adapters(STREAMS) | head, torch.zeros(2, *SHAPE), torch.zeros(2, dtype=torch.int64)
    plan = executor.plan(steps.train, adapted.bind(frozen), Adam(), start, Adam().init(start), [x[None]], [y[None]])
    n, d, r = 50, 768, 4
    image = 2 * 49 * 3072 * 768
    adapters = 12 * 2 * 4 * n * r * d
    forward = 12 * layer(n, d) + adapters
    attention = 12 * 4 * n**2 * d
    first_layer = 2 * n * d * 3 * d + 2 * 2 * n * r * d  # no gradient flows below its query and value
    backward = 12 * 24 * n * d**2 + 2 * attention + 2 * adapters - first_layer
    per_sample = image + forward + backward + 3 * 2 * d * 10
    assert executor.cost(plan).flops == 2 * per_sample


def test_state_of_an_optimiser():
    model = small()
    counterpart = Charge("vit_b32", model).counterpart(Adam().init(model.parameters()))
    shapes = {n: v.shape for n, v in Charge("vit_b32", model).large.parameters().items()}
    assert all({n: v.shape for n, v in moment.items()} == shapes for moment in counterpart[1:])


def test_a_language_model_is_charged_with_its_own_vocabulary():
    model = Segment(Gpt(16, 2, 2), (8,), 65, 0, 4)
    executor, parameters = charged("gpt2", model), model.initial(STREAMS)
    x = torch.zeros(1, 8, dtype=torch.int64)
    flops = executor.cost(executor.plan(steps.front, model, parameters, x)).flops
    assert flops == 12 * layer(8, 768) + 2 * 8 * 768 * 50257
    plan = executor.plan(steps.train, model, Sgd(), parameters, (), [x[None]], [x[None]])
    assert executor.cost(plan).flops > 2.9 * flops


def test_bert_is_charged_for_a_smaller_bert():
    pytest.importorskip("transformers", reason="the package transformers is not installed")
    model = Segment(Transformer(width=16, depth=3, heads=2, vocabulary=40), (8,), 5, 0, 5)
    executor, x = charged("bert_base", model), torch.zeros(1, 8, dtype=torch.int64)
    flops = executor.cost(executor.plan(steps.front, model, model.initial(STREAMS), x)).flops
    assert flops == 12 * layer(8, 768) + 2 * 768 * 5


@pytest.mark.parametrize("name", ["fedprox", "sfl"])
def test_what_is_learnt_stays_the_same(name):
    """While work and messages are those of the large model."""
    model = Vit(4, 8, 2, 2)
    runs = []
    for large in (False, True):
        executor = EXECUTORS["batched"]()
        if large:
            executor.charge = Charge("vit_s32", Segment(model, (1, 8, 8), 10, 0, 4))
        runs.append(world(SCHEMES[name](), executor=executor, model=model, rounds=1, users=2, samples=8))
    plain, costly = runs
    assert costly.journal.series("loss") == plain.journal.series("loss")
    assert sum(costly.journal.charged()) > 1000 * sum(plain.journal.charged())
    assert sum(costly.journal.sent()) > 10 * sum(plain.journal.sent())


def test_what_cannot_be_charged():
    with pytest.raises(ValueError, match="vit_b16 can be charged for a model of its own family, and this is a mlp"):
        Charge("vit_b16", Segment(Mlp((8,)), (1, 8, 8), 10, 0, 2))
    with pytest.raises(ValueError, match="vit_b32 has 12 layers, fewer than the model that it replaces"):
        Charge("vit_b32", small(depth=13))
