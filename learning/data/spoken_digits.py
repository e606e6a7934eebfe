"""Spoken and written digits: real utterances, each with a real handwritten image of the same digit."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from annotated_types import Ge, Interval
from numpy.typing import NDArray

from learning.data.dataset import Dataset, Split, assemble
from learning.data.files import find, reading
from learning.data.modalities import Modalities
from learning.data.selection import first

FILE = "digits_audio_image.npz"
REMEDY = "put the pairs (arrays audio, offset, label, speaker, test, image) as that file"
WINDOW, BANDS = 200, 32
"""Samples of a window of the spectrogram, 25 ms at 8 kHz, and its frequency bands."""
PIXEL_MEAN, PIXEL_STD = 0.1307, 0.3081
"""Mean and standard deviation of the pixels of MNIST, of which the images are a part."""


@dataclass(frozen=True)
class SpokenDigits:
    """3 000 pairs of a spoken and a handwritten digit, 10 classes, 6 speakers (possible users); needs its file.

    Modalities: `image` (1, 28, 28), and `audio` (frames, 32), a spectrogram of the utterance.
    """

    # Free Spoken Digit Dataset (Z. Jackson and others) and MNIST (LeCun et al.); its test takes are the test set.

    frames: Annotated[int, Interval(ge=1, le=1000)] = 32
    """Windows of a spectrogram, spread evenly over the utterance, whatever its length."""

    train_samples: Annotated[int, Ge(1)] | None = None
    """Use only this many of the 2 700 training pairs, in proportion to the digits (default: all)."""

    test_samples: Annotated[int, Ge(1)] | None = None
    """Use only this many of the 300 test pairs, in proportion to the digits (default: all)."""

    def load(self, folder: Path | None, dtype: torch.dtype) -> Dataset:
        """Load `folder`/digits_audio_image.npz. Raises MissingData if it is missing, ValueError if it is damaged."""
        path = find(folder, ("",), (FILE,), "the data set of spoken digits", REMEDY)
        with reading(path), np.load(path) as arrays:
            audio, offset = arrays["audio"].astype(np.float64) / 2**15, arrays["offset"]
            label, speaker, test = arrays["label"].astype(np.int64), arrays["speaker"].astype(np.int64), arrays["test"]
            image = arrays["image"]
        splits, groups = [], []
        for part, chosen, samples in (("train", ~test, self.train_samples), ("test", test, self.test_samples)):
            rows = np.flatnonzero(chosen)
            rows = rows[first(label[rows], samples, f"spoken digits {part}")]
            sounds = np.stack([spectrogram(audio[offset[row] : offset[row + 1]], self.frames) for row in rows])
            pixels = (torch.from_numpy(image[rows]).to(dtype)[:, None] / 255 - PIXEL_MEAN) / PIXEL_STD
            values = {"image": pixels, "audio": torch.from_numpy(sounds).to(dtype)}
            present = {name: torch.ones(len(rows), dtype=torch.bool) for name in values}
            splits.append(Split(Modalities(values, present), torch.from_numpy(label[rows])))
            groups.append(torch.from_numpy(speaker[rows]))
        return assemble("spoken_digits", splits[0], splits[1], 10, *groups)


def spectrogram(sound: NDArray[np.float64], frames: int) -> NDArray[np.float64]:
    """Logarithmic spectrogram (frames, 32) of an utterance, normalised to mean 0 and standard deviation 1.

    Windows of 25 ms are spread evenly over the utterance, which is padded with silence if it is shorter than one;
    neighbouring frequencies are added up to 32 bands.
    """
    sound = np.pad(sound, (0, max(0, WINDOW - len(sound))))
    starts = np.linspace(0, len(sound) - WINDOW, frames).astype(np.int64)
    windows = sound[starts[:, None] + np.arange(WINDOW)] * np.hanning(WINDOW)
    power = np.abs(np.fft.rfft(windows, axis=1)[:, 1:]) ** 2
    bands = np.stack([part.sum(1) for part in np.array_split(power, BANDS, axis=1)], axis=1)
    logarithms = np.log(bands + 1e-8)
    return np.asarray((logarithms - logarithms.mean()) / max(logarithms.std(), 1e-8))
