"""Which weights get how large adapters, and where each user's model is cut: importance, ranks under a budget, cuts.

HSplitLoRA: Lin, Zhang, Chen, Fang, Chen, Vepakomma, Ni, Luo, Gao, arXiv 2505.02795. Its equations were not at hand;
what is described in words is made precise here (docs/systems/hsplitlora.md says how).
"""

from learning.control.ranks.allocation import RankProblem, exact, greedy
from learning.control.ranks.importance import History, back_scores, changed, front_scores, relative_cost
from learning.control.ranks.splits import Choice, SplitProblem, choose

__all__ = [
    "Choice",
    "History",
    "RankProblem",
    "SplitProblem",
    "back_scores",
    "changed",
    "choose",
    "exact",
    "front_scores",
    "greedy",
    "relative_cost",
]
