"""Published large models whose costs can be charged: their shapes."""

from __future__ import annotations

from typing import Any, Literal

Large = Literal[
    "vit_s16",
    "vit_s32",
    "vit_b16",
    "vit_b32",
    "vit_l16",
    "vit_l32",
    "gpt2",
    "gpt2_medium",
    "gpt2_large",
    "bert_base",
    "switch_base_64",
    "deepseek_moe_16b",
    "qwen_moe_a2.7b",
    "mixtral_8x7b",
    "olmoe_1b_7b",
]

VIT_S = {"family": "vit", "width": 384, "depth": 12, "heads": 6, "expansion": 4}
VIT_B = {"family": "vit", "width": 768, "depth": 12, "heads": 12, "expansion": 4}
VIT_L = {"family": "vit", "width": 1024, "depth": 24, "heads": 16, "expansion": 4}
GPT2 = {"family": "gpt", "expansion": 4, "vocabulary": 50257}
SIZES: dict[Large, dict[str, Any]] = {
    "vit_s16": {**VIT_S, "patch": 16},
    "vit_s32": {**VIT_S, "patch": 32},
    "vit_b16": {**VIT_B, "patch": 16},
    "vit_b32": {**VIT_B, "patch": 32},
    "vit_l16": {**VIT_L, "patch": 16},
    "vit_l32": {**VIT_L, "patch": 32},
    "gpt2": {**GPT2, "width": 768, "depth": 12, "heads": 12},
    "gpt2_medium": {**GPT2, "width": 1024, "depth": 24, "heads": 16},
    "gpt2_large": {**GPT2, "width": 1280, "depth": 36, "heads": 20},
    "bert_base": {"family": "bert", "width": 768, "depth": 12, "heads": 12, "vocabulary": 30522},
    "switch_base_64": {
        "family": "gpt",
        **{"width": 768, "depth": 24, "heads": 12, "expansion": 4, "vocabulary": 32128},
        "experts": {"count": 64, "top_k": 1, "expansion": 4.0, "gated": False, "shared": 0},
    },
    "deepseek_moe_16b": {
        "family": "gpt",
        **{"width": 2048, "depth": 28, "heads": 16, "expansion": 8, "vocabulary": 102400},
        "experts": {"count": 64, "top_k": 6, "expansion": 1408 / 2048, "gated": True, "shared": 2},
    },
    "qwen_moe_a2.7b": {
        "family": "gpt",
        **{"width": 2048, "depth": 24, "heads": 16, "expansion": 4, "vocabulary": 151936},
        "experts": {"count": 60, "top_k": 4, "expansion": 1408 / 2048, "gated": True, "shared": 4},
    },
    "mixtral_8x7b": {
        "family": "gpt",
        **{"width": 4096, "depth": 32, "heads": 32, "expansion": 4, "vocabulary": 32000},
        "experts": {"count": 8, "top_k": 2, "expansion": 14336 / 4096, "gated": True, "shared": 0},
    },
    "olmoe_1b_7b": {
        "family": "gpt",
        **{"width": 2048, "depth": 16, "heads": 16, "expansion": 4, "vocabulary": 50304},
        "experts": {"count": 64, "top_k": 8, "expansion": 1024 / 2048, "gated": True, "shared": 0},
    },
}
"""Shape of each model: its family, the fields of its architecture, and the number of its tokens (`vocabulary`).

ViT: Dosovitskiy et al., arXiv 2010.11929, table 1; S: Touvron et al., arXiv 2012.12877, table 1. GPT-2: Radford et
al., 2019, table 2. BERT: Devlin et al., arXiv 1810.04805, section 3.

Mixtures of experts, by the `config.json` published with their weights: google/switch-base-64 (Fedus et al., JMLR 2022),
deepseek-ai/deepseek-moe-16b-base (Dai et al., arXiv 2401.06066), Qwen/Qwen1.5-MoE-A2.7B, mistralai/Mixtral-8x7B (Jiang
et al., arXiv 2401.04088), and allenai/OLMoE-1B-7B-0924 (Muennighoff et al., arXiv 2409.02060). Which layers have
experts is said by the small model. Deviations: Switch's 12 layers of encoder and decoder each are 24 of a decoder,
without cross-attention. A dense layer of DeepSeekMoE has two matrices with 8 x 2048 columns in place of three with
10944, which are as many parameters. The shared experts of Qwen, one network of width 5632, have no gate. Mixtral has as
many keys and values as queries; it was published with a quarter.
"""
