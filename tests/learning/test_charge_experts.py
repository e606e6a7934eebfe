"""Mixtures of experts that are charged: published sizes of the large models, and equal runs of their experts."""

from dataclasses import replace

import pytest
import torch
from named_streams import NamedStreams

from learning import steps
from learning.adapters import Lora
from learning.charge import Charge
from learning.executor import Dry
from learning.models import Experts, Gpt, Segment, Vit

STREAMS = NamedStreams()
PLACES = 8


def small(**experts):
    return Segment(Gpt(16, 2, 2, experts=Experts(**{"count": 4, "top_k": 1} | experts)), (PLACES,), 65, 0, 4)


PUBLISHED = {
    # Fedus et al., table 9: 7.41 billion parameters with 128 experts, of which half are here. Ours has no
    # cross-attention (12 layers of 4 x 768 x 768), and its logits are not tied to the embedding (32128 x 768).
    "switch_base_64": (7.41e9 - 12 * 64 * 2 * 768 * 3072 - 12 * 4 * 768**2 + 32128 * 768, None, (1,)),
    # Dai et al., section 5: 16.4 and 2.8 billion; the first of 28 layers is dense.
    "deepseek_moe_16b": (16.4e9, 2.8e9, tuple(range(1, 28))),
    # Model card: 14.3 and 2.7 billion.
    "qwen_moe_a2.7b": (14.3e9, 2.7e9, None),
    # Muennighoff et al.: 6.9 and 1.3 billion.
    "olmoe_1b_7b": (6.9e9, 1.3e9, None),
    # Jiang et al.: 46.7 and 12.9 billion, with 8 keys and values for 32 queries; ours has 32.
    "mixtral_8x7b": (46.7e9 + 32 * 2 * 4096 * 3072, 12.9e9 + 32 * 2 * 4096 * 3072, None),
}


MANY = ("deepseek_moe_16b", "qwen_moe_a2.7b")
"""Models whose many experts take long to count."""


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in MANY else name for name in PUBLISHED]
)
def test_published_numbers_of_parameters(name):
    """Total and active ones to half a unit of their last digit; active are half the FLOPs of a token, and its row of
    the embedding table, which is counted as a whole.
    """
    total, active, layers = PUBLISHED[name]
    charge = Charge(name, small(shared=int(name in ("deepseek_moe_16b", "qwen_moe_a2.7b")), layers=(1,)))
    large = charge.large
    if name != "switch_base_64":  # the layers that have experts as published, which is no run of equal halves
        experts = replace(large.architecture.experts, layers=layers)
        large = replace(large, architecture=replace(large.architecture, experts=experts))
    assert large.parameter_count == pytest.approx(total, abs=0.05e9)
    if active is None:
        return
    run = Dry()
    x = torch.zeros(1, PLACES, dtype=torch.int64, device="meta")
    flops = run.cost(run.plan(steps.front, large, large.parameters(), x)).flops / PLACES
    width, depth = large.architecture.width, large.architecture.depth
    weights = (flops - depth * 4 * PLACES * width) / 2  # scores and values have none
    assert weights + large.classes * width == pytest.approx(active, abs=0.05e9)


def test_layers_with_experts_stand_for_runs_of_such_layers():
    """Every second layer of the small model, half of the large one's, as published for Switch."""
    charge = Charge("switch_base_64", small(layers=(1,)))
    with_gates = [name for name in charge.large.parameters() if name.endswith("gate.weight")]
    assert with_gates == [f"{block}.feed.1.gate.weight" for block in range(13, 25)]


@pytest.mark.parametrize("count", [3, 4, 5])
def test_each_expert_stands_for_an_equal_run(count):
    """Counterparts of a model's parameters are those of the large model; messages of experts grow in proportion."""
    model = small(count=count)
    charge = Charge("switch_base_64", model)
    shapes = {name: value.shape for name, value in charge.large.parameters().items()}
    assert {name: value.shape for name, value in charge.counterpart(model.parameters()).items()} == shapes
    runs = []
    for expert in range(count):
        own = {name: value for name, value in model.parameters().items() if f".experts.{expert}." in name}
        counterpart = charge.counterpart(own)
        assert sum(value.numel() for value in counterpart.values()) == len(counterpart) // 4 * (
            2 * 768 * 3072 + 3072 + 768
        )
        runs.append(len(counterpart) // 4 / 24)
    assert sum(runs) == 64
    assert max(runs) - min(runs) <= 1


def test_adapters_on_experts():
    model = small()
    adapted = Lora(4, targets=("fc1", "fc2"), head=False).on(model)
    charge = Charge("mixtral_8x7b", model)
    assert charge.counterpart(adapted).parameter_count == 32 * 8 * 4 * ((4096 + 2 * 14336) + (14336 + 4096))
    counterpart = charge.counterpart(adapted.parameters())
    assert sum(value.numel() for value in counterpart.values()) == charge.counterpart(adapted).parameter_count


def test_images_keep_their_experts_in_a_large_dense_model():
    """A ViT with experts charged as ViT-B/32: as many experts, as wide as its layers' networks."""
    model = Segment(Vit(4, 16, 2, 2, experts=Experts(4, 2)), (1, 8, 8), 10, 0, 4)
    run = Dry()
    run.charge = Charge("vit_b32", model)
    weights = model.initial(STREAMS)
    n, d = 4, 768
    layer = n * (8 * d**2 + 4 * n * d + 2 * d * 4 + 2 * 2 * 2 * d * 4 * d)
    flops = run.cost(run.plan(steps.front, model, weights, torch.zeros(1, 1, 8, 8))).flops
    assert flops == 2 * n * 3 * 32**2 * d + 12 * layer + 2 * d * 10


@pytest.mark.parametrize(
    ("name", "model", "message"),
    [
        ("mixtral_8x7b", Segment(Gpt(16, 2, 2), (8,), 65, 0, 4), "mixtral_8x7b has experts, and the model that it"),
        ("mixtral_8x7b", small(count=9), "mixtral_8x7b has 8 experts, fewer than the model that it replaces"),
        ("mixtral_8x7b", small(shared=1), "mixtral_8x7b has no shared experts, unlike the model that it replaces"),
        ("qwen_moe_a2.7b", small(), "qwen_moe_a2.7b has shared experts, unlike the model that it replaces"),
    ],
)
def test_what_cannot_be_charged(name, model, message):
    with pytest.raises(ValueError, match=message):
        Charge(name, model)
