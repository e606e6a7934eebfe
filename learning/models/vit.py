"""Small vision transformer."""

from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge, Interval
from torch import Tensor, nn

from learning.models.experts import Experts, MixtureOfExperts
from learning.models.projection import Projection


@dataclass(frozen=True)
class Vit:
    """Small pre-norm vision transformer: patch embedding | one block a layer | pooled linear classifier."""

    # Dosovitskiy et al., arXiv 2010.11929; by default mean pooling instead of a class token.

    patch: Annotated[int, Ge(1)] = 4
    """Side of a square patch in pixels; must divide height and width of the image."""

    width: Annotated[int, Interval(ge=1, le=1_000_000)] = 64
    """Dimension of a token."""

    depth: Annotated[int, Interval(ge=1, le=1000)] = 4
    """Number of transformer layers."""

    heads: Annotated[int, Ge(1)] = 4
    """Attention heads; must divide `width`."""

    expansion: Annotated[int, Interval(ge=1, le=1000)] = 2
    """Width of the hidden layer of the feed-forward part, in multiples of `width`."""

    class_token: bool = False
    """Whether a learnt token is put before the patches, from which the head classifies in place of the mean token."""

    experts: Experts | None = None
    """Mixture of experts in place of the feed-forward part of layers (default: none, the model is dense)."""

    def __post_init__(self) -> None:
        check_layers(self.width, self.depth, self.heads, self.experts)

    def blocks(self, input_shape: tuple[int, ...], classes: int) -> list[nn.Module]:
        if len(input_shape) != 3 or any(side % self.patch for side in input_shape[1:]):
            raise ValueError(f"patch = {self.patch} does not divide the sides of an image of shape {input_shape}")
        layers = transformer_layers(self.width, self.depth, self.heads, self.expansion, self.experts)
        embedding = Embedding(input_shape, self.patch, self.width, self.class_token)
        return [embedding, *layers, Head(self.width, classes, self.class_token)]


class Position(nn.Module):
    """Adds one learnt vector to each token."""

    def __init__(self, tokens: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(tokens, width))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.weight


class ClassToken(nn.Module):
    """Puts one learnt vector before the tokens."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1, width))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.weight.expand(x.shape[0], 1, -1), x], dim=1)


class Embedding(nn.Module):
    """Cuts an image into patches, maps each linearly to a token, puts a class token before them and adds positions.

    No later block depends on positions: layers take any number of tokens in any order.
    """

    def __init__(self, input_shape: tuple[int, ...], patch: int, width: int, class_token: bool) -> None:
        super().__init__()
        channels, rows, columns = input_shape
        self.patch = patch
        self.project = nn.Linear(channels * patch * patch, width)
        self.first = ClassToken(width) if class_token else nn.Identity()
        self.position = Position(rows // patch * (columns // patch) + class_token, width)

    def forward(self, x: Tensor) -> Tensor:
        tokens: Tensor = self.position(self.first(self.project(patches(x, self.patch))))
        return tokens


def patches(x: Tensor, side: int) -> Tensor:
    """The square patches of images (b, channels, height, width), row by row: (b, patches, channels * side * side)."""
    rows, columns = (length // side for length in x.shape[2:])
    grid = x.reshape(*x.shape[:2], rows, side, columns, side)
    return grid.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)


KeysAndValues = tuple[Tensor, Tensor]
"""Keys and values of tokens in one layer, (b, tokens, width) each."""


class Attention(nn.Module):
    """Multi-head self-attention, as matrix products, so that it vectorises over users and its FLOPs are counted."""

    def __init__(self, width: int, heads: int, causal: bool = False) -> None:
        super().__init__()
        self.heads, self.causal = heads, causal
        self.inward = Projection(width, 3 * width, "q", "k", "v")
        self.outward = Projection(width, width, "proj")

    def forward(self, x: Tensor) -> Tensor:
        return self.scored(x)[0]

    def scored(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Its output (b, tokens, width), and the attention of each token to each: (b, heads, tokens, tokens)."""
        return self._attended(*self.inward(x).chunk(3, dim=-1))

    def extended(self, x: Tensor, cache: KeysAndValues | None) -> tuple[Tensor, KeysAndValues]:
        """The output for tokens that follow earlier ones, (b, tokens, width), and the cache with theirs appended.

        `cache` has the keys and values of the earlier tokens, (b, earlier tokens, width) each; None if there are none.
        """
        q, k, v = self.inward(x).chunk(3, dim=-1)
        if cache is not None:
            k, v = torch.cat([cache[0], k], dim=1), torch.cat([cache[1], v], dim=1)
        return self._attended(q, k, v)[0], (k, v)

    def _attended(self, *qkv: Tensor) -> tuple[Tensor, Tensor]:
        """As `scored`, of queries of the last tokens, and keys and values of all tokens: (b, tokens, width) each."""
        # Views of shape (b, heads, tokens, d).
        q, k, v = (each.reshape(*each.shape[:2], self.heads, -1).transpose(1, 2) for each in qkv)
        scores = q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5
        if self.causal:
            earlier = k.shape[2] - q.shape[2]
            later = torch.ones(q.shape[2], k.shape[2], dtype=torch.bool, device=q.device).triu(1 + earlier)
            scores = scores.masked_fill(later, -torch.inf)
        weights = torch.softmax(scores, dim=-1)
        mixed: Tensor = self.outward((weights @ v).transpose(1, 2).flatten(2))  # (b, tokens, width)
        return mixed, weights


