"""Positions on the ground."""

Point = tuple[float, float]
"""A position: x and y in metres."""
