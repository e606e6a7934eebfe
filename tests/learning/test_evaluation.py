"""Evaluation against a plain loop over the test set."""

from dataclasses import dataclass
from math import copysign, inf, isnan, nan
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from fakes import FakeStreams, digits, world
from learning import steps
from learning.adapters import Lora
from learning.adapters.combine import merged
from learning.codecs import Uniform
from learning.deployed import Deployed
from learning.evaluation import mean
from learning.models import Mlp, Vit, whole
from learning.reducers import Selected
from learning.scheme import Scheme


@dataclass
class Reports(Scheme):
    """Reports given models, round after round."""

    rounds: list[list[Any]]
    over: list[Deployed]

    def run(self, world):
        for number in world.rounds():
            yield world.env.timeout(1.5)
            world.models(*self.rounds[number], over=self.over)


def report(*rounds, over=(), **settings):
    return world(Reports(list(rounds), list(over)), rounds=len(rounds), **settings)


TEST = digits(torch.float64, 40)
MODEL = whole(Mlp((12, 8)), TEST)
MODELS = [MODEL.initial(FakeStreams(seed), torch.float64) for seed in (3, 4, 5)]


def scores(model):
    """Accuracy and mean loss, sample by sample."""
    logits, labels = MODEL(model, TEST.test.x), TEST.test.y
    right = [int(row.argmax()) == int(label) for row, label in zip(logits, labels, strict=True)]
    losses = [float(F.cross_entropy(row, label)) for row, label in zip(logits, labels, strict=True)]
    return np.mean(right), np.mean(losses)


@pytest.mark.parametrize("executor", ["eager", "batched"])
@pytest.mark.parametrize("chunk", [500, 40, 39, 7, 1])
def test_one_model(executor, chunk, monkeypatch):
    """Whatever the size of a chunk, the last one included."""
    monkeypatch.setattr("learning.evaluation.CHUNK", chunk)
    ran = report([MODELS[0]], executor=executor)
    accuracy, loss = scores(MODELS[0])
    assert [row["metric"] for row in ran.journal.evaluations] == ["accuracy", "loss"]
    assert ran.journal.series("accuracy") == [pytest.approx(accuracy, rel=1e-12)]
    assert ran.journal.series("loss") == [pytest.approx(loss, rel=1e-12)]
    for row in ran.journal.evaluations:
        assert (row["split"], row["samples"], row["round"], row["time_s"]) == ("test", 40, 0, 1.5)


def test_parts_of_a_cut_model_are_put_together():
    def parts(model):
        front = [name for name in model if name.startswith("0.")]
        assert 0 < len(front) < len(model)
        return {name: model[name] for name in front}, {name: model[name] for name in model if name not in front}

    assert report([parts(MODELS[1])]).journal.evaluations == report([MODELS[1]]).journal.evaluations


def test_a_model_for_each_user():
    ran = report(MODELS)
    each = np.array([scores(model) for model in MODELS])
    assert len(set(each[:, 0])) == 3  # otherwise the least and the largest say nothing
    values = {row["metric"]: row["value"] for row in ran.journal.evaluations}
    assert values == {
        "accuracy": pytest.approx(each[:, 0].mean()),
        "loss": pytest.approx(each[:, 1].mean()),
        "accuracy_min": pytest.approx(each[:, 0].min()),
        "accuracy_max": pytest.approx(each[:, 0].max()),
    }


def test_the_latest_models_are_evaluated_round_after_round():
    ran = report(*([model] for model in MODELS))
    accuracies = [scores(model)[0] for model in MODELS]
    assert ran.journal.series("accuracy") == pytest.approx(accuracies)
    assert [row["time_s"] for row in ran.journal.evaluations] == [1.5, 1.5, 3.0, 3.0, 4.5, 4.5]
    assert ran.evaluator.latest["accuracy"] == pytest.approx(accuracies[-1])


def test_logits_that_are_not_finite_predict_nothing():
    """Three samples of five, although the largest logit is at their label, or not-a-number is at class 0."""
    logits = torch.tensor([[1.0, 0.0], [nan, 0.0], [inf, 0.0], [0.0, -inf], [0.0, 1.0]])
    correct, loss = steps.evaluate(lambda parameters, x: x, {}, logits, torch.tensor([0, 0, 0, 0, 1]))
    assert int(correct) == 2
    assert isnan(float(loss))


def test_means_that_are_no_numbers():
    """Of not-a-number there is one, whose sign no table can differ by."""
    assert mean([1.0, 2.0, 6.0]) == 3.0
    assert mean([1.7e308, 1.7e308]) == mean([1.0, inf]) == inf
    for value in (nan, -nan):
        assert isnan(mean([1.0, value]))
        assert copysign(1.0, mean([1.0, value])) == 1.0


