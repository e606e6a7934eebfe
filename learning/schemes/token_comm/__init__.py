"""Token communication: users send tokens of their modalities to a foundation model at the base station."""

from learning.schemes.token_comm.scheme import TokenComm

__all__ = ["TokenComm"]
