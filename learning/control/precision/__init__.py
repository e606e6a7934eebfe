"""Control of each user's bits of an activation, bandwidth and power: a trade-off of latency and energy.

Qiang, Liu, Zhang, Chang, Liang, Deploying Large AI Models on Resource-Limited Devices with Split Federated Learning,
arXiv 2504.09114. The paper names the controls, the two objectives and the methods (block coordinate descent, successive
convex approximation, matching); the exact problem is the smallest one that uses them all.
"""

from learning.control.precision.matching import match
from learning.control.precision.problem import PrecisionPlan, PrecisionProblem
from learning.control.precision.solvers import SOLVERS, block_descent, exhaustive, joint_descent, matched_descent

__all__ = [
    "SOLVERS",
    "PrecisionPlan",
    "PrecisionProblem",
    "block_descent",
    "exhaustive",
    "joint_descent",
    "match",
    "matched_descent",
]
