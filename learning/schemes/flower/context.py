"""What an app's code can ask of the simulation through its context: the samples of its user."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
from torch import Tensor

from learning.data import Rows, rows
from learning.executor.flops import uncharged
from learning.parties import User

USER, ROUND = "netsim_user", "netsim_round"
"""Attributes that the simulation adds to a client's context."""


def samples(context: Any, split: Literal["train", "test"] = "train") -> tuple[Tensor, Tensor]:
    """Samples (count, ...) and labels (count, ...) of the user whose code runs, under the scenario's partition.

    Args:
        context: The context that Flower gives to the client.
        split: `train`, the user's own samples; `test`, its own part of the test set where users have one
            (`learning.evaluate_users`), else all of it.

    Raises:
        ValueError: the context is not that of a client in a simulation.
    """
    user = _user(context)
    if split == "train":
        return _values(*rows(user.batches.dataset, "train", user.batches.indices))
    dataset = user.batches.dataset
    own = np.arange(len(dataset.test.y)) if user.held_out is None else user.held_out.indices
    return _values(*rows(dataset, "test", own))


def batches(context: Any, epochs: int = 1) -> Iterator[tuple[Tensor, Tensor]]:
    """Mini-batches of a local round: those that the user would train on in `fedavg` with as many `local_epochs`.

    Args:
        context: The context that Flower gives to the client.
        epochs: Passes over the user's samples.

    Yields:
        Samples (size, ...) and labels (size, ...), in the order of the user's shuffled epochs.

    Raises:
        ValueError: the context is not that of a client in a simulation.
    """
    user, steps = _user(context), epochs * _user(context).batches.per_epoch
    first = getattr(context, ROUND) * steps
    for position in range(first, first + steps):
        yield _values(*user.batch(position))


def _user(context: Any) -> User:
    user = getattr(context, USER, None)
    if not isinstance(user, User):
        raise ValueError("the context is not that of a client in a netsim scenario, which alone has samples of a user")
    return user


def _values(x: Any, y: Rows) -> tuple[Tensor, Tensor]:
    assert isinstance(x, Rows)  # `one_chain`: samples are one array
    with uncharged():  # they are on the device already, and no other user's are
        return x.tensor(), y.tensor()
