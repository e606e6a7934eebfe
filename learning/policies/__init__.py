"""Straggler policies: when the server goes on, which users are dropped, and how late work is merged."""

from learning.policies.asynchronous import Asynchronous, Buffered
from learning.policies.policy import Policy, check
from learning.policies.rounds import Deadline, FirstK, OverSelection, WaitForAll
from learning.policies.staleness import STALENESS_WEIGHTS, StalenessWeight

IN_ROUNDS: dict[str, type] = {
    "wait_for_all": WaitForAll,
    "deadline": Deadline,
    "first_k": FirstK,
    "over_selection": OverSelection,
}
POLICIES: dict[str, type] = {**IN_ROUNDS, "asynchronous": Asynchronous, "buffered": Buffered}

__all__ = [
    "IN_ROUNDS",
    "POLICIES",
    "STALENESS_WEIGHTS",
    "Asynchronous",
    "Buffered",
    "Deadline",
    "FirstK",
    "OverSelection",
    "Policy",
    "StalenessWeight",
    "WaitForAll",
    "check",
]
