"""Retransmissions with chase combining: copies of a block add up, so k copies have k times the energy of one.

A block that would be decoded from some copies would be decoded from more, so the probability that k copies do not
suffice is the error rate at their combined signal-to-noise ratio, `snrs[:k].sum(axis=0)`.
"""

from __future__ import annotations

from netsim.streams import Floats


def outcome(failures: Floats) -> tuple[Floats, Floats]:
    """Mean number of transmissions of a block, and the probability that it is lost after the last of them.

    `failures` has the shape (most transmissions, ...): row k is the probability that the first k + 1 do not suffice.
    """
    return 1 + failures[:-1].sum(axis=0), failures[-1]
