"""Selection of the experts of a mixture that train on a user's device, within a budget of active experts.

Fang et al., HFedMoE: Resource-aware Heterogeneous Federated Learning with Mixture-of-Experts, arXiv 2601.00583.
"""

from learning.control.experts.budget import ExpertBudgets, StepCost
from learning.control.experts.importance import divergence, importance
from learning.control.experts.selection import selected

__all__ = ["ExpertBudgets", "StepCost", "divergence", "importance", "selected"]
