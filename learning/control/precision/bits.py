"""The optimal bits of each user, with power and bandwidth fixed.

Energy and time grow in proportion to the bits, and the error falls convexly. A latency is an upper bound on each user's
bits; within the bounds, users step up in descending order of the ratio of the fall of the error to the rise of the
energy.
"""

from __future__ import annotations

import numpy as np

from learning.control.precision.problem import Bits, PrecisionPlan, PrecisionProblem
from learning.control.rate import Floats, rate_bps

POLISHED = 5
"""Number of candidates, the best of all latencies, that a local search improves further."""


def with_best_bits(problem: PrecisionProblem, plan: PrecisionPlan) -> PrecisionPlan:
    """The plan with the best bits over all latencies.

    The search ends where no step up of one user, together with steps down of others, lowers the cost.
    """
    table = _Table(problem, plan)
    rows = np.concatenate([table.steps_of(plan.bits)[None], table.refined()])
    best = rows[np.argsort(table.costs(rows), kind="stable")[:POLISHED]]
    polished = np.array([table.polished(steps) for steps in best])
    steps = polished[int(np.argmin(table.costs(polished)))]
    return plan._replace(bits=table.choices[steps])


class _Table:
    """Time, energy and error of each choice for each user, (choices, users); a candidate is a row of their indices."""

    def __init__(self, problem: PrecisionProblem, plan: PrecisionPlan) -> None:
        self.choices = np.array(problem.choices)
        rate = rate_bps(plan.bandwidth_hz, plan.power_w, problem.gain_hz_per_w)
        seconds = (problem.elements * self.choices[:, None] + problem.overhead_bits) / rate
        self.ends_s, self.joules = problem.fixed_s + seconds, plan.power_w * seconds
        self.errors = problem.error_weight / (2.0 ** self.choices[:, None] - 1) ** 2
        self.budget, self.prices = problem.error_budget, problem.prices
        self._users = np.arange(problem.users)

    def steps_of(self, bits: Bits) -> Bits:
        return np.asarray(np.searchsorted(self.choices, bits))

    def costs(self, rows: Bits) -> Floats:
        """Cost of each row; infinite beyond the error budget."""
        second, joule = self.prices
        cost = second * self.ends_s[rows, self._users].max(axis=1) + joule * self.joules[rows, self._users].sum(axis=1)
        error = self.errors[rows, self._users].sum(axis=1)
        return np.where(error <= self.budget * (1 + 1e-12), cost, np.inf)

    def refined(self) -> Bits:
        """(candidates, users): for each latency at which the error budget can be kept, the steps of best ratio."""
        fall, rise = -np.diff(self.errors, axis=0), np.diff(self.joules, axis=0)  # (steps, users)
        order = np.argsort(-fall / np.maximum(rise, 1e-300), axis=None, kind="stable")
        step, user = np.unravel_index(order, fall.shape)
        missing = self.errors[0].sum() - self.budget
        rows = [self.steps_of(self.choices[:1].repeat(len(self._users)))] if missing <= 0 else []
        for latency_s in np.unique(self.ends_s[self.ends_s >= self.ends_s[0].max()]):
            allowed = step < ((self.ends_s <= latency_s * (1 + 1e-12)).sum(axis=0) - 1)[user]
            reached = np.cumsum(np.where(allowed, fall.ravel()[order], 0.0)) >= missing * (1 - 1e-12)
            if reached.any():
                taken = allowed & (np.arange(len(order)) <= int(np.argmax(reached)))
                rows.append(np.bincount(user[taken], minlength=len(self._users)))
        return np.array(rows, dtype=np.int64).reshape(-1, len(self._users))

    def polished(self, steps: Bits) -> Bits:
        no_user = np.array([-1])
        steps = self._coarsened(steps[None], no_user)[0]
        while True:
            finer = np.flatnonzero(steps < len(self.choices) - 1)
            raised = self._coarsened(steps + np.eye(len(steps), dtype=np.int64)[finer], finer)
            rows = np.concatenate([steps[None], raised])
            costs = self.costs(rows)
            best = int(np.argmin(costs))
            if costs[best] >= costs[0] * (1 - 1e-12):
                return steps
            steps = rows[best]

    def _coarsened(self, rows: Bits, spared: Bits) -> Bits:
        """Each row after steps down, the largest saving first, while the error budget allows one.

        `spared`, (rows,), is the user of each row that takes none.
        """
        rows, going = rows.copy(), np.arange(len(rows))
        while len(going):
            costs = self._one_step_down(rows[going])
            costs[self._users == spared[going][:, None]] = np.inf
            best = costs.argmin(axis=1)
            better = costs.min(axis=1) < self.costs(rows[going]) * (1 - 1e-12)
            going, best = going[better], best[better]
            rows[going, best] -= 1
        return rows

    def _one_step_down(self, rows: Bits) -> Floats:
        """(rows, users): cost of each row if one user went a step down; infinite where it cannot."""
        second, joule = self.prices
        now, then = (rows, self._users), (np.maximum(rows - 1, 0), self._users)
        ends, (runner_up, last) = self.ends_s[now], self._two_last(self.ends_s[now]).T
        others = np.where(ends == last[:, None], runner_up[:, None], last[:, None])
        latency_s = np.maximum(others, self.ends_s[then])
        joules, errors = (
            table[now].sum(axis=1, keepdims=True) - table[now] + table[then] for table in (self.joules, self.errors)
        )
        possible = (rows > 0) & (errors <= self.budget * (1 + 1e-12))
        return np.where(possible, second * latency_s + joule * joules, np.inf)

    def _two_last(self, ends: Floats) -> Floats:
        """(rows, 2): the second largest and the largest end of each row; the former is zero for a single user."""
        padded = np.concatenate([ends, np.zeros((len(ends), 1))], axis=1)
        return np.partition(padded, -2, axis=1)[:, -2:]
