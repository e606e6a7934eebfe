"""Recording of controllers' decisions in the table `decisions`."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite

from learning.journal import Journal
from learning.parties import User


def record(journal: Journal, user: User | None, decisions: Mapping[str, float]) -> None:
    """Write decisions into the table `decisions`.

    Args:
        journal: the journal of the run.
        user: the user that they concern; None for the whole system.
        decisions: numbers by name; those that are not finite mean no prediction or no limit, and are not written.
    """
    for name, value in decisions.items():
        if isfinite(value):
            journal.decision(None if user is None else user.number, name, value)
