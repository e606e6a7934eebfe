"""The validation loss over the number of tokens that a user sends: what was measured, and what is fitted to that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, NamedTuple, Protocol

import numpy as np
from annotated_types import Ge, Gt

from learning.control.lengths.problem import Counts
from learning.control.rate import Floats

EXPONENTS = np.geomspace(0.02, 20.0, 101)
FINEST_RATIO = 1 + 1e-6
"""Exponents among which a power law is searched, and how close they are at last: in each pass as many are tried again,
between the neighbours of the best one."""


class LossCurve(Protocol):
    """The part of the validation loss that depends on the length of one user's sequence, less a constant."""

    def at(self, lengths: Counts) -> Floats:
        """The loss at lengths of at least one token, in their shape; it does not rise with the length."""
        ...


class MeasuredCurve(NamedTuple):
    """Validation losses at some lengths of one user, while the others send all their tokens."""

    lengths: Counts
    """(points,): lengths, ascending; the last is that of the whole sequence."""
    losses: Floats
    """(points,): losses at these lengths."""

    @property
    def rise(self) -> Floats:
        """(points,): losses less that of the whole sequence."""
        return np.asarray(self.losses - self.losses[-1])


@dataclass(frozen=True)
class PowerLaw:
    """A loss of `scale` times the length to the power of minus `exponent`: falling, and convex."""

    scale: Annotated[float, Ge(0)] = 1.0
    """Loss of one token."""
    exponent: Annotated[float, Gt(0)] = 1.0
    """How fast the loss falls with the number of tokens."""

    def at(self, lengths: Counts) -> Floats:
        return np.asarray(self.scale * np.asarray(lengths, dtype=float) ** -self.exponent)

    @classmethod
    def fitted(cls, measured: MeasuredCurve) -> PowerLaw:
        """The power law whose rise above the whole sequence deviates least from the measured one, in squares."""
        tried, lengths, rise = EXPONENTS, np.asarray(measured.lengths, dtype=float), measured.rise
        while True:
            shapes = lengths ** -tried[:, None] - lengths[-1] ** -tried[:, None]
            squares = (shapes**2).sum(axis=1)
            products = np.maximum((shapes * rise).sum(axis=1), 0.0)
            with np.errstate(invalid="ignore"):
                scales = np.where(squares > 0, products / squares, 0.0)  # the best ones, as laws are linear in them
            best = int(((scales[:, None] * shapes - rise) ** 2).sum(axis=1).argmin())
            ratio = tried[1] / tried[0]
            if ratio < FINEST_RATIO:
                return cls(float(scales[best]), float(tried[best]))
            tried = np.geomspace(tried[best] / ratio, tried[best] * ratio, len(tried))


@dataclass(frozen=True, eq=False)
class Interpolated:
    """A falling curve through points, linear in between and constant outside of them."""

    lengths: Counts
    """(points,): lengths, ascending."""
    losses: Floats
    """(points,): losses, not rising."""

    def at(self, lengths: Counts) -> Floats:
        return np.asarray(np.interp(lengths, self.lengths, self.losses))

    @classmethod
    def fitted(cls, measured: MeasuredCurve) -> Interpolated:
        """The falling sequence with the least squared deviations from the measured losses (isotonic regression)."""
        # Barlow, Bartholomew, Bremner, Brunk, Statistical inference under order restrictions, 1972.
        from scipy.optimize import isotonic_regression  # here, because it takes a fifth of a second of every command

        return cls(measured.lengths, np.asarray(isotonic_regression(measured.losses, increasing=False).x))


def rise_error(curve: LossCurve, measured: MeasuredCurve) -> float:
    """Root mean square of a curve's deviations from a measured one, both less their loss of the whole sequence."""
    fitted = MeasuredCurve(measured.lengths, curve.at(measured.lengths))
    return float(np.sqrt(np.mean((fitted.rise - measured.rise) ** 2)))
