"""Federated split learning with client pruning, gradient quantisation and dropout at the cut."""

from learning.schemes.fedsl_pq.scheme import FedSLPQ

__all__ = ["FedSLPQ"]
