"""Personalised split federated learning without averages: own cuts, own outer blocks, alignment to the server's."""

from learning.schemes.flexp_sfl.scheme import FlexPSFL

__all__ = ["FlexPSFL"]
