"""Fusion of modalities by their uncertainty, with recovery of missing ones."""

from learning.models.uncertainty.architecture import UncertaintyFusion

__all__ = ["UncertaintyFusion"]
