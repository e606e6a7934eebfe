"""Which blocks of a model each user keeps on its device, before and behind those at the server."""

from learning.control.private_blocks.problem import Split
from learning.control.private_blocks.rules import (
    SPLIT_RULES,
    BestSplits,
    FixedSplits,
    MemoryOnly,
    Probe,
    SplitPlan,
    SplitRule,
)

__all__ = ["SPLIT_RULES", "BestSplits", "FixedSplits", "MemoryOnly", "Probe", "Split", "SplitPlan", "SplitRule"]
