"""Which samples a server generates, how many, and what weight the model trained on them gets."""

from learning.control.generation.labels import SharedLabels
from learning.control.generation.weights import (
    WEIGHT_POLICIES,
    EmdPerClientWeight,
    EmdWeight,
    FixedWeight,
    SamplesWeight,
    ValidatedWeight,
    WeightPolicy,
)

__all__ = [
    "WEIGHT_POLICIES",
    "EmdPerClientWeight",
    "EmdWeight",
    "FixedWeight",
    "SamplesWeight",
    "SharedLabels",
    "ValidatedWeight",
    "WeightPolicy",
]
