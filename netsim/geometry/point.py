"""A place on the ground."""

Point = tuple[float, float]
"""x and y in metres."""
