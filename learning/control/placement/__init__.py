"""Expert caching: placement of the experts of a mixture of experts on edge servers, by solvers and by simple rules.

SlimCaching: Q. Chen, X. Chen, Huang, arXiv 2507.06567. Its equations were not available; what is described in words is
made precise here, so that no equation carries the paper's number: greedy for K = 1, successive greedy decomposition
with dynamic programming for K >= 1, and the acceleration by max-plus convolution. That a server's saving is
supermodular, and ties by potential, are ours.
"""

from learning.control.placement.access import TokenCall, access_s, token_call
from learning.control.placement.controller import ExpertPlacement
from learning.control.placement.decomposition import accelerated, best_of_orders, decomposition
from learning.control.placement.deployment import deploy
from learning.control.placement.forecast import problem_of
from learning.control.placement.greedy import greedy
from learning.control.placement.problem import Activations, Load, Placement, PlacementProblem
from learning.control.placement.solvers import auto, brute_force

__all__ = [
    "Activations",
    "ExpertPlacement",
    "Load",
    "Placement",
    "PlacementProblem",
    "TokenCall",
    "accelerated",
    "access_s",
    "auto",
    "best_of_orders",
    "brute_force",
    "decomposition",
    "deploy",
    "greedy",
    "problem_of",
    "token_call",
]
