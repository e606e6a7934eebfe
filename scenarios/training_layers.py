"""Whether a scenario can train a model with layers that compute something else in evaluation, such as dropout."""

from __future__ import annotations

from learning.description import LearningDescription
from learning.models import Multimodal, Segment
from learning.schemes import SCHEMES


def check_training_layers(learning: LearningDescription, model: Segment | Multimodal) -> None:
    """Raises ValueError where such layers are in a model, and the scheme or something else cannot train them."""
    if isinstance(model, Multimodal):
        chains = [part for part in model.parts if isinstance(part, Segment)]
        layers = [name for part in chains for name in part.training_layers]
    else:
        layers = list(model.training_layers)
    if not layers:
        return
    if not learning.scheme.training_layers:
        schemes = ", ".join(name for name, scheme in SCHEMES.items() if scheme.training_layers)
        raise ValueError(f"layer {layers[0]} is dropout, with which the scheme does not train; {schemes} do")
    for name in ("towers", "adapter", "pretraining"):
        if getattr(learning, name):
            raise ValueError(
                f"layer {layers[0]} is dropout, which cannot be together with learning.{name}; leave one out"
            )
