"""Where each user's model is cut and how large its mini-batches are: seconds of a round against rounds.

HASFL: Lin, Chen, Chen, Ni, Gao, arXiv 2506.08426; AdaptSFL, which chooses cuts and the aggregation interval: Lin et
al., arXiv 2403.13101. The bound is the one that the authors' papers share.
Blocks of the problem are solved exactly, where the papers iterate.
"""

from learning.control.cuts.batches import best_batches
from learning.control.cuts.interval import best_interval
from learning.control.cuts.problem import ConvergenceBound, CutChoice, CutProblem, OutOfReach
from learning.control.cuts.solvers import SOLVERS, adapt, alike, alternating, exhaustive
from learning.control.cuts.splits import best_cuts

__all__ = [
    "SOLVERS",
    "ConvergenceBound",
    "CutChoice",
    "CutProblem",
    "OutOfReach",
    "adapt",
    "alike",
    "alternating",
    "best_batches",
    "best_cuts",
    "best_interval",
    "exhaustive",
]
