"""Control of the ranks of adapters and of each user's cut: importance of weights, ranks under budgets, cuts.

HSplitLoRA: Lin, Zhang, Chen, Fang, Chen, Vepakomma, Ni, Luo, Gao, arXiv 2505.02795. Its equations were not available;
what is described in words is made precise here (docs/systems/hsplitlora.md says how).
"""

from learning.control.ranks.controller import RankBudgets, RankController, RankPlan, RankSettings
from learning.control.ranks.costs import CutCosts, adaptable, training_cost
from learning.control.ranks.importance import History, back_scores, changed, front_scores, relative_cost
from learning.control.ranks.problem import CutRankChoice, CutRankProblem, RankProblem
from learning.control.ranks.solvers import (
    coordinate_ascent,
    equal_for_all,
    exact,
    greedy,
    server_rank,
    uniform,
    uniform_per_user,
    user_ranks,
)

__all__ = [
    "CutCosts",
    "CutRankChoice",
    "CutRankProblem",
    "History",
    "RankBudgets",
    "RankController",
    "RankPlan",
    "RankProblem",
    "RankSettings",
    "adaptable",
    "back_scores",
    "changed",
    "coordinate_ascent",
    "equal_for_all",
    "exact",
    "front_scores",
    "greedy",
    "relative_cost",
    "server_rank",
    "training_cost",
    "uniform",
    "uniform_per_user",
    "user_ranks",
]
