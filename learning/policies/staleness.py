"""Staleness weights: the weight of an update by its staleness. [Xie, Koyejo, Gupta, arXiv 1903.03934, section 5.2]

Staleness is the number of updates of the server's model since the download of the weights that were trained; it is 0 if
there were none in between. (The paper counts the update under way too: its t - tau is one more.)
"""

from dataclasses import dataclass
from typing import Annotated, Protocol

from annotated_types import Ge, Interval


class StalenessWeight(Protocol):
    """A function from staleness to weight."""

    def weight(self, staleness: int) -> float:
        """The weight, in (0, 1], of an update with a staleness of 0, 1, 2, ..."""
        ...


@dataclass(frozen=True)
class ConstantWeight:
    """All updates have the same weight, whatever their staleness."""

    value: Annotated[float, Interval(gt=0, le=1)] = 1.0
    """The weight."""

    def weight(self, staleness: int) -> float:
        return self.value


@dataclass(frozen=True)
class Polynomial:
    """The weight is (1 + staleness)^-exponent."""

    exponent: Annotated[float, Ge(0)] = 0.5
    """0.5 in FedAsync's experiments, and in FedBuff."""

    def weight(self, staleness: int) -> float:
        return float((1 + staleness) ** -self.exponent)


@dataclass(frozen=True)
class Hinge:
    """The weight is 1 up to a bound of staleness, and 1 / (1 + slope (staleness - bound)) beyond it."""

    slope: Annotated[float, Ge(0)] = 10.0
    """Slope beyond the bound; 10 in FedAsync's experiments."""
    bound: Annotated[int, Ge(0)] = 4
    """Largest staleness with weight 1; 4 in FedAsync's experiments."""

    def weight(self, staleness: int) -> float:
        return 1 / (1 + self.slope * max(staleness - self.bound, 0))


STALENESS_WEIGHTS: dict[str, type] = {"constant": ConstantWeight, "polynomial": Polynomial, "hinge": Hinge}
