"""Control of token lengths, bandwidths and powers, for the least weighted sum of latency and validation loss.

Zhang, Ni, Wang, Wang, Task-Oriented Multimodal Token Transmission in Resource-Constrained Multiuser Networks, IEEE
Wireless Communications Letters, 2025, arXiv 2505.07841v3. Its problem and algorithms are reconstructed from its
abstract: docs/systems/token_fusion.md.
"""

from learning.control.lengths.alternating import alternating
from learning.control.lengths.coupled import coupled
from learning.control.lengths.curves import Interpolated, LossCurve, MeasuredCurve, PowerLaw
from learning.control.lengths.problem import LengthAllocation, LengthProblem, ServerTime
from learning.control.lengths.solvers import SOLVERS, exhaustive, random_allocation

__all__ = [
    "SOLVERS",
    "Interpolated",
    "LengthAllocation",
    "LengthProblem",
    "LossCurve",
    "MeasuredCurve",
    "PowerLaw",
    "ServerTime",
    "alternating",
    "coupled",
    "exhaustive",
    "random_allocation",
]
