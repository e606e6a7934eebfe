"""Adapters on a model with towers: what trains of the towers, and of the fusion network, on frozen weights."""

from __future__ import annotations

from dataclasses import replace

from learning.adapters.adapted import Tree, adapt, weights
from learning.adapters.lora import Lora
from learning.models.segment import Segment
from learning.models.towers import Multimodal, Towers


def adapt_multimodal(lora: Lora, model: Multimodal, backbone: Tree) -> Multimodal:
    """Put adapters on a model with towers, and bind its parts to their frozen weights.

    Beside the adapters, the last block of each tower is trained, which maps to its features (unless it is the tower's
    only one), and the first block of the fusion network, which receives them; the head if the adapters say so.

    Args:
        lora: the adapters; `blocks: server` puts them on the fusion network only.
        model: the plain model.
        backbone: all its parameters.

    Raises:
        ValueError: a target names no weight of the fusion network.
    """
    towers = []
    for tower in model.towers.towers:
        sides = weights(tower, *lora.targets) if lora.blocks == "all" else {}
        ranks = {weight: min(lora.rank, *sides[weight]) for weight in sides}
        adapted = adapt(tower, ranks, lora.alpha, tuned=tower.blocks > 1, law=lora.initial, scaling=lora.scaling)
        towers.append(adapted.bind(adapted.split(backbone)[0]))
    fusion: Segment = model.fusion
    opened = replace(lora.on(fusion, 0), opened=(0,))
    return Multimodal(Towers(tuple(towers)), opened.bind(opened.split(backbone)[0]))
