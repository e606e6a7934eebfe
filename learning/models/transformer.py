"""Models of the `transformers` library, cut between their layers, with the weights of a local folder if it has some."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from annotated_types import Ge, Interval
from torch import Tensor, nn

from learning.models.projection import Projection
from learning.package_data import model_folder

ROLES: dict[str, dict[str, tuple[str, ...]]] = {
    "bert": {
        "attention.self.query": ("q",),
        "attention.self.key": ("k",),
        "attention.self.value": ("v",),
        "attention.output.dense": ("proj",),
        "intermediate.dense": ("fc1",),
        "output.dense": ("fc2",),
    },
    "vit": {
        "attention.q_proj": ("q",),
        "attention.k_proj": ("k",),
        "attention.v_proj": ("v",),
        "attention.o_proj": ("proj",),
        "mlp.fc1": ("fc1",),
        "mlp.fc2": ("fc2",),
    },
    "gpt2": {
        "attn.c_attn": ("q", "k", "v"),
        "attn.c_proj": ("proj",),
        "mlp.c_fc": ("fc1",),
        "mlp.c_proj": ("fc2",),
    },
}
"""The linear maps of a layer by their names in the library, and their roles."""


@dataclass(frozen=True)
class Transformer:
    """BERT, ViT or GPT-2 of Hugging Face's transformers: embedding | one block a layer | head.

    Needs the extra netsim-learning[hf].
    """

    # No dropout (the layers are in evaluation mode) and eager attention: pure functions whose products are counted.

    family: Literal["bert", "vit", "gpt2"] = "bert"
    """BERT and ViT classify a sample, GPT-2 predicts every next token."""

    folder: Annotated[str, Path] | None = None
    """Folder with config.json and weights, or `package:NAME` for a Python package that carries them in `model`."""

    width: Annotated[int, Interval(ge=1, le=1_000_000)] = 64
    """Dimension of a token's embedding; where a folder is given, this and all following fields are not used."""

    depth: Annotated[int, Interval(ge=1, le=1000)] = 4
    """Number of layers."""

    heads: Annotated[int, Ge(1)] = 4
    """Attention heads; must divide `width`."""

    vocabulary: Annotated[int, Interval(ge=2, le=10_000_000)] = 512
    """Tokens that a BERT knows; 0 is padding. A GPT-2 knows those that it predicts."""

    patch: Annotated[int, Ge(1)] = 4
    """Side of a ViT's square patch in pixels; must divide the sides of the image."""

    def __post_init__(self) -> None:
        if self.folder is None and self.width % self.heads:
            raise ValueError(f"heads = {self.heads} does not divide width = {self.width}")

    @property
    def class_token(self) -> bool:
        """Whether the first token stands for the sample: BERT's tokenizer and ViT put one there."""
        return self.family != "gpt2"

    def __repr__(self) -> str:
        """Description of its function: the content of the configuration, and the version of the library."""
        fields = self.family, self.width, self.depth, self.heads, self.vocabulary, self.patch
        if self.folder is None:
            return f"Transformer{fields}"
        content = (model_folder(self.folder) / "config.json").read_bytes()
        return f"Transformer({self.folder!r}, {sha256(content).hexdigest()}, {library().__version__})"

    def blocks(self, input_shape: tuple[int, ...], classes: int) -> list[nn.Module]:
        """As `Architecture.blocks`. Raises ValueError where the library is missing or the data do not fit."""
        if (len(input_shape) == 1) == (self.family == "vit"):
            needs = "images" if self.family == "vit" else "rows of tokens"
            raise ValueError(f"a {self.family} needs {needs}, but one sample has the shape {input_shape}")
        config = self._config(input_shape, classes)
        return _cut(self.family, library().AutoModel.from_config(config, attn_implementation="eager"), classes)

    def weights(self, input_shape: tuple[int, ...], classes: int) -> dict[str, Tensor]:
        """The weights in the folder by their names in the whole model: all but the classifier's.

        Only safetensors files are read: pickled weights can run code when they are loaded.

        Raises:
            ValueError: the folder has no safetensors files, or they are damaged.
        """
        if self.folder is None:
            return {}
        folder, damaged = model_folder(self.folder), import_module("safetensors").SafetensorError
        try:
            model = library().AutoModel.from_pretrained(
                folder, local_files_only=True, use_safetensors=True, dtype=torch.float32
            )
        except (OSError, damaged) as error:
            what = str(error).partition("\n")[0]
            raise ValueError(f"{folder} has no file of weights in safetensors that can be read ({what})") from error
        blocks = enumerate(_cut(self.family, model, classes))
        named = {f"{i}.{name}": value.detach() for i, block in blocks for name, value in block.named_parameters()}
        return {name: value for name, value in named.items() if ".classify." not in name}

    def _config(self, input_shape: tuple[int, ...], classes: int) -> Any:
        if self.folder is not None:
            return library().AutoConfig.from_pretrained(model_folder(self.folder), local_files_only=True)
        sides: dict[str, Any] = {
            "hidden_size": self.width,
            "num_hidden_layers": self.depth,
            "num_attention_heads": self.heads,
        }
        if self.family == "gpt2":
            sides |= {"vocab_size": classes, "n_positions": input_shape[0], "bos_token_id": None, "eos_token_id": None}
        elif self.family == "bert":
            sides |= {"vocab_size": self.vocabulary, "max_position_embeddings": input_shape[0]}
        else:
            if len(set(input_shape[1:])) != 1 or input_shape[1] % self.patch:
                raise ValueError(f"patch = {self.patch} does not divide the side of a square image {input_shape}")
            sides |= {"image_size": input_shape[1], "num_channels": input_shape[0], "patch_size": self.patch}
        if self.family != "gpt2":
            sides["intermediate_size"] = 4 * self.width
        return library().AutoConfig.for_model(self.family, **sides)


