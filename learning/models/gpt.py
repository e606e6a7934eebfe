"""Small GPT-like language model."""

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Interval
from torch import Tensor, nn

from learning.models.experts import Experts
from learning.models.vit import check_layers, transformer_layers


@dataclass(frozen=True)
class Gpt:
    """Small pre-norm causal transformer over tokens: embedding | one block a layer | logits of the next token."""

    # Radford et al., Language models are unsupervised multitask learners, 2019.

    width: Annotated[int, Interval(ge=1, le=1_000_000)] = 64
    """Dimension of a token's embedding."""

    depth: Annotated[int, Interval(ge=1, le=1000)] = 4
    """Number of transformer layers."""

    heads: Annotated[int, Ge(1)] = 4
    """Attention heads; must divide `width`."""

    expansion: Annotated[int, Interval(ge=1, le=1000)] = 4
    """Width of the hidden layer of the feed-forward part, in multiples of `width`."""

    experts: Experts | None = None
    """Mixture of experts in place of the feed-forward part of layers (default: none, the model is dense)."""

    def __post_init__(self) -> None:
        check_layers(self.width, self.depth, self.heads, self.experts)

    def blocks(self, input_shape: tuple[int, ...], classes: int) -> list[nn.Module]:
        """The blocks map token numbers (batch, tokens) to logits (batch, tokens, classes); any token can be the next.

        Raises ValueError unless a sample is a row of tokens.
        """
        if len(input_shape) != 1:
            raise ValueError(f"a language model needs rows of tokens, but one sample has the shape {input_shape}")
        layers = transformer_layers(self.width, self.depth, self.heads, self.expansion, self.experts, causal=True)
        return [TokenEmbedding(classes, input_shape[0], self.width), *layers, NextToken(self.width, classes)]


class TokenEmbedding(nn.Module):
    """Learnt embeddings of tokens and positions, added."""

    def __init__(self, vocabulary: int, places: int, width: int) -> None:
        super().__init__()
        self.token = nn.Embedding(vocabulary, width)
        self.place = nn.Embedding(places, width)

    def forward(self, x: Tensor, first: int = 0) -> Tensor:
        """Tokens (b, tokens), the first of which is at position `first`, to (b, tokens, width)."""
        embedded: Tensor = self.token(x) + self.place.weight[first : first + x.shape[1]]
        return embedded


class NextToken(nn.Module):
    """Layer normalisation, and a linear map of each token to the logits of the next one."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.predict = nn.Linear(width, classes, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.predict(self.norm(x))
        return logits
