"""Adapters written for PEFT: names are those of the library's model, products those of our adapters."""

import json
import re
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from named_streams import NamedStreams
from safetensors.torch import load_file

from learning.adapters import Lora
from learning.models import Transformer, Vit
from learning.models.projection import Projection
from learning.models.segment import chain
from learning.models.transformer import library
from learning.peft import adapter_files, exportable
from learning.trained import TrainedModel, model_files

SIZES: dict[str, Any] = {"width": 8, "depth": 2, "heads": 2}
FAMILIES = {
    "bert": (Transformer("bert", **SIZES, vocabulary=20), (6,), 3),
    "vit": (Transformer("vit", **SIZES), (1, 8, 8), 3),
    "gpt2": (Transformer("gpt2", **SIZES), (6,), 20),
}


def write(files: Iterable[tuple[str, bytes]], folder: Path) -> None:
    for name, content in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def tuned(family: str, lora: Lora, name: str = "model") -> TrainedModel:
    """A model with adapters that are no zero changes."""
    segment = chain(*FAMILIES[family])
    adapted, backbone = lora.on(segment), segment.initial(NamedStreams(0))
    frozen, head = adapted.split(backbone)
    generator = torch.Generator().manual_seed(1)
    adapters = {name: torch.randn(value.shape, generator=generator) for name, value in adapted.parameters().items()}
    return TrainedModel(adapted.bind(frozen), adapters | head, name=name)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("targets", [("q", "v"), ("k", "proj", "fc1", "fc2")])
def test_a_folder_of_peft_has_the_products_of_the_adapters(family: str, targets: Any, tmp_path: Path) -> None:
    model = tuned(family, Lora(3, 5.0, targets))
    write(model_files([model]), tmp_path)
    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    factors = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    assert len(factors) == 2 * len(config["target_modules"])
    whole: Any = model.whole
    architecture, shape, classes = FAMILIES[family]
    plain = library().AutoModel.from_config(architecture._config(shape, classes))
    ours = dict(whole.adapted.module().named_modules())
    for name in config["target_modules"]:
        rank = config["rank_pattern"].get(name, config["r"])
        assert config["alpha_pattern"].get(name, config["lora_alpha"]) == rank
        down, up = (factors[f"base_model.model.{name}.lora_{side}.weight"] for side in "AB")
        assert down.shape[0] == up.shape[1] == rank
        own = next(key for key in ours if is_same(key, name))
        projection = ours[own]
        assert isinstance(projection, Projection)
        expected = torch.zeros(projection.out_features, projection.in_features)
        for weight, r in whole.adapted.ranks:
            if weight.rpartition(".")[0] == own:
                product = model.trained[f"{weight}.up"] @ model.trained[f"{weight}.down"] * (5.0 / r)
                expected += projection.placed(weight.rpartition(".")[2], product)
        torch.testing.assert_close(up @ down, expected)
        shape_of = tuple(plain.get_submodule(name).weight.shape)
        assert (up @ down).shape == (shape_of[::-1] if family == "gpt2" else shape_of)
    assert config["fan_in_fan_out"] == (family == "gpt2")


def is_same(own: str, name: str) -> bool:
    """Whether a name of ours, "1.layer.attn.c_attn", and one of the library's, "h.0.attn.c_attn", are of one matrix."""
    layer, path = re.fullmatch(r"\D+(\d+)\.(.+)", name).groups()  # type: ignore[union-attr]
    return own == f"{int(layer) + 1}.layer.{path}"


def test_only_layers_of_the_library_are_written() -> None:
    segment = chain(Vit(4, 8, 1, 2), (1, 8, 8), 3)
    adapted = Lora(2).on(segment)
    frozen, head = adapted.split(segment.initial(NamedStreams(0)))
    assert not exportable(adapted.bind(frozen))
    plain = TrainedModel(adapted.bind(frozen), adapted.adapters(NamedStreams(0)) | head)
    assert [name for name, _ in model_files([plain])] == ["model.safetensors"]
    users = [tuned("vit", Lora(2), f"user{number}") for number in range(2)]
    assert "adapter_user1/adapter_model.safetensors" in dict(model_files(users))


@pytest.mark.parametrize("family", FAMILIES)
def test_peft_itself_reads_the_adapters(family: str, tmp_path: Path) -> None:
    """Its model on the frozen weights gives what our blocks below the head give. Skipped where it is not installed."""
    peft: Any = pytest.importorskip("peft")
    warnings.simplefilter("ignore", FutureWarning)  # between versions of these libraries
    model = tuned(family, Lora(3, 5.0, ("q", "v"), head=False))
    whole: Any = model.whole
    write(adapter_files(whole, model.trained), tmp_path)
    architecture, shape, classes = FAMILIES[family]
    base = library().AutoModel.from_config(architecture._config(shape, classes), attn_implementation="eager").eval()
    state = base.state_dict()
    for name, value in whole.frozen.items():
        block, _, path = name.partition(".layer.")
        if path:
            key = f"{ {'bert': 'encoder.layer', 'vit': 'layers', 'gpt2': 'h'}[family] }.{int(block) - 1}.{path}"
            state[key].copy_(value.T if family == "gpt2" and value.ndim == 2 else value)
    z = torch.randn(2, 6, 8, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        adapted = peft.PeftModel.from_pretrained(base, str(tmp_path)).eval()
        inner = adapted.base_model.model
        layers = inner.encoder.layer if family == "bert" else inner.layers if family == "vit" else inner.h
        theirs = ours = z
        for number, layer in enumerate(layers):
            theirs = layer(theirs)
            theirs = theirs[0] if isinstance(theirs, tuple) else theirs
            ours = model.module()[number + 1].layer(ours)
            ours = ours[0] if isinstance(ours, tuple) else ours
    torch.testing.assert_close(theirs, ours)
