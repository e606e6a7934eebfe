"""Pretraining: a plain training loop before time zero, kept in the store, written down, and free of charge."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from fakes import FakeStreams, world
from learning.adapters import Lora
from learning.data import Batches, Digits
from learning.executor import Batched, Dry, Eager
from learning.models import Mlp, Vit, whole
from learning.optimisers import Sgd
from learning.pretraining import Pretrainer, Pretraining
from learning.schemes import SCHEMES
from learning.store import Store

DOUBLE = torch.float64
SOURCE, TARGET = (
    Digits(classes=(0, 1, 2), train_samples=90),
    Digits(classes=(7, 3, 9), train_samples=90, test_samples=30),
)
MODEL = Mlp((12, 8))
DESCRIBED = Pretraining(SOURCE, steps=45, batch_size=16, optimiser=Sgd(0.1))


def pretrainer(described=DESCRIBED, seed=0, target=TARGET, model=MODEL):
    source = described.data.load(None, DOUBLE)
    downstream = whole(model, target.load(None, DOUBLE))
    return Pretrainer(described, source, whole(model, source), FakeStreams(seed), downstream)


def by_hand(seed=0):
    """Autograd, one batch after another."""
    data = SOURCE.load(None, DOUBLE)
    model = whole(MODEL, data)
    weights = model.initial(FakeStreams(seed), DOUBLE)
    batches = Batches(data, np.arange(90), "pretraining", FakeStreams(seed), 16, "wrap")
    for position in range(45):
        x, y = (rows.tensor() for rows in batches.at(position))
        leaves = {name: value.clone().requires_grad_() for name, value in weights.items()}
        F.cross_entropy(model(leaves, x), y).backward()
        weights = {name: (leaf - 0.1 * leaf.grad).detach() for name, leaf in leaves.items()}
    return weights


@pytest.mark.parametrize("head", ["fresh", "kept"])
def test_what_a_run_begins_with(head):
    described = Pretraining(SOURCE, 45, 16, Sgd(0.1), head)
    ran = world(
        SCHEMES["centralised"](), dataset=TARGET.load(None, DOUBLE), model=MODEL, pretrainer=pretrainer(described)
    )
    drawn, learnt = ran.whole.initial(ran.streams, DOUBLE), by_hand()
    for part in (ran.whole, ran.front, ran.back):
        for name, value in ran.initial(part).items():
            fresh = head == "fresh" and name.startswith("2.")
            torch.testing.assert_close(value, drawn[name] if fresh else learnt[name], atol=1e-12, rtol=0)


def test_it_is_written_down_and_costs_nothing():
    target = TARGET.load(None, DOUBLE)
    with_it, without = (
        world(SCHEMES["fedavg"](), dataset=target, model=MODEL, pretrainer=each) for each in (pretrainer(), None)
    )
    rows = [row for row in with_it.journal.evaluations if row["split"] == "pretraining"]
    assert [(row["metric"], row["round"], row["time_s"]) for row in rows] == [("accuracy", -1, 0.0), ("loss", -1, 0.0)]
    data = SOURCE.load(None, DOUBLE).test
    logits = pretrainer().whole(by_hand(), data.x)
    assert rows[0]["value"] == pytest.approx(float((logits.argmax(1) == data.y).double().mean()))
    assert rows[1]["value"] == pytest.approx(float(F.cross_entropy(logits, data.y)))
    assert with_it.journal.works == without.journal.works
    assert with_it.journal.messages == without.journal.messages
    assert with_it.journal.series("accuracy") != without.journal.series("accuracy")


@pytest.mark.parametrize("kind", [Eager, Batched])
def test_it_is_found_in_the_store(kind, tmp_path):
    first = kind(Store(tmp_path))
    trained = pretrainer().trained(first, DOUBLE)
    second = kind(Store(tmp_path))
    found = pretrainer().trained(second, DOUBLE)
    assert first.run == 9  # 45 steps, five in an operation
    assert second.run == 0
    assert all(torch.equal(found[name], trained[name]) for name in trained)
    third = kind(Store(tmp_path))
    pretrainer(Pretraining(SOURCE, 43, 16, Sgd(0.1))).trained(third, DOUBLE)
    assert third.run == 9  # only what was read is kept, not what led to it
    pretrainer(seed=1).trained(third, DOUBLE)
    assert third.run == 18


def test_under_an_adapter_it_is_written_down_too():
    """The backbone is wanted when the world is built, before anybody listens."""
    model, data = Vit(4, 16, 1, 2), TARGET.load(None, DOUBLE)
    ran = world(SCHEMES["fedavg"](), dataset=data, model=model, pretrainer=pretrainer(model=model), adapter=Lora(1))
    rows = [row for row in ran.journal.evaluations if row["split"] == "pretraining"]
    assert [(row["round"], row["metric"]) for row in rows] == [(-1, "accuracy"), (-1, "loss")]


def test_without_values_there_is_nothing_to_learn():
    ran = world(
        SCHEMES["fedavg"](), dataset=TARGET.load(None, DOUBLE), executor=Dry(), model=MODEL, pretrainer=pretrainer()
    )
    drawn = ran.whole.initial(ran.streams, DOUBLE)
    assert all(torch.equal(value, drawn[name]) for name, value in ran.initial(ran.whole).items())


def test_data_that_do_not_fit():
    kept = Pretraining(SOURCE, head="kept")
    with pytest.raises(
        ValueError, match=r"a model pretrained on digits does not fit: its 2\.0\.weight has another shape"
    ):
        pretrainer(kept, target=Digits())
    assert pretrainer(target=Digits()).names == ["0.1.weight", "0.1.bias", "1.0.weight", "1.0.bias"]


def test_classes_are_chosen_and_numbered_anew():
    full, part = Digits().load(None, DOUBLE), Digits(classes=(7, 3)).load(None, DOUBLE)
    for every, some in ((full.train, part.train), (full.test, part.test)):
        expected = [(x, int(y == 3)) for x, y in zip(every.x, every.y, strict=True) if int(y) in (7, 3)]
        assert torch.equal(some.x, torch.stack([x for x, _ in expected]))
        assert some.y.tolist() == [label for _, label in expected]
    assert part.classes == 2
    with pytest.raises(ValueError, match=r"the classes \[7, 7\] are not distinct"):
        Digits(classes=(7, 7)).load(None, DOUBLE)
