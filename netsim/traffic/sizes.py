"""How large requests are: bits or FLOPs, for each request anew."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, log
from typing import Annotated, Protocol

from annotated_types import Ge, Gt, MinLen
from scipy.special import ndtri


class SizeLaw(Protocol):
    """A size for each request; a bare number is the same for all, a bare list is gone through again and again."""

    def size(self, number: int, chance: float) -> float:
        """Of a user's request `number`; `chance` is uniform in (0, 1), drawn for this request and quantity."""
        ...


@dataclass(frozen=True)
class ConstantSize:
    """The same for all requests."""

    value: Annotated[float, Ge(0)]
    """The size."""

    def size(self, number: int, chance: float) -> float:
        return self.value


@dataclass(frozen=True)
class ListedSizes:
    """Given sizes, for a user's first request, its second and so on, then from the beginning again."""

    values: Annotated[tuple[Annotated[float, Ge(0)], ...], MinLen(1)]
    """The sizes."""

    def size(self, number: int, chance: float) -> float:
        return self.values[number % len(self.values)]


@dataclass(frozen=True)
class ExponentialSize:
    """Exponential."""

    mean: Annotated[float, Gt(0)]
    """Mean size."""

    def size(self, number: int, chance: float) -> float:
        return -self.mean * log(chance)


@dataclass(frozen=True)
class UniformSize:
    """Uniform between two bounds."""

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
    """Lognormal: many small requests, and a few that are very large."""

    mean: Annotated[float, Gt(0)]
    """Mean size."""
    sigma: Annotated[float, Ge(0)] = 1.0
    """Standard deviation of the logarithm; 0 is the mean for all."""

    def size(self, number: int, chance: float) -> float:
        return self.mean * exp(self.sigma * float(ndtri(chance)) - self.sigma**2 / 2)


SIZE_LAWS: dict[str, type] = {
    "constant": ConstantSize,
    "list": ListedSizes,
    "exponential": ExponentialSize,
    "uniform": UniformSize,
    "lognormal": LognormalSize,
}