@cache
def library() -> Any:
    """The transformers library, in offline mode. Raises ValueError where it is not installed."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    try:
        found = import_module("transformers")
    except ImportError as problem:
        raise ValueError("models of transformers need that package: pip install 'netsim-learning[hf]'") from problem
    found.utils.logging.disable_progress_bar()
    return found


def _cut(family: str, model: Any, classes: int) -> list[nn.Module]:
    model.eval()
    width = model.config.hidden_size
    if family == "bert":
        first: nn.Module = BertEmbedding(model.embeddings, model.config.pad_token_id)
        layers: list[nn.Module] = [BertBlock(_projected(layer, family)) for layer in model.encoder.layer]
        last: nn.Module = MeanHead(width, classes)
    elif family == "vit":
        first = model.embeddings
        layers = [VitBlock(_projected(layer, family)) for layer in model.layers]
        last = FirstHead(model.layernorm, width, classes)
    else:
        first = GptEmbedding(model.wte, model.wpe)
        layers = [GptBlock(_projected(layer, family)) for layer in model.h]
        last = NextHead(model.ln_f, width, classes)
    return [first, *layers, last]


def _projected(layer: nn.Module, family: str) -> nn.Module:
    """A layer whose linear maps are `Projection`s with roles."""
    for name, roles in ROLES[family].items():
        old = layer.get_submodule(name)
        weight, bias = old.get_parameter("weight"), old.get_parameter("bias")
        matrix = weight if isinstance(old, nn.Linear) else weight.T.contiguous()  # GPT-2 keeps (inputs, outputs)
        with torch.device("meta"):
            new = Projection(matrix.shape[1], matrix.shape[0], *roles)
        new.weight, new.bias = nn.Parameter(matrix.detach()), nn.Parameter(bias.detach())
        parent, _, field = name.rpartition(".")
        setattr(layer.get_submodule(parent), field, new)
    return layer.eval()


class BertEmbedding(nn.Module):
    """Normalised embeddings of tokens (b, n) and positions; zero for padding, by which later blocks identify it."""

    def __init__(self, embeddings: Any, padding: int) -> None:
        super().__init__()
        self.token, self.place, self.kind = (
            embeddings.word_embeddings,
            embeddings.position_embeddings,
            embeddings.token_type_embeddings,
        )
        self.norm, self.padding = embeddings.LayerNorm, padding

    def forward(self, x: Tensor) -> Tensor:
        embedded = self.token(x) + self.kind.weight[0] + self.place.weight[: x.shape[1]]
        z: Tensor = self.norm(embedded)
        return z * (x != self.padding)[..., None]


def real(z: Tensor) -> Tensor:
    """Which tokens (b, n) are no padding: those with a norm not far below the first one's; codecs may change zeros."""
    size = z.square().mean(-1)
    return size > 0.1 * size[:, :1]


