"""EPSL: parallel split learning in which users share a part of the server's backward pass."""

from learning.schemes.epsl.scheme import EPSL

__all__ = ["EPSL"]
