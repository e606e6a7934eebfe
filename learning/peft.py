"""Adapters in the format of Hugging Face's library PEFT, for models of its library transformers."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any, TypeGuard

import torch
from safetensors.torch import save
from torch import Tensor

from learning.adapters import Bound
from learning.models import Transformer
from learning.models.projection import Projection

LAYERS = {"bert": "encoder.layer", "vit": "layers", "gpt2": "h"}
"""Names of the list of layers in a model of the library (`AutoModel`)."""


def exportable(model: object) -> TypeGuard[Bound]:
    """Whether a model has adapters on layers of the library."""
    return isinstance(model, Bound) and isinstance(model.adapted.segment.architecture, Transformer)


def adapter_files(model: Bound, trained: dict[str, Tensor]) -> list[tuple[str, bytes]]:
    """Names and contents of the files of a folder from which `PeftModel.from_pretrained` reads a model's adapters.

    They fit the library's `AutoModel` with the frozen weights; a trained head is not among them. Several adapters on
    one matrix, such as those of queries and values where these are fused, are one of the sum of their ranks. The scale
    is in the matrices B, so that `lora_alpha` equals the rank.

    Args:
        model: the model, see `exportable`.
        trained: its trained parameters.
    """
    architecture, modules = model.adapted.segment.architecture, dict(model.adapted.module().named_modules())
    assert isinstance(architecture, Transformer)
    factors: dict[str, list[tuple[Tensor, Tensor]]] = defaultdict(list)
    for weight, rank in model.adapted.ranks:
        name, _, role = weight.rpartition(".")
        projection = modules[name]
        assert isinstance(projection, Projection)
        up = projection.placed(role, trained[f"{weight}.up"] * model.adapted.scale(rank))
        factors[library_name(architecture.family, name)].append((trained[f"{weight}.down"], up))
    tensors = {}
    for name, pairs in factors.items():
        down, up = torch.cat([pair[0] for pair in pairs]), torch.cat([pair[1] for pair in pairs], dim=1)
        tensors[f"base_model.model.{name}.lora_A.weight"] = down.contiguous().clone()
        tensors[f"base_model.model.{name}.lora_B.weight"] = up.contiguous().clone()
    ranks = {name: sum(len(down) for down, _ in pairs) for name, pairs in factors.items()}
    config = json.dumps(_config(architecture, ranks), indent=2) + "\n"
    return [
        ("adapter_model.safetensors", save(tensors, {"format": "pt"})),
        ("adapter_config.json", config.encode()),
    ]


def library_name(family: str, name: str) -> str:
    """Name in the library's model of a linear map that is called `name` in ours, such as "1.layer.attn.c_attn"."""
    block, _, path = name.partition(".layer.")
    return f"{LAYERS[family]}.{int(block) - 1}.{path}"


def _config(architecture: Transformer, ranks: dict[str, int]) -> dict[str, Any]:
    """Content of adapter_config.json."""
    usual = max(ranks.values(), default=1)
    other = {name: rank for name, rank in ranks.items() if rank != usual}
    return {
        "peft_type": "LORA",
        "base_model_name_or_path": architecture.folder or "",
        "target_modules": list(ranks),
        "r": usual,
        "lora_alpha": usual,
        "rank_pattern": other,
        "alpha_pattern": other,
        "fan_in_fan_out": architecture.family == "gpt2",
        "lora_dropout": 0.0,
        "bias": "none",
        "inference_mode": True,
    }