class Attentive(nn.Module):
    """A layer of the library that can also return the attention of its first token."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def scored(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Its output, and the attention (b, n) that the first token pays to every token, mean over heads."""
        seen: list[Tensor] = []

        def see(_: nn.Module, __: Any, result: tuple[Tensor, Tensor]) -> None:
            seen.append(result[1])

        looking = self.layer.get_submodule("attention").register_forward_hook(see)
        try:
            out: Tensor = self(z)
        finally:
            looking.remove()
        return out, seen[0][:, :, 0].mean(1)


class VitBlock(Attentive):
    """A layer in which every token attends to every other."""

    def forward(self, z: Tensor) -> Tensor:
        out: Tensor = self.layer(z)
        return out


class BertBlock(Attentive):
    """A layer in which no token attends to padding; padding stays zero."""

    def forward(self, z: Tensor) -> Tensor:
        tokens = real(z)
        mask = torch.where(tokens, 0.0, torch.finfo(z.dtype).min).to(z.dtype)
        out: Tensor = self.layer(z, mask[:, None, None, :])
        return out * tokens[..., None]


class MeanHead(nn.Module):
    """Mean of the tokens, as sentence embeddings are made, then a linear classifier."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.classify = nn.Linear(width, classes)

    def forward(self, z: Tensor) -> Tensor:
        tokens = real(z)[..., None]
        logits: Tensor = self.classify((z * tokens).sum(1) / tokens.sum(1))
        return logits


class FirstHead(nn.Module):
    """The normalised class token, then a linear classifier."""

    def __init__(self, norm: nn.Module, width: int, classes: int) -> None:
        super().__init__()
        self.norm = norm
        self.classify = nn.Linear(width, classes)

    def forward(self, z: Tensor) -> Tensor:
        logits: Tensor = self.classify(self.norm(z)[:, 0])
        return logits


class GptEmbedding(nn.Module):
    """Embeddings of tokens and positions, added."""

    def __init__(self, token: nn.Embedding, place: nn.Embedding) -> None:
        super().__init__()
        self.token, self.place = token, place

    def forward(self, x: Tensor) -> Tensor:
        z: Tensor = self.token(x) + self.place.weight[: x.shape[1]]
        return z


class GptBlock(nn.Module):
    """A layer in which no token attends to later ones."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, z: Tensor) -> Tensor:
        later = torch.ones(z.shape[1], z.shape[1], dtype=torch.bool, device=z.device).triu(1)
        mask = torch.where(later, torch.finfo(z.dtype).min, 0.0).to(z.dtype)
        out: Tensor = self.layer(z, attention_mask=mask[None, None])
        return out


class NextHead(nn.Module):
    """Layer normalisation and a linear map of each token to the logits of the next one; not tied to the embedding."""

    def __init__(self, norm: nn.Module, width: int, classes: int) -> None:
        super().__init__()
        self.norm = norm
        self.classify = nn.Linear(width, classes, bias=False)

    def forward(self, z: Tensor) -> Tensor:
        logits: Tensor = self.classify(self.norm(z))
        return logits
