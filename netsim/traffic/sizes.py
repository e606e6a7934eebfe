"""Laws of the sizes of requests, in bits or FLOPs."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, log
from typing import Annotated, Protocol

from annotated_types import Ge, Gt, MinLen
from scipy.special import ndtri

from netsim.units import LogDeviation


class SizeLaw(Protocol):
    """A law of sizes of requests. A bare number is the same size for all, a bare list is repeated cyclically."""

    def size(self, number: int, chance: float) -> float:
        """Return the size of a request, in bits or FLOPs.

        Args:
            number: number of the request among those of the user in the stream, from 0.
            chance: uniform draw in (0, 1) for this request and quantity.
        """
        ...


@dataclass(frozen=True)
class ConstantSize:
    """The same size for all requests."""

    value: Annotated[float, Ge(0)]
    """Size of every request."""

    def size(self, number: int, chance: float) -> float:
        return self.value


@dataclass(frozen=True)
class ListedSizes:
    """Given sizes for the first request of each user, the second and so on, repeated cyclically."""

    values: Annotated[tuple[Annotated[float, Ge(0)], ...], MinLen(1)]
    """Sizes in order."""

    def size(self, number: int, chance: float) -> float:
        return self.values[number % len(self.values)]


@dataclass(frozen=True)
class ExponentialSize:
    """Exponential sizes."""

    mean: Annotated[float, Gt(0)]
    """Mean size."""

    def size(self, number: int, chance: float) -> float:
        return -self.mean * log(chance)


@dataclass(frozen=True)
class UniformSize:
    """Uniform sizes between two bounds."""

    low: Annotated[float, Ge(0)]
    """Lower bound."""
    high: Annotated[float, Ge(0)]
    """Upper bound."""

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError(f"low ({self.low:g}) must not exceed high ({self.high:g})")

    def size(self, number: int, chance: float) -> float:
        return self.low + (self.high - self.low) * chance


@dataclass(frozen=True)
class LognormalSize:
    """Lognormal sizes: many small requests and a few very large ones."""

    mean: Annotated[float, Gt(0)]
    """Mean size."""
    sigma: LogDeviation = 1.0
    """Standard deviation of the logarithm; 0 is the mean size for all requests."""

    def size(self, number: int, chance: float) -> float:
        return self.mean * exp(self.sigma * float(ndtri(chance)) - self.sigma**2 / 2)


SIZE_LAWS: dict[str, type] = {
    "constant": ConstantSize,
    "list": ListedSizes,
    "exponential": ExponentialSize,
    "uniform": UniformSize,
    "lognormal": LognormalSize,
}
