"""Federated averaging with samples that the server generates: the scheme, the server's part of it and operations."""

from learning.schemes.genfl.scheme import GenFL

__all__ = ["GenFL"]
