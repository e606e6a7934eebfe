"""Low-rank adapters on a frozen backbone: which weights have them, what trains, and how several users' are combined."""

from learning.adapters.adaptable import AdaptableModel
from learning.adapters.adapted import Adapted, Bound, Model, Part, adapt, require_adapters, weights
from learning.adapters.lora import Lora
from learning.adapters.multimodal import adapt_multimodal

__all__ = [
    "AdaptableModel",
    "Adapted",
    "Bound",
    "Lora",
    "Model",
    "Part",
    "adapt",
    "adapt_multimodal",
    "require_adapters",
    "weights",
]
