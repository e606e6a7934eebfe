"""Find and open the files of a data set; error messages state the remedy."""

import gzip
import pickle
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from learning.data.dataset import MissingData


def find(folder: Path | None, places: Sequence[str], names: Sequence[str], what: str, remedy: str) -> Path:
    """Path of the first of `names` in the first of `places` (relative to the data folder) that contains one of them.

    Raises MissingData, with `remedy` as advice, if there is none.
    """
    if folder is None:
        raise MissingData(
            f"{what} is missing, as no data folder is given: {remedy} of a data folder and name that folder"
        )
    for path in (folder / place / name for place in places for name in names):
        if path.exists():
            return path
    sought = " or ".join(str(folder / place) for place in places)
    raise MissingData(f"{what} is missing: there is no {' or '.join(names)} in {sought}; {remedy} of {folder}")


_DAMAGE = (
    *(EOFError, LookupError, AttributeError, TypeError, ValueError, OSError),
    *(gzip.BadGzipFile, zlib.error, zipfile.BadZipFile, pickle.UnpicklingError),
)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Convert any error of reading a damaged file into a ValueError of one sentence."""
    try:
        yield
    except _DAMAGE as error:
        raise ValueError(f"{path} is damaged or not what its name says ({error}); fetch it again") from error


def check_pairs(source: Path | str, samples: NDArray[Any], labels: NDArray[Any]) -> None:
    """Check that a file, or the files of a part of a data set, have as many samples as labels.

    Raises:
        ValueError: they do not; the message names `source`.
    """
    if len(samples) != len(labels):
        raise ValueError(f"{source} is damaged: it has {len(samples)} samples and {len(labels)} labels; fetch it again")
