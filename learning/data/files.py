"""Finding and opening the files of a data set that no package ships, and saying what to do when that fails."""

import gzip
import pickle
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from learning.data.dataset import MissingData


def find(folder: Path | None, places: Sequence[str], names: Sequence[str], what: str, remedy: str) -> Path:
    """The first of `names` that exists in the first of `places`, paths relative to the data folder, that has one.

    Raises MissingData, with `remedy` as advice, if no place has any of them.
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
    *(EOFError, LookupError, AttributeError, TypeError, ValueError),
    *(gzip.BadGzipFile, zlib.error, zipfile.BadZipFile, pickle.UnpicklingError),
)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn whatever a damaged file makes its reader raise into a ValueError of one sentence."""
    try:
        yield
    except _DAMAGE as error:
        raise ValueError(f"{path} is damaged or not what its name says ({error}); fetch it again") from error
