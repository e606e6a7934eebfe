"""Each user's cut and mini-batch size, for the least time to a target: seconds of a round times number of rounds.

HASFL: Lin, Chen, Chen, Ni, Gao, arXiv 2506.08426; AdaptSFL, which chooses cuts and the aggregation interval: Lin et
al., arXiv 2403.13101. The bound is the one that the authors' papers share.
Mini-batches, cuts and interval are each solved exactly for given others, where the papers iterate.
"""

from learning.control.cuts.batches import best_batches
from learning.control.cuts.interval import best_interval
from learning.control.cuts.problem import ConvergenceBound, CutChoice, CutProblem, OutOfReach
from learning.control.cuts.solvers import SOLVERS, adapt, alternating, equal_choice, exhaustive
from learning.control.cuts.splits import best_cuts

__all__ = [
    "SOLVERS",
    "ConvergenceBound",
    "CutChoice",
    "CutProblem",
    "OutOfReach",
    "adapt",
    "alternating",
    "best_batches",
    "best_cuts",
    "best_interval",
    "equal_choice",
    "exhaustive",
]
