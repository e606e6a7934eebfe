"""Find and open the files of a data set; error messages state the remedy."""

import gzip
import os
import pickle
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from learning.data.dataset import MissingData

DATA_FOLDER = "NETSIM_DATA"
"""Environment variable with the folder of data files."""


def given(path: str) -> Path:
    """The file or folder that a scenario names.

    Raises MissingData if there is none; the message states where it was searched.
    """
    searched = Path(os.path.abspath(path))
    if not searched.exists():
        folder = os.environ.get(DATA_FOLDER)
        named = f"which is {os.path.abspath(folder)}" if folder else "which is not set"
        raise MissingData(
            f"there is no {searched}; correct the path, which is relative to the folder of the scenario file, "
            f"else to the folder in {DATA_FOLDER} ({named})"
        )
    return searched


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
    sought = " or ".join(os.path.abspath(folder / place) for place in places)
    raise MissingData(
        f"{what} is missing: there is no {' or '.join(names)} in {sought}; {remedy} of {os.path.abspath(folder)}, "
        f"or name another folder in learning.data_folder or {DATA_FOLDER}"
    )


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
