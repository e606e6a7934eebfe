"""How many tokens each user sends, over what bandwidth and with what power: semantic transmission efficiency.

Qiang, Chang, Min, Semantic-aware Token Selection and Resource Optimization for Communication-efficient Split Federated
Fine-tuning in Edge Intelligence, arXiv 2605.26120.
"""

from learning.control.tokens.alternating import alternating
from learning.control.tokens.exhaustive import exhaustive
from learning.control.tokens.latency import by_latency
from learning.control.tokens.problem import Allocation, TokenProblem, admissible

SOLVERS = {"published": alternating, "improved": by_latency, "brute": exhaustive}
"""The paper's alternation, a search over the latency that nearly always finds the optimum, and all combinations."""

__all__ = ["SOLVERS", "Allocation", "TokenProblem", "admissible", "alternating", "by_latency", "exhaustive"]
