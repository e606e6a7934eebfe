"""Samples, labels and sources of any origin as arrays; what no model can use is an error of one sentence."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from learning.data.selection import balanced_order, first

NUMBERS = "biuf"
"""Kinds of NumPy dtypes that are numbers."""
WHOLE = "biu"
"""Kinds of NumPy dtypes that are whole numbers."""
KINDS = {"U": "text", "S": "text", "O": "objects", "M": "dates", "m": "durations", "c": "complex numbers"}
"""Names of kinds of NumPy dtypes that are no numbers, for messages."""


def array(values: ArrayLike, what: str) -> NDArray[Any]:
    """Values as one array with a row for each sample, or more axes.

    Raises ValueError if they have different shapes, or none; `what` names them in messages.
    """
    try:
        made = np.asarray(values)
    except ValueError:
        raise ValueError(f"{what} have different shapes; every one needs the same shape") from None
    if not made.ndim:
        raise ValueError(f"{what} are a single value; an array with a row for each sample is needed")
    return made


def numbers(x: ArrayLike, what: str) -> NDArray[Any]:
    """Samples (n, ...) as floating-point numbers, bytes (uint8) are pixels, and divided by 255.

    Raises:
        ValueError: they are no numbers, or not all are finite; the message names the first row of these.
    """
    values = array(x, what)
    if values.dtype.kind not in NUMBERS:
        raise ValueError(f"{what} are {_kind(values)}; numbers are needed: leave text out, or encode it as numbers")
    floats: NDArray[Any] = values.astype(np.float32 if values.dtype in (np.float32, np.uint8) else np.float64)
    check_finite(floats, what)
    if len(floats) and not floats.size:
        raise ValueError(f"{what} have the shape {floats.shape[1:]}, and so no values; at least one each is needed")
    return floats / np.float32(255) if values.dtype == np.uint8 else floats


def token_numbers(x: ArrayLike, what: str) -> NDArray[np.int64]:
    """Samples (n, length) as numbers of tokens. Raises ValueError if they are not whole numbers from 0."""
    values = array(x, what)
    if values.dtype.kind not in WHOLE or (values.size and values.min() < 0):
        raise ValueError(f"{what} are {_kind(values)}; numbers of tokens, from 0, are needed")
    return values.astype(np.int64)


def class_numbers(
    ys: Sequence[ArrayLike], classes: int | Sequence[str] | None, what: str
) -> tuple[list[NDArray[np.int64]], int, tuple[str, ...]]:
    """Labels as numbers of classes.

    Args:
        ys: labels (n,), or (n, tokens), of each split: whole numbers from 0, or names.
        classes: number of classes, or their names in order; None: those that occur, names in alphabetical order.
        what: the labels, for messages.

    Returns:
        The numbers (int64) of each split, the number of classes, and their names; none if they are not known.

    Raises:
        ValueError: labels are missing, fractional or out of range.
    """
    arrays = [array(y, what) for y in ys]
    given = tuple(classes) if isinstance(classes, Sequence) else ()
    if any(each.dtype.kind in "USO" for each in arrays):
        return _named(arrays, classes, given, what)
    for values in arrays:
        if values.dtype.kind not in NUMBERS:
            raise ValueError(f"{what} are {_kind(values)}; numbers of classes from 0, or their names, are needed")
        check_finite(values, what)
        if values.dtype.kind == "f" and (fractions := values[values != np.floor(values)]).size:
            raise ValueError(f"{what} are fractional, such as {fractions.flat[0]:g}; classes are numbered 0, 1, 2, ...")
    numbered = [values.astype(np.int64) for values in arrays]
    filled = [values for values in numbered if values.size]
    lowest = min((int(values.min()) for values in filled), default=0)
    largest = max((int(values.max()) for values in filled), default=0)
    if classes is None and lowest < 0:
        raise ValueError(f"{what} go down to {lowest}; number classes from 0")
    if classes is None and largest >= max(2, sum(map(len, numbered))):
        raise ValueError(f"{what} go up to {largest}, with fewer samples than that; number classes from 0")
    return numbered, len(given) or (classes if isinstance(classes, int) else largest + 1), given


def _named(
    arrays: Sequence[NDArray[Any]], classes: int | Sequence[str] | None, given: tuple[str, ...], what: str
) -> tuple[list[NDArray[np.int64]], int, tuple[str, ...]]:
    lists = [each.reshape(-1).tolist() for each in arrays]
    for number, label in ((row, label) for one in lists for row, label in enumerate(one)):
        if not isinstance(label, str):
            raise ValueError(f"{what} are names, but the one in row {number} is {label!r}")
    names = given or tuple(sorted({label for one in lists for label in one}))
    if isinstance(classes, int) and classes != len(names):
        raise ValueError(f"{what} have {len(names)} different names, but classes is {classes}")
    if strangers := sorted({label for one in lists for label in one} - set(names)):
        raise ValueError(f"{what} include {strangers[0]!r}, which is no class; {', '.join(names)} are allowed")
    number_of = {name: number for number, name in enumerate(names)}
    numbered = [
        np.array([number_of[label] for label in one], dtype=np.int64).reshape(each.shape)
        for one, each in zip(lists, arrays, strict=True)
    ]
    return numbered, len(names), names


def targets(
    several: bool, ys: Sequence[ArrayLike], names: int | Sequence[str] | None, what: str
) -> tuple[list[NDArray[Any]], int, tuple[str, ...]]:
    """Numbers that are predicted, or several labels of each sample.

    Args:
        several: whether a sample has several labels, 0 or 1 each.
        ys: labels (n,) or (n, outputs) of each split.
        names: number of outputs, or their names in order; None: not known.
        what: the labels, for messages.

    Returns:
        The labels (n, outputs) of each split, float64 or bool; the number of outputs, and their names, if known.

    Raises:
        ValueError: labels are no numbers, not finite, or not as many as their names.
    """
    arrays = []
    for values in (array(y, what) for y in ys):
        if values.dtype.kind not in NUMBERS or values.ndim not in (1, 2):
            raise ValueError(f"{what} are {_kind(values)} of {values.ndim} axes; numbers (n, outputs) are needed")
        check_finite(values, what)
        if several and (strange := values[(values != 0) & (values != 1)]).size:
            raise ValueError(f"{what} are 0 or 1 where a sample has several, but one is {strange.flat[0]:g}")
        arrays.append(values.reshape(len(values), -1).astype(np.bool_ if several else np.float64))
    widths = {each.shape[1] for each in arrays}
    known = tuple(names) if isinstance(names, Sequence) else ()
    expected = len(known) or names
    if len(widths) > 1 or (expected is not None and {expected} != widths):
        raise ValueError(
            f"{what} have {' and '.join(map(str, sorted(widths)))} columns; {expected or 'one number'} is needed"
        )
    return arrays, widths.pop(), known


def source_numbers(groups: Iterable[ArrayLike | None], what: str) -> list[NDArray[np.int64] | None]:
    """Sources (n,) of each split, numbers or names, numbered in their order; None where they are not known."""
    given = [None if group is None else array(group, what) for group in groups]
    known = [each.astype(str) if each.dtype.kind == "O" else each for each in given if each is not None]
    if not known:
        return [None for _ in given]
    numbered = iter(np.split(np.unique(np.concatenate(known), return_inverse=True)[1], np.cumsum([*map(len, known)])))
    return [None if each is None else next(numbered).astype(np.int64) for each in given]


class Arrays(NamedTuple):
    """Samples x (n, ...), labels y (n, ...), and the source of each sample (n,), if known."""

    x: NDArray[Any]
    y: NDArray[Any]
    source: NDArray[np.int64] | None

    def check(self, name: str) -> None:
        """Raises ValueError unless samples, labels and sources are equally many."""
        if len(self.x) != len(self.y):
            raise ValueError(f"{name} has {len(self.x)} samples, but {len(self.y)} labels")
        if self.source is not None and len(self.source) != len(self.y):
            raise ValueError(f"{name} has {len(self.source)} sources, but {len(self.y)} samples")

    def held_out(self, fraction: float, name: str) -> tuple[Arrays, Arrays]:
        """Training and test samples: the test set has `fraction` of the samples of each class, at least one in all."""
        order = balanced_order(self.kinds, f"{name} test split")
        count = max(1, round(fraction * len(order)))
        return self.rows(np.sort(order[count:])), self.rows(np.sort(order[:count]))

    def first(self, samples: int | None, name: str) -> Arrays:
        """The same, or `samples` of them in proportion to the classes."""
        return self.rows(first(self.kinds, samples, name))

    def rows(self, rows: NDArray[np.int64]) -> Arrays:
        """Those with the given numbers."""
        return Arrays(self.x[rows], self.y[rows], None if self.source is None else self.source[rows])

    @property
    def kinds(self) -> NDArray[np.int64]:
        """The class of each sample (n,); zeros if it has no single one."""
        return self.y if self.y.ndim == 1 else np.zeros(len(self.y), dtype=np.int64)


def standardised(train: Arrays, test: Arrays) -> tuple[Arrays, Arrays]:
    """Samples minus the mean of the training samples, divided by their standard deviation.

    Each channel of images (n, channels, height, width) has its own, otherwise each feature; constant features become 0.
    """
    axes = (0, 2, 3) if train.x.ndim == 4 else (0,)
    mean, deviation = (of(train.x, axis=axes, keepdims=True, dtype=np.float64) for of in (np.mean, np.std))
    scale = np.where(deviation > 0, deviation, 1)
    train_x, test_x = ((part.x - mean) / scale for part in (train, test))
    return train._replace(x=train_x), test._replace(x=test_x)


def check_finite(values: NDArray[Any], what: str) -> None:
    """Raises ValueError if a number is not finite; the message names the first row that has one."""
    if values.dtype.kind == "f" and not (finite := np.isfinite(values)).all():
        row = int(np.argwhere(~finite)[0][0])
        raise ValueError(f"{what} have values that are not finite (NaN or infinity), the first in row {row}")


def channels_first(pixels: NDArray[Any]) -> NDArray[Any]:
    """Pixels (height, width) or (height, width, channels) as (channels, height, width)."""
    return pixels[None] if pixels.ndim == 2 else np.moveaxis(pixels, -1, 0)


def stacked(values: Iterable[Any], what: str) -> NDArray[Any]:
    """Numbers, tensors, arrays or images of Pillow (height, width, ...) as one array; images with channels first."""
    each = [channels_first(np.asarray(value)) if hasattr(value, "getbands") else np.asarray(value) for value in values]
    return array(each, what)


def _kind(values: NDArray[Any]) -> str:
    return KINDS.get(values.dtype.kind, f"numbers of type {values.dtype}")
