"""Banking77: questions of bank customers, classified by intent."""

from dataclasses import dataclass
from importlib import import_module
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
from learning.package_data import model_folder

FILE = "banking77.parquet"
REMEDY = "put the questions (columns split, text and label) as that file"
CHARACTERS = "".join(map(chr, range(32, 127)))
CLASSES = 77


@dataclass(frozen=True)
class Banking77:
    """13 083 questions of bank customers with 77 intents, as rows of tokens; needs its file."""

    # Casanueva et al., Efficient intent detection with dual sentence encoders, 2020.

    length: Annotated[int, Interval(ge=1, le=1_000_000)] = 32
    """Tokens per sample; longer questions are truncated, shorter ones padded with 0."""

    tokenizer: str = "characters"
    """`characters` (95 printable ones from 1, all others 96), or a folder with a tokenizer.json, or `package:NAME`."""

    train_samples: Annotated[int, Ge(1)] | None = None
    """Use only this many training questions, in proportion to the intents (default: all)."""

    test_samples: Annotated[int, Ge(1)] | None = None
    """Use only this many test questions, in proportion to the intents (default: all)."""

    def load(self, folder: Path | None, dtype: torch.dtype) -> Dataset:
        """Load `folder`/banking77.parquet; samples are token numbers, whatever `dtype`.

        Raises MissingData if the file is missing, ValueError if it is damaged or the tokenizer is not available.
        """
        path = find(folder, ("",), (FILE,), "Banking77", REMEDY)
        with reading(path):
            table = pq.read_table(path, columns=["split", "text", "label"])
            columns = {name: np.array(table[name].to_pylist()) for name in table.column_names}
        parts = []
        for part, samples in (("train", self.train_samples), ("test", self.test_samples)):
            rows = np.flatnonzero(columns["split"] == part)
            labels = columns["label"][rows].astype(np.int64)
            chosen = first(labels, samples, f"banking77 {part}")
            tokens = self._tokens(columns["text"][rows[chosen]].tolist())
            parts.append(Split(torch.from_numpy(tokens), torch.from_numpy(labels[chosen])))
        return assemble("banking77", parts[0], parts[1], CLASSES)

    def _tokens(self, texts: list[str]) -> NDArray[np.int64]:
        rows = np.zeros((len(texts), self.length), dtype=np.int64)
        for row, codes in zip(rows, self._coded(texts), strict=True):
            row[: len(codes)] = codes[: self.length]
        return rows

    def _coded(self, texts: list[str]) -> list[list[int]]:
        if self.tokenizer == "characters":
            number = {character: code for code, character in enumerate(CHARACTERS, 1)}
            return [[number.get(character, len(CHARACTERS) + 1) for character in text] for text in texts]
        try:
            library = import_module("tokenizers")
        except ImportError as problem:
            raise ValueError(
                "a tokenizer.json needs the package tokenizers: pip install 'netsim-learning[hf]'"
            ) from problem
        coder = library.Tokenizer.from_file(str(model_folder(self.tokenizer) / "tokenizer.json"))
        coder.no_padding()
        coder.enable_truncation(self.length)
        return [coded.ids for coded in coder.encode_batch(texts)]
