"""Samples of several modalities: what a sample lacks has no influence and no gradient, whatever stands in its place."""

from collections import OrderedDict

import numpy as np
import pytest
import torch
from named_streams import NamedStreams
from torch import nn
from torch.func import grad
from torch.utils._pytree import tree_leaves, tree_map

from learning import steps
from learning.data import Batches, Dataset, Modalities, rows
from learning.models import Gpt, Mlp, Tower, multimodal, whole
from learning.optimisers import Sgd

STREAMS = NamedStreams(5)
SAMPLES, CLASSES = 12, 3
TOWERS = {"image": Tower(Mlp((7,)), 4), "audio": Tower(Mlp(()), 2)}


def arrays(samples: int = SAMPLES) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    draw = torch.Generator().manual_seed(samples)
    image, audio = torch.randn(samples, 1, 3, 2, generator=draw), torch.randn(samples, 5, generator=draw)
    return {"image": image, "audio": audio}, torch.arange(samples) % CLASSES


def made(**changes: object) -> Dataset:
    present = {"audio": torch.arange(SAMPLES) % 2 == 0}, {}
    given = {"train": arrays(), "test": arrays(6), "classes": CLASSES, "present": present}
    return Dataset.from_splits("made", **(given | changes))  # type: ignore[arg-type]


MODEL = multimodal(TOWERS, Mlp((8,)), made())


def weights() -> dict[str, torch.Tensor]:
    return MODEL.initial(STREAMS)


# ---------------------------------------------------------------- data


def test_what_a_sample_lacks_is_zero_and_names_nothing() -> None:
    """Whatever the arrays hold where a modality is absent, the data set is the same."""
    x, y = arrays()
    x["audio"] = x["audio"].clone()
    x["audio"][1::2] = torch.nan
    dataset = made(train=(x, y))
    assert (dataset.train.x.values["audio"][1::2] == 0).all()
    assert dataset.fingerprint == made().fingerprint
    assert dataset.fingerprint != made(present=({}, {})).fingerprint
    assert dataset.modalities == {"image": (1, 3, 2), "audio": (5,)}


