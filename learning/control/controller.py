"""What all controllers share: how their decisions are written into the table `decisions`."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite

from learning.parties import User
from learning.ports import Journal


def record(journal: Journal, user: User | None, decisions: Mapping[str, float]) -> None:
    """Write named decisions about one user, or about the whole system (None), into the table `decisions`.

    Numbers that are not finite stand for no prediction or no limit, and are left out.
    """
    for name, value in decisions.items():
        if isfinite(value):
            journal.decision(None if user is None else user.number, name, value)
