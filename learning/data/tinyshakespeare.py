"""Plays of Shakespeare, character by character, role by role."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import pyarrow.parquet as pq
import torch
from annotated_types import Ge, Interval
from numpy.typing import NDArray

from learning.data.dataset import Dataset, Split, assemble
from learning.data.files import find, reading
from learning.data.selection import first

FILE = "tinyshakespeare_roles.parquet"
REMEDY = "put the speeches of tinyshakespeare by role (columns role and text, in order) as that file"

Codes = NDArray[np.int64]


@dataclass(frozen=True)
class TinyShakespeare:
    """Next-character prediction on 1.1 MB of Shakespeare, whose 309 roles can be users; needs its file of speeches."""

    # Karpathy's char-rnn extract. A sample is a window of a role's own text and, as labels, the window one further.

    length: Annotated[int, Ge(1)] = 64
    """Characters in a sample."""

    least_characters: Annotated[int, Ge(1)] = 2000
    """Roles that say less are left out."""

    most_characters: Annotated[int, Ge(1)] | None = None
    """Roles that say more are left out; none of them by default."""

    test_fraction: Annotated[float, Interval(gt=0, lt=1)] = 0.1
    """Share of each role's windows, its last ones, held out for testing; at least one."""

    train_samples: Annotated[int, Ge(1)] | None = None
    """Use only this many training windows, roles in proportion; all of them by default."""

    test_samples: Annotated[int, Ge(1)] | None = None
    """Use only this many test windows, roles in proportion; all of them by default."""

    def load(self, folder: Path | None, dtype: torch.dtype) -> Dataset:
        """Load `folder`/tinyshakespeare_roles.parquet; windows are token numbers, whatever `dtype`.

        Classes are the characters of the whole file, so that selections of roles share them. Raises MissingData if the
        file is not there, ValueError if it is damaged or no role is left.
        """
        path = find(folder, ("",), (FILE,), "tiny Shakespeare", REMEDY)
        with reading(path):
            speeches = pq.read_table(path, columns=["role", "text"]).to_pydict()
        texts: dict[str, list[str]] = {}
        for role, text in zip(speeches["role"], speeches["text"], strict=True):
            texts.setdefault(role, []).append(text)
        alphabet = sorted(set("\n".join(speeches["text"])))
        windows = [self._windows("\n".join(said), alphabet) for said in texts.values() if self._fits(said)]
        windows = [each for each in windows if len(each) > 1]
        if not windows:
            raise ValueError("no role says as much as is asked for, or windows are too long for all of them")
        held_out = [max(1, round(self.test_fraction * len(each))) for each in windows]
        train, groups = self._split(
            [w[:-n] for w, n in zip(windows, held_out, strict=True)], self.train_samples, "train"
        )
        test, _ = self._split([w[-n:] for w, n in zip(windows, held_out, strict=True)], self.test_samples, "test")
        return assemble("tinyshakespeare", train, test, len(alphabet), groups)

    def _fits(self, said: list[str]) -> bool:
        characters = sum(map(len, said))
        return self.least_characters <= characters <= (self.most_characters or characters)

    def _windows(self, text: str, alphabet: list[str]) -> Codes:
        """Windows (n, length + 1) of a text; the last character of one is the first of the next."""
        number = {character: code for code, character in enumerate(alphabet)}
        codes = np.array([number[character] for character in text], dtype=np.int64)
        starts = np.arange(0, len(codes) - self.length, self.length)
        return np.asarray(codes[starts[:, None] + np.arange(self.length + 1)])

    def _split(self, windows: list[Codes], samples: int | None, name: str) -> tuple[Split, torch.Tensor]:
        roles = np.repeat(np.arange(len(windows)), [len(each) for each in windows])
        rows = first(roles, samples, f"tinyshakespeare {name}")
        chosen = torch.from_numpy(np.concatenate(windows)[rows])
        split = Split(chosen[:, :-1].contiguous(), chosen[:, 1:].contiguous())
        return split, torch.from_numpy(roles[rows])
