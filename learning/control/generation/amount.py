"""How many samples a server can generate, and train on, before the stragglers of a round are done."""

from __future__ import annotations

from math import floor, inf
from typing import NamedTuple


class ServerWork(NamedTuple):
    """Cost of generating samples and of training on the pool to which they are added."""

    generation_flops: float
    """FLOPs of one generated sample (F_g)."""
    training_flops: float
    """FLOPs of training on one sample, in all passes (3 E_a F)."""
    flops_per_s: float
    """Speed of the server."""

    def seconds(self, generated: int, pool: int) -> float:
        """Time of generating samples, and of training on them and on those that are in the pool before."""
        return (self.generation_flops * generated + self.training_flops * (pool + generated)) / self.flops_per_s

    def hidden_amount(self, available_s: float, pool: int, max_amount: int) -> int:
        """The largest number of samples whose work ends within `available_s`, from 0 to `max_amount`, in closed form.

        M = floor((T - 3 E_a |D| F / F_s) / ((F_g + 3 E_a F) / F_s)), of a pool of |D| samples.
        """
        left_flops = available_s * self.flops_per_s - self.training_flops * pool
        each = self.generation_flops + self.training_flops
        fitting = left_flops / each if each else inf
        return max_amount if fitting >= max_amount else max(floor(fitting), 0)