class Layer(nn.Module):
    """Pre-norm transformer layer: attention, then a feed-forward part or experts, each added to its input."""

    def __init__(
        self, width: int, heads: int, expansion: int, causal: bool = False, experts: Experts | None = None
    ) -> None:
        super().__init__()
        self.attend = nn.Sequential(nn.LayerNorm(width), Attention(width, heads, causal))
        if experts is None:
            self.feed = nn.Sequential(
                nn.LayerNorm(width),
                Projection(width, expansion * width, "fc1"),
                nn.GELU(),
                Projection(expansion * width, width, "fc2"),
            )
        else:
            hidden = max(1, round((experts.expansion or expansion) * width))
            self.feed = nn.Sequential(nn.LayerNorm(width), MixtureOfExperts(width, hidden, experts))

    def forward(self, x: Tensor) -> Tensor:
        return self.scored(x)[0]

    def scored(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Its output, and the attention (b, tokens) that the first token pays to every token, mean over heads."""
        norm, attention = self.attend
        assert isinstance(attention, Attention)
        mixed, weights = attention.scored(norm(x))
        x = x + mixed
        fed: Tensor = x + self.feed(x)
        return fed, weights[:, :, 0].mean(1)


def check_layers(width: int, depth: int, heads: int, experts: Experts | None) -> None:
    """Raises ValueError if there can be no such layers; arguments as in `Vit`."""
    if width % heads:
        raise ValueError(f"heads = {heads} does not divide width = {width}")
    if experts is not None:
        experts.check(depth)


def transformer_layers(
    width: int, depth: int, heads: int, expansion: int, experts: Experts | None, causal: bool = False
) -> list[nn.Module]:
    """The layers of a transformer, with experts in those that are to have some; arguments as in `Vit`.

    With `causal` no token attends to later ones.
    """
    return [
        Layer(width, heads, expansion, causal, experts.of_layer(number) if experts else None) for number in range(depth)
    ]


class Head(nn.Module):
    """Mean of the normalised tokens, or the class token, then a linear classifier."""

    def __init__(self, width: int, classes: int, class_token: bool) -> None:
        super().__init__()
        self.class_token = class_token
        self.norm = nn.LayerNorm(width)
        self.classify = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.norm(x)
        logits: Tensor = self.classify(tokens[:, 0] if self.class_token else tokens.mean(1))
        return logits
