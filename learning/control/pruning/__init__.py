"""Control of the pruning rate by a latency budget, and a convergence bound that orders settings of FedSL-PQ.

Zhang, Ni, Wang, Federated Split Learning with Model Pruning and Gradient Quantization in Wireless Networks, arXiv
2412.06414.
"""

from learning.control.pruning.bound import BoundSetting, LayerStatistics, stationarity_bound
from learning.control.pruning.budget import rate_within_budget

__all__ = ["BoundSetting", "LayerStatistics", "rate_within_budget", "stationarity_bound"]
