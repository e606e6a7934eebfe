"""Samples of next-character prediction: windows of a text, and as labels the windows one character later."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from learning.data.dataset import Dataset, Split, assemble
from learning.data.selection import first

Codes = NDArray[np.int64]


def of_texts(
    name: str,
    texts: Sequence[str],
    alphabet: Sequence[str],
    length: int,
    test_fraction: float,
    train_samples: int | None,
    test_samples: int | None,
) -> Dataset:
    """A data set whose sources are the texts; the last windows of each, at least one, are used for testing.

    Classes are the characters of the alphabet. Texts shorter than two windows are excluded; raises ValueError if none
    remains.
    """
    windows = [each for text in texts if len(each := _windows(text, alphabet, length)) > 1]
    if not windows:
        raise ValueError("windows are too long for all of the texts")
    held_out = [max(1, round(test_fraction * len(each))) for each in windows]
    both = list(zip(windows, held_out, strict=True))
    train, groups = _split([each[:-n] for each, n in both], train_samples, f"{name} train")
    test, test_groups = _split([each[-n:] for each, n in both], test_samples, f"{name} test")
    return assemble(name, train, test, len(alphabet), groups, test_groups)


def _windows(text: str, alphabet: Sequence[str], length: int) -> Codes:
    """Windows (n, length + 1) of a text; the last character of one is the first of the next."""
    number = {character: code for code, character in enumerate(alphabet)}
    codes = np.array([number[character] for character in text], dtype=np.int64)
    starts = np.arange(0, len(codes) - length, length)
    return np.asarray(codes[starts[:, None] + np.arange(length + 1)])


def _split(windows: list[Codes], samples: int | None, name: str) -> tuple[Split, torch.Tensor]:
    sources = np.repeat(np.arange(len(windows)), [len(each) for each in windows])
    rows = first(sources, samples, name)
    chosen = torch.from_numpy(np.concatenate(windows)[rows])
    split = Split(chosen[:, :-1].contiguous(), chosen[:, 1:].contiguous())
    return split, torch.from_numpy(sources[rows])