def test_a_single_array_makes_a_plain_data_set() -> None:
    x, y = arrays()
    dataset = Dataset.from_splits("plain", (x["audio"].numpy(), y.numpy()), (x["audio"], y), CLASSES, groups=y)
    assert dataset.input_shape == (5,)
    assert not dataset.modalities
    assert torch.equal(dataset.train.x, dataset.test.x)
    assert torch.equal(dataset.kinds, y)
    assert rows(dataset, "test", np.arange(2))[0].tensor().shape == (2, 5)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"classes": 2}, "labels of the training set of made go from 0 to 2; 0 to 1 are allowed"),
        (
            {"train": (arrays()[0], torch.zeros(4))},
            r"values.image of the training set of made has 12 rows, but there are 4 labels",
        ),
        (
            {"present": ({"audio": [True]}, {})},
            "present.audio of the training set of made has 1 rows, but there are 12 labels",
        ),
        ({"present": ({"odour": [True]}, {})}, "made has no modality odour; it has image, audio"),
        ({"present": ({"image": torch.arange(12) > 0, "audio": torch.arange(12) > 0}, {})}, "has no modality at all"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(changes: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        made(**changes)


def test_a_mini_batch_has_the_arrays_of_what_its_user_holds() -> None:
    dataset = made()
    both = Batches(dataset, np.arange(SAMPLES), 0, STREAMS, 4)
    deaf = Batches(dataset, np.arange(1, SAMPLES, 2), 1, STREAMS, 3)
    (x, y), (x_deaf, _) = both.at(0), deaf.at(0)
    assert (both.modalities, deaf.modalities) == (["image", "audio"], ["image"])
    assert isinstance(x, Modalities)
    assert (list(x.values), list(x_deaf.values)) == (["image", "audio"], ["image"])
    assert not x_deaf.present["audio"].tensor().any()
    assert torch.equal(x.values["audio"].tensor(), dataset.train.x.values["audio"][y.indices])
    assert torch.equal(x.present["audio"].tensor(), torch.from_numpy(y.indices % 2 == 0))


def test_a_stack_of_mini_batches_is_those_mini_batches() -> None:
    batches = Batches(made(), np.arange(SAMPLES), 0, STREAMS, 4)
    (stack,), _ = batches.stack(range(3))
    for position, each in enumerate(steps.unstacked(fetched(stack))):
        ours, alone = tree_leaves(each), tree_leaves(fetched(batches.at(position)[0]))
        assert all(torch.equal(one, other) for one, other in zip(ours, alone, strict=True))


def fetched(x: Modalities) -> Modalities:
    return tree_map(lambda leaf: leaf.tensor(), x)


# ---------------------------------------------------------------- models


def test_towers_and_fusion_are_what_plain_torch_computes() -> None:
    """The same layers written down in plain torch, absent audio as zeros among the features."""
    params, x, mask = weights(), arrays()[0], torch.arange(SAMPLES) % 2 == 0
    image = nn.Sequential(nn.Flatten(), nn.Linear(6, 7), nn.ReLU(), nn.Linear(7, 4))
    audio, fusion = nn.Linear(5, 2), nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
    for module, name in ((image, "image."), (audio, "audio."), (fusion, "fusion.")):
        own = [value for key, value in params.items() if key.startswith(name)]
        module.load_state_dict(OrderedDict(zip(module.state_dict(), own, strict=True)))
    joined = torch.cat([image(x["image"]), audio(x["audio"]) * mask[:, None]], dim=1)
    present = {"image": torch.ones(SAMPLES, dtype=torch.bool), "audio": mask}
    torch.testing.assert_close(MODEL(params, Modalities(x, present)), fusion(joined))


def test_initial_weights_go_by_name_whatever_else_the_model_has() -> None:
    alone = multimodal({"audio": TOWERS["audio"]}, Mlp((8,)), made())
    mine, theirs = alone.initial(STREAMS), weights()
    same = [name for name in mine if name.startswith("audio.")]
    assert len(same) == 2
    assert all(torch.equal(mine[name], theirs[name]) for name in same)
    assert list(theirs) == [name for part in MODEL.parts for name in part.parameters()]
    assert MODEL.parameter_count == sum(value.numel() for value in theirs.values())


@pytest.mark.parametrize("lost", ["some samples", "all samples", "the array"])
def test_an_absent_modality_has_no_influence_and_no_gradient(lost: str) -> None:
    """Exactly: with anything in its place, and whether its mask is false everywhere or its array is not there."""
    params, (x, y) = weights(), arrays()
    mask = torch.arange(SAMPLES) % 2 == 0 if lost == "some samples" else torch.zeros(SAMPLES, dtype=torch.bool)
    present = {"image": torch.ones(SAMPLES, dtype=torch.bool), "audio": mask}
    other = {**x, "audio": torch.where(mask[:, None], x["audio"], 1e6)}
    if lost == "the array":
        other = {"image": x["image"]}

    def loss(params: dict[str, torch.Tensor], values: dict[str, torch.Tensor]) -> torch.Tensor:
        return steps.mean_loss(MODEL(params, Modalities(values, present)), y)

    assert torch.equal(MODEL(params, Modalities(x, present)), MODEL(params, Modalities(other, present)))
    ours, theirs = grad(loss)(params, x), grad(loss)(params, other)
    assert all(torch.equal(ours[name], theirs[name]) for name in params)
    assert (not ours["audio.0.1.weight"].any()) == (lost != "some samples")
    by_sample = grad(loss, argnums=1)(params, x)["audio"]
    assert not by_sample[~mask].any()
    assert by_sample[mask].any() == mask.any()


def test_with_every_modality_lost_all_samples_get_one_prediction() -> None:
    nothing = dict.fromkeys(TOWERS, torch.zeros(SAMPLES, dtype=torch.bool))
    logits = MODEL(weights(), Modalities(arrays()[0], nothing))
    assert torch.equal(logits, logits[:1].expand_as(logits))


def test_a_step_cut_between_towers_and_fusion_is_the_step_of_the_whole() -> None:
    params, (x, y), step = weights(), arrays(), Sgd(0.1)
    batch = Modalities(x, {"image": torch.ones(SAMPLES, dtype=torch.bool), "audio": torch.arange(SAMPLES) % 2 == 0})
    towers, fusion = MODEL.cut(1)
    front, back = ({name: params[name] for name in part.parameters()} for part in (towers, fusion))
    z = steps.front(towers, front, batch)
    back, _, dz, loss = steps.back(fusion, step, back, step.init(back), z, y)
    front, _ = steps.update_front(towers, step, front, step.init(front), batch, dz)
    trained, _, expected = steps.train(MODEL, step, params, step.init(params), [tree_map(stack, batch)], [stack(y)])
    assert list(dz) == ["image", "audio"]
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close({**front, **back}, trained)


def stack(array: torch.Tensor) -> torch.Tensor:
    return array[None]


@pytest.mark.parametrize(
    ("towers", "sentence"),
    [
        ({"odour": Tower(Mlp())}, "there is a tower for odour, but made has the modalities image, audio"),
        ({"fusion": Tower(Mlp())}, "there is a tower for fusion, which is the name of the part behind the towers"),
        ({"audio": Tower(Gpt(8, 1, 2))}, "the model reads tokens"),
    ],
)
def test_towers_that_do_not_fit_are_refused(towers: dict[str, Tower], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        multimodal(towers, Mlp(), made())


def test_one_chain_does_not_read_several_modalities_and_towers_no_single_array() -> None:
    x, y = arrays()
    plain = Dataset.from_splits("plain", (x["audio"], y), (x["audio"], y), CLASSES)
    with pytest.raises(ValueError, match="samples of made have modalities image, audio; give each a tower"):
        whole(Mlp(), made())
    with pytest.raises(ValueError, match="a tower for audio, but plain has samples that are single arrays"):
        multimodal({"audio": Tower(Mlp())}, Mlp(), plain)
    with pytest.raises(ValueError, match="cut 2 is not between towers and fusion network; possible cuts: 1"):
        MODEL.cut(2)
