"""Staleness weights: how much late work still counts. [Xie, Koyejo, Gupta, arXiv 1903.03934, section 5.2]

Staleness is the number of updates that the server has made since the weights were downloaded on which the work was
done; it is 0 where nothing came in between. (The paper numbers the update under way too: its t - tau is one more.)
"""

from dataclasses import dataclass
from typing import Annotated, Protocol

from annotated_types import Ge, Interval


class StalenessWeight(Protocol):
    """A law of how much work counts by its staleness."""

    def weight(self, staleness: int) -> float:
        """Between 0 and 1."""
        ...


@dataclass(frozen=True)
class Constant:
    """All work counts the same, however late."""

    value: Annotated[float, Interval(gt=0, le=1)] = 1.0
    """Weight of everything."""

    def weight(self, staleness: int) -> float:
        return self.value


@dataclass(frozen=True)
class Polynomial:
    """Late work counts by (1 + staleness)^-exponent."""

    exponent: Annotated[float, Ge(0)] = 0.5
    """0.5 in FedAsync's experiments, and in FedBuff."""

    def weight(self, staleness: int) -> float:
        return float((1 + staleness) ** -self.exponent)


@dataclass(frozen=True)
class Hinge:
    """Work counts fully up to a bound of staleness, and by 1 / (1 + slope (staleness - bound)) beyond it."""

    slope: Annotated[float, Ge(0)] = 10.0
    """How fast work loses weight beyond the bound; 10 in FedAsync's experiments."""
    bound: Annotated[int, Ge(0)] = 4
    """Largest staleness that costs nothing; 4 in FedAsync's experiments."""

    def weight(self, staleness: int) -> float:
        return 1 / (1 + self.slope * max(staleness - self.bound, 0))


STALENESS_WEIGHTS: dict[str, type] = {"constant": Constant, "polynomial": Polynomial, "hinge": Hinge}
