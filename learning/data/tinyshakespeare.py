"""Tiny Shakespeare: next-character prediction, with the roles as sources."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pyarrow.parquet as pq
import torch
from annotated_types import Ge, Interval

from learning.data.dataset import Dataset
from learning.data.files import find, reading
from learning.data.windows import of_texts

FILE = "tinyshakespeare_roles.parquet"
REMEDY = "put the speeches of tinyshakespeare by role (columns role and text, in order) as that file"


@dataclass(frozen=True)
class TinyShakespeare:
    """Next-character prediction on 1.1 MB of Shakespeare, whose 309 roles can be users; needs its file of speeches."""

    # Karpathy's char-rnn extract. A sample is a window of a role's own text and, as labels, the window one further.

    length: Annotated[int, Interval(ge=1, le=1_000_000)] = 64
    """Characters per sample."""

    min_characters: Annotated[int, Ge(1)] = 2000
    """Minimum length of a role's text; shorter roles are excluded."""

    max_characters: Annotated[int, Ge(1)] | None = None
    """Maximum length of a role's text (default: no maximum); longer roles are excluded."""

    test_fraction: Annotated[float, Interval(gt=0, lt=1)] = 0.1
    """Fraction of each role's windows that is used for testing: its last ones, at least one."""

    train_samples: Annotated[int, Ge(1)] | None = None
    """Use only this many training windows, in proportion to the roles (default: all)."""

    test_samples: Annotated[int, Ge(1)] | None = None
    """Use only this many test windows, in proportion to the roles (default: all)."""

    def load(self, folder: Path | None, dtype: torch.dtype) -> Dataset:
        """Load `folder`/tinyshakespeare_roles.parquet; windows are token numbers, whatever `dtype`.

        Classes are the characters of the whole file, so that selections of roles share them. Raises MissingData if the
        file is missing, ValueError if it is damaged or no role remains.
        """
        path = find(folder, ("",), (FILE,), "tiny Shakespeare", REMEDY)
        with reading(path):
            table = pq.read_table(path, columns=["role", "text"]).to_pydict()
        texts: dict[str, list[str]] = {}
        for role, text in zip(table["role"], table["text"], strict=True):
            texts.setdefault(role, []).append(text)
        alphabet = sorted(set("\n".join(table["text"])))
        said = ["\n".join(speeches) for speeches in texts.values() if self._fits(speeches)]
        if not said:
            raise ValueError("no role has a text of the required length")
        samples = self.train_samples, self.test_samples
        return of_texts("tinyshakespeare", said, alphabet, self.length, self.test_fraction, *samples)

    def _fits(self, said: list[str]) -> bool:
        characters = sum(map(len, said))
        return self.min_characters <= characters <= (self.max_characters or characters)