@pytest.mark.parametrize("models", [1, 3])
def test_without_values_the_rows_are_there_and_empty(models):
    dry, eager = (report(MODELS[:models], executor=executor) for executor in ("dry", "eager"))
    empty = [{**row, "value": None} for row in eager.journal.evaluations]
    assert dry.journal.evaluations == empty
    assert all(row["value"] is not None for row in eager.journal.evaluations)


def test_adapters_are_evaluated_on_their_frozen_weights():
    """In one piece or in two, as the plain weights that compute the same."""
    whole_vit = whole(Vit(4, 8, 2, 2), TEST)
    adapted = Lora(2, targets=("q", "fc1")).on(whole_vit)
    frozen, head = adapted.split(whole_vit.initial(FakeStreams(3), torch.float64))
    generator = torch.Generator().manual_seed(0)
    shapes = {name: value.shape for name, value in adapted.parameters().items() if adapted.of_adapter(name)}
    trained = {n: torch.randn(shape, generator=generator, dtype=torch.float64) for n, shape in shapes.items()} | head
    lower, upper = ({n: trained[n] for n in part.parameters()} for part in adapted.cut(2))
    bound, plain = adapted.bind(frozen), merged(adapted, frozen, trained)
    ran = report([(bound, trained)], [(bound, lower, upper)], [plain], model=whole_vit.architecture)
    once, twice, merged_loss = ran.journal.series("loss")
    assert once == twice
    assert once == pytest.approx(merged_loss, rel=1e-10)
    assert once == pytest.approx(float(F.cross_entropy(whole_vit(plain, TEST.test.x), TEST.test.y)), rel=1e-10)


VIT = whole(Vit(4, 8, 2, 2), TEST)
WEIGHTS = VIT.initial(FakeStreams(3), torch.float64)


def sent_and_decoded(cut, keep, bits, batch):
    """Loss where the patches with most attention are sent, and merged with none, in `bits` bits a mini-batch."""
    front, back = VIT.cut(cut)
    lower, upper = ({name: WEIGHTS[name] for name in part.parameters()} for part in (front, back))
    losses = []
    for start in range(0, len(TEST.test.y), batch):
        h, attention = front.scored(lower, TEST.test.x[start : start + batch])
        best = attention[:, 1:].argsort(dim=1, descending=True)[:, :keep].sort(dim=1).values
        kept = torch.stack([torch.cat([row[:1], row[1:][places]]) for row, places in zip(h, best, strict=True)])
        step = (kept.max() - kept.min()) / (2**bits - 1)
        decoded = kept.min() + step * torch.round((kept - kept.min()) / step)
        logits = back(upper, decoded)
        losses += [
            float(F.cross_entropy(a, b)) for a, b in zip(logits, TEST.test.y[start : start + batch], strict=True)
        ]
    return np.mean(losses)


def over_two_bits(cut=None, keep=2):
    return Deployed(Selected(keep, merge=False), Uniform(2, "nearest"), cut)


@pytest.mark.parametrize("executor", ["eager", "batched"])
def test_samples_cross_the_link_of_the_scheme(executor):
    """With its tokens, and its bits for each message, which has as many samples as a mini-batch of the first user."""
    ran = report([WEIGHTS], over=[over_two_bits()], model=VIT.architecture, cut=2, executor=executor, evaluation="both")
    batch = ran.users[0].batches.largest
    assert 1 < batch < len(TEST.test.y)
    rows = {row["split"]: row["value"] for row in ran.journal.evaluations if row["metric"] == "loss"}
    assert rows["test"] == pytest.approx(sent_and_decoded(ran.cut, 2, 2, batch), rel=1e-10)
    assert rows["test_uncompressed"] == pytest.approx(float(F.cross_entropy(VIT(WEIGHTS, TEST.test.x), TEST.test.y)))
    assert abs(rows["test"] - rows["test_uncompressed"]) > 1e-3


def test_users_with_different_links_count_alike():
    links = [over_two_bits(2), over_two_bits(3), over_two_bits(3)]
    ran = report([WEIGHTS], over=links, model=VIT.architecture)
    batch = ran.users[0].batches.largest
    near, far = (sent_and_decoded(cut, 2, 2, batch) for cut in (2, 3))
    assert ran.journal.series("loss") == [pytest.approx((near + 2 * far) / 3, rel=1e-10)]


def test_draws_of_a_link_are_the_same_at_each_evaluation():
    random = Deployed(Selected(2, "random", merge=False), Uniform(2))
    first, second = report([WEIGHTS], [WEIGHTS], over=[random], model=VIT.architecture).journal.series("loss")
    assert first == second


def test_uncompressed_evaluation_ignores_the_link():
    path = {"model": VIT.architecture, "evaluation": "uncompressed"}
    without = report([WEIGHTS], model=VIT.architecture).journal.evaluations
    assert report([WEIGHTS], over=[over_two_bits()], **path).journal.evaluations == without
