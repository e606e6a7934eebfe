"""GAPSL: parallel split learning in which the server aligns the users' gradients."""

from learning.schemes.gapsl.scheme import GAPSL

__all__ = ["GAPSL"]
