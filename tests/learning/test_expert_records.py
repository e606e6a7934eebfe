"""Records of layers with experts, against the layers themselves called one by one."""

from dataclasses import replace

import pytest
import torch
from named_streams import NamedStreams
from torch.func import grad, vmap

from learning import steps
from learning.adapters import Lora
from learning.executor import Dry
from learning.models import Experts, Segment, Vit
from learning.models.experts import expert_of
from learning.models.segment import modules

STREAMS = NamedStreams()
WIDTH, DEPTH, BATCH, TOKENS = 8, 3, 5, 4
EXPERTS = Experts(4, 2, layers=(0, 2), shared=1)
MODEL = Segment(Vit(4, WIDTH, DEPTH, 2, experts=EXPERTS), (1, 8, 8), 10, 0, DEPTH + 2)
X = torch.from_numpy(STREAMS.generator("x").normal(size=(BATCH, 1, 8, 8)))
WEIGHTS = {
    name: value * (8 if ".gate." in name else 1) for name, value in MODEL.initial(STREAMS, torch.float64).items()
}


def recorded(model, parameters, x):
    """An operation with the output and the records as a tree."""
    out, records = model.recorded(parameters, x)
    return out, {name: dict(record._asdict()) for name, record in records.items()}


def test_records_are_what_the_layers_compute() -> None:
    """Inputs from the part before the layer, with its norm; experts and gate as modules of their own."""
    out, records = MODEL.recorded(WEIGHTS, X)
    assert torch.equal(out, MODEL(WEIGHTS, X))
    assert list(records) == ["1.feed.1", "3.feed.1"]
    probabilities, ids = MODEL.routed(WEIGHTS, X)
    for number, (name, record) in enumerate(records.items()):
        assert torch.equal(record.probabilities, probabilities[number])
        assert torch.equal(record.ids, ids[number])
        mixture = modules(MODEL).get_submodule(name)
        for expert, output in enumerate(record.outputs):
            own = {
                key.removeprefix(f"{name}.experts.{expert}."): value
                for key, value in WEIGHTS.items()
                if expert_of(key) == (name, expert)
            }
            wanted = torch.func.functional_call(mixture.experts[expert], own, record.inputs)
            torch.testing.assert_close(output, wanted, rtol=1e-14, atol=1e-14)
        norms = record.inputs.square().mean(-1)  # what enters is normalised
        torch.testing.assert_close(norms, torch.ones(BATCH, TOKENS).to(norms), rtol=1e-3, atol=0)


def test_records_cost_nothing_and_gradients_flow_through_them() -> None:
    run = Dry()
    meta = MODEL.parameters(), torch.empty(BATCH, 1, 8, 8, device="meta")
    costs = [run.cost(run.plan(each, MODEL, *meta)).flops for each in (steps.front, recorded)]
    assert costs[0] == costs[1] > 0

    def probability(weights, x):
        return MODEL.recorded(weights, x)[1]["3.feed.1"].probabilities[..., 0].mean()

    slopes = grad(probability)(WEIGHTS, X)
    step = 1e-6 * slopes["1.attend.1.inward.weight"]
    moved = WEIGHTS | {"1.attend.1.inward.weight": WEIGHTS["1.attend.1.inward.weight"] + step}
    gained = probability(moved, X) - probability(WEIGHTS, X)
    assert float(gained) == pytest.approx(1e6 * float(step.square().sum()), rel=1e-3)
    many = vmap(grad(probability), (None, 0))(WEIGHTS, torch.stack([X, X + 1]))
    torch.testing.assert_close(many["1.feed.1.gate.weight"][0], slopes["1.feed.1.gate.weight"], rtol=1e-9, atol=1e-12)


def test_a_model_with_adapters_is_recorded_likewise() -> None:
    """Adapters begin as zero changes, so the records are those of the backbone."""
    adapted = Lora(2, targets=("fc1", "fc2")).on(MODEL, 2)
    frozen, head = adapted.split(WEIGHTS)
    parameters = adapted.adapters(STREAMS, dtype=torch.float64) | head
    _, records = adapted.bind(frozen).recorded(parameters, X)
    _, plain = MODEL.recorded(WEIGHTS, X)
    assert records.keys() == plain.keys()
    torch.testing.assert_close(records["3.feed.1"].outputs, plain["3.feed.1"].outputs, rtol=1e-12, atol=1e-12)


def test_a_dense_model_has_no_records() -> None:
    dense = replace(MODEL, architecture=Vit(4, WIDTH, DEPTH, 2))
    assert dense.recorded(dense.initial(STREAMS, torch.float64), X)[1] == {}


@pytest.mark.parametrize(
    ("name", "owner"),
    [
        ("1.feed.1.experts.3.fc1.weight", ("1.feed.1", 3)),
        ("12.feed.1.experts.10.fc2.down", ("12.feed.1", 10)),
        ("1.feed.1.gate.weight", None),
        ("1.feed.1.shared.fc1.bias", None),
        ("1.attend.1.inward.weight", None),
    ],
)
def test_names_of_parameters_of_experts(name, owner) -> None:
    assert expert_of(name) == owner
