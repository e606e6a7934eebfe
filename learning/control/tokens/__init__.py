"""Control of each user's tokens, bandwidth and power, for the highest semantic transmission efficiency.

Qiang, Chang, Min, Semantic-aware Token Selection and Resource Optimization for Communication-efficient Split Federated
Fine-tuning in Edge Intelligence, arXiv 2605.26120.
"""

from learning.control.tokens.alternating import alternating
from learning.control.tokens.latency import by_latency
from learning.control.tokens.problem import TokenAllocation, TokenProblem, admissible
from learning.control.tokens.solvers import SOLVERS, exhaustive

__all__ = ["SOLVERS", "TokenAllocation", "TokenProblem", "admissible", "alternating", "by_latency", "exhaustive"]
