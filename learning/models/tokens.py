"""Models for tokens of several modalities: encoders, a table of words, and a decoder that reads all tokens at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge, Interval
from torch import Tensor, nn

from learning.data.modalities import Modalities, masked
from learning.models.gpt import NextToken
from learning.models.vit import Position, check_layers, patches, transformer_layers

Width = Annotated[int, Interval(ge=1, le=1_000_000)]


@dataclass(frozen=True)
class TokenEncoder:
    """Small transformer whose output is tokens: embedding | one block a layer | norm | linear map to the features.

    Tokens are patches of an image (channels, height, width), or the rows of a sequence (frames, values), after learnt
    summary tokens, from which a classifier reads when the encoder is pretrained.
    """

    # Images: Dosovitskiy et al., ICLR 2021. Spectrograms with two summary tokens: Gong et al., Interspeech 2021 (AST).

    width: Width = 32
    """Dimension of a token within the encoder."""

    depth: Annotated[int, Interval(ge=1, le=1000)] = 1
    """Number of transformer layers."""

    heads: Annotated[int, Ge(1)] = 2
    """Attention heads; must divide `width`."""

    expansion: Annotated[int, Interval(ge=1, le=1000)] = 2
    """Width of the hidden layer of the feed-forward part, in multiples of `width`."""

    patch: Annotated[int, Ge(1)] = 2
    """Side of a square patch of an image in pixels; must divide its sides. Not used for sequences."""

    summaries: Annotated[int, Interval(ge=1, le=1000)] = 1
    """Number of summary tokens."""

    def __post_init__(self) -> None:
        check_layers(self.width, self.depth, self.heads, None)

    def blocks(self, input_shape: tuple[int, ...], classes: int) -> list[nn.Module]:
        """As `Architecture.blocks`, but for the output: tokens (batch, summaries + others, classes)."""
        return [*self._encoder(input_shape), nn.Linear(self.width, classes)]

    def alone(self) -> SummaryClassifier:
        """The encoder with a classifier in place of its last block, to be pretrained by."""
        return SummaryClassifier(self)

    def _encoder(self, input_shape: tuple[int, ...]) -> list[nn.Module]:
        embedding = TokenEmbedding(input_shape, self.patch, self.width, self.summaries)
        layers = transformer_layers(self.width, self.depth, self.heads, self.expansion, None)
        return [embedding, *layers, nn.LayerNorm(self.width)]


@dataclass(frozen=True)
class SummaryClassifier:
    """An encoder of tokens with a linear classifier on the mean of its summary tokens."""

    encoder: TokenEncoder
    """The encoder, of which all blocks but the last are used."""

    def blocks(self, input_shape: tuple[int, ...], classes: int) -> list[nn.Module]:
        encoder = self.encoder
        return [*encoder._encoder(input_shape), SummaryHead(encoder.summaries, encoder.width, classes)]


@dataclass(frozen=True)
class WordTable:
    """Table of word embeddings: a tower of one block that maps words (batch, words) to tokens (batch, words, features).

    Where the fusion network is a pretrained `decoder`, it is that decoder's own table.
    """

    vocabulary: Annotated[int, Interval(ge=2, le=10_000_000)] = 40
    """Number of words."""

    summaries = None

    def blocks(self, input_shape: tuple[int, ...], classes: int) -> list[nn.Module]:
        if len(input_shape) != 1:
            raise ValueError(f"a table of words needs rows of words, but one sample has the shape {input_shape}")
        return [nn.Embedding(self.vocabulary, classes)]


@dataclass(frozen=True)
class Decoder:
    """Small causal transformer without positions: a language model, and as a fusion network a reader of all tokens.

    As a fusion network it has a receiver for each modality in place of its table of words: an MLP from the features of
    a tower to its own width. It reads the tokens of all modalities one after another, in the order of the towers, and
    predicts the word after the last one. It takes sequences of any length.
    """

    # Without position embeddings: Kazemnejad et al., NeurIPS 2023; the causal mask tells earlier from later tokens.

    width: Width = 64
    """Dimension of a token."""

    depth: Annotated[int, Interval(ge=1, le=1000)] = 2
    """Number of transformer layers."""

    heads: Annotated[int, Ge(1)] = 4
    """Attention heads; must divide `width`."""

    expansion: Annotated[int, Interval(ge=1, le=1000)] = 4
    """Width of the hidden layer of the feed-forward part, in multiples of `width`."""

    receiver: Annotated[int, Interval(ge=1, le=1_000_000)] | None = 128
    """Width of the hidden layer of a receiver; null takes tokens of `width` features as they arrive."""

    def __post_init__(self) -> None:
        check_layers(self.width, self.depth, self.heads, None)

    def blocks(self, input_shape: tuple[int, ...], classes: int) -> list[nn.Module]:
        """As a language model: words (batch, words) to logits (batch, words, classes) of the word after each."""
        if len(input_shape) != 1:
            raise ValueError(f"a decoder reads rows of words, but one sample has the shape {input_shape}")
        return [nn.Embedding(classes, self.width), *self._layers(), NextToken(self.width, classes)]

    def fused(self, widths: tuple[tuple[str, int], ...], classes: int) -> list[nn.Module]:
        """As a fusion network: tokens of several modalities to logits (batch, classes) of the word after the last one.

        `widths` are pairs of modality and number of features. Raises ValueError if there are no receivers, and tokens
        have another width than the decoder.
        """
        return [Receivers(widths, self.receiver, self.width), *self._layers(), LastWord(self.width, classes)]

    def _layers(self) -> list[nn.Module]:
        return transformer_layers(self.width, self.depth, self.heads, self.expansion, None, causal=True)


class TokenEmbedding(nn.Module):
    """Maps patches or frames linearly to tokens, puts summary tokens before them and adds positions."""

    def __init__(self, input_shape: tuple[int, ...], patch: int, width: int, summaries: int) -> None:
        super().__init__()
        self.patch = patch if len(input_shape) == 3 else None
        if len(input_shape) == 3 and not any(side % patch for side in input_shape[1:]):
            channels, rows, columns = input_shape
            count, size = (rows // patch) * (columns // patch), channels * patch * patch
        elif len(input_shape) == 2:
            count, size = input_shape
        else:
            raise ValueError(
                f"one sample has the shape {input_shape}; an image of patches {patch} or a sequence is needed"
            )
        self.project = nn.Linear(size, width)
        self.summary = Position(summaries, width)
        self.position = Position(summaries + count, width)

    def forward(self, x: Tensor) -> Tensor:
        z = self.project(x if self.patch is None else patches(x, self.patch))
        summaries = self.summary.weight.expand(len(z), *self.summary.weight.shape)
        tokens: Tensor = self.position(torch.cat([summaries, z], dim=1))
        return tokens


class SummaryHead(nn.Module):
    """Linear classifier on the mean of the first tokens."""

    def __init__(self, summaries: int, width: int, classes: int) -> None:
        super().__init__()
        self.summaries = summaries
        self.classify = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.classify(x[:, : self.summaries].mean(1))
        return logits


class Receivers(nn.Module):
    """A receiver for each modality: a two-layer perceptron on every token; the tokens of all, one after another."""

    def __init__(self, widths: tuple[tuple[str, int], ...], hidden: int | None, width: int) -> None:
        super().__init__()
        if hidden is None and any(features != width for _, features in widths):
            raise ValueError(f"without receivers all towers need {width} features, the width of the decoder")
        self.order = tuple(name for name, _ in widths)
        self.of = nn.ModuleDict({name: _receiver(features, hidden, width) for name, features in widths})

    def forward(self, x: Modalities) -> Tensor:
        """Tokens (batch, tokens, features) of some modalities to (batch, all tokens, width); zero where absent."""
        here = [name for name in self.order if name in x.values]
        return torch.cat([masked(self.of[name](x.values[name]), x.present[name]) for name in here], dim=1)


def _receiver(features: int, hidden: int | None, width: int) -> nn.Module:
    if hidden is None:
        return nn.Identity()
    return nn.Sequential(nn.Linear(features, hidden), nn.GELU(), nn.Linear(hidden, width))


class LastWord(NextToken):
    """The logits of the word after the last token."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x[:, -1])
