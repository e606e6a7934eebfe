"""Selection of samples of a data set, by the name of the data set and not by the seed of a run."""

import hashlib

import numpy as np
from numpy.typing import NDArray


def by_name(name: str) -> np.random.Generator:
    """A generator that depends on a name alone."""
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8])
    return np.random.Generator(np.random.Philox(key=seed))


def balanced_order(labels: NDArray[np.int64], name: str) -> NDArray[np.int64]:
    """A permutation of the rows in which every prefix has the class proportions, to within one sample.

    Member j of a class of n members, shuffled by a generator that depends on `name` alone, is placed at (j + 1/2) / n.
    """
    generator = by_name(name)
    place = np.empty(len(labels))
    for label in np.unique(labels):
        members = generator.permutation(np.flatnonzero(labels == label))
        place[members] = (np.arange(len(members)) + 0.5) / len(members)
    return np.lexsort((labels, place))


def first(labels: NDArray[np.int64], samples: int | None, name: str) -> NDArray[np.int64]:
    """Rows of a class-balanced subset of `samples` rows; all rows in their own order if there are not more."""
    if samples is None or samples >= len(labels):
        return np.arange(len(labels))
    return balanced_order(labels, name)[:samples]


def of_classes(
    labels: NDArray[np.int64], classes: tuple[int, ...] | None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows of the given classes, and their labels renumbered in the given order; all unchanged if None.

    Raises ValueError if a class is given twice or has no samples.
    """
    if classes is None:
        return np.arange(len(labels)), labels
    number = {each: position for position, each in enumerate(classes)}
    missing = set(classes) - set(np.unique(labels).tolist())
    if missing or len(number) < len(classes):
        raise ValueError(f"the classes {list(classes)} are not distinct ones among {np.unique(labels).tolist()}")
    rows = np.flatnonzero(np.isin(labels, classes))
    return rows, np.array([number[int(label)] for label in labels[rows]], dtype=np.int64)
