"""Networks as libraries have them, cut between their blocks: a residual one, and layers of the library transformers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from by_hand import Plain, batch, mean, split_step
from torch import Tensor, nn

from fakes import FakeStreams, world
from learning.data import Dataset
from learning.models import own_model, whole
from learning.optimisers import Sgd
from learning.schemes import SFLV1, FedAvg
from learning.trained import TrainedModel

SGD = Sgd(0.05, 0.9)
SETTING: dict[str, Any] = {"rounds": 2, "precision": torch.float32, "optimiser": SGD, "samples": 24, "users": 2}


class BasicBlock(nn.Module):
    """The block of ResNet-18 as torchvision has it, with rectifiers in place."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = None
        if stride > 1 or inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        kept = x if self.downsample is None else self.downsample(x)
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += kept
        final: Tensor = self.relu(out)
        return final


@own_model
def residual_network(input_shape: tuple[int, ...], classes: int, width: int = 4) -> nn.Sequential:
    stem = nn.Sequential(
        nn.Conv2d(input_shape[0], width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)
    )
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2 * width, classes))
    return nn.Sequential(stem, BasicBlock(width, width, 1), BasicBlock(width, 2 * width, 2), head)


def weights_of(plain: Plain) -> dict[str, Tensor]:
    state = plain.module.state_dict()
    return {name: value.clone() for name, value in state.items() if not name.endswith("num_batches_tracked")}


@pytest.mark.bits
@pytest.mark.parametrize("cut", [1, 2, 3])
def test_a_residual_network_is_cut_between_its_blocks(cut: int) -> None:
    ran = world(SFLV1(2), model=residual_network(), cut=cut, **SETTING)
    fronts, backs = ({user: Plain(ran, part, SGD) for user in ran.users} for part in (ran.front, ran.back))
    front, back = weights_of(fronts[ran.users[0]]), weights_of(backs[ran.users[0]])
    for number in range(2):
        for user in ran.users:
            fronts[user].load(front)
            backs[user].load(back)
            for position in (2 * number, 2 * number + 1):
                split_step(fronts[user], backs[user], *batch(ran, user, position))
        front, back = (mean([weights_of(each) for each in parts.values()], [0.5, 0.5]) for parts in (fronts, backs))
    for name, value in (front | back).items():
        assert torch.equal(ran.model[name], value), name
    grouped = world(SFLV1(2), model=residual_network(), cut=cut, executor="batched", **SETTING)
    assert all(torch.equal(grouped.model[name], value) for name, value in ran.model.items())


class Embedded(nn.Module):
    """Embeddings of tokens and of their positions, without the buffers that the library keeps."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.words = nn.Embedding(config.vocab_size, config.hidden_size)
        self.places = nn.Embedding(config.max_position_embeddings, config.hidden_size)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.dropout(self.words(x) + self.places.weight[: x.shape[1]])
        return out


class FirstToken(nn.Module):
    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.head = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(x[:, 0])
        return out


def bert(classes: int, attention_dropout: float = 0.0) -> nn.Sequential:
    transformers = pytest.importorskip("transformers", reason="needs the extra hf")
    config = transformers.BertConfig(
        vocab_size=20,
        hidden_size=8,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=6,
        hidden_dropout_prob=0.2,
        attention_probs_dropout_prob=attention_dropout,
        attn_implementation="eager",
    )
    layers = transformers.BertModel(config).encoder.layer
    return nn.Sequential(Embedded(config), *layers, FirstToken(8, classes))


@own_model
def own_bert(input_shape: tuple[int, ...], classes: int, attention_dropout: float = 0.0) -> nn.Sequential:
    """Layers of BERT from a configuration, without a download."""
    return bert(classes, attention_dropout)


def sentences() -> Dataset:
    generator = torch.Generator().manual_seed(0)
    return Dataset.from_arrays(torch.randint(0, 20, (120, 6), generator=generator), torch.arange(120) % 2, tokens=True)


def test_layers_of_transformers_train_with_dropout_wherever_they_are_cut() -> None:
    pytest.importorskip("transformers", reason="needs the extra hf")
    data = sentences()
    ran = [world(SFLV1(2), model=own_bert(), cut=cut, dataset=data, **SETTING) for cut in (1, 2, 3)]
    whole_model = world(FedAvg(1), model=own_bert(), dataset=data, **{**SETTING, "rounds": 1, "users": 1})
    split = world(SFLV1(1), model=own_bert(), cut=2, dataset=data, **{**SETTING, "rounds": 1, "users": 1})
    for name, value in ran[0].model.items():
        torch.testing.assert_close(ran[1].model[name], value, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(ran[2].model[name], value, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(split.model[name], whole_model.model[name], rtol=1e-4, atol=1e-5)
    assert len(ran[0].whole.training_layers) == 1 + 2 * 2
    initial = ran[0].whole.initial(FakeStreams(1))
    module = TrainedModel(ran[0].whole, ran[0].model).module()
    plain = bert(2).eval()
    plain.load_state_dict(ran[0].model)
    x = data.test.x
    torch.testing.assert_close(module(x), plain(x), rtol=1e-5, atol=1e-6)
    assert not torch.equal(initial["3.head.weight"], ran[0].model["3.head.weight"])


def test_dropout_of_attention_is_in_a_function_and_refused() -> None:
    pytest.importorskip("transformers", reason="needs the extra hf")
    with pytest.raises(ValueError, match=r"block 1 of the model draws random numbers .*nn\.Dropout"):
        whole(own_bert(attention_dropout=0.1), sentences())
