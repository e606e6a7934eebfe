"""Synthetic questions about an image and a tone: a small counterpart of audio-visual question answering."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from annotated_types import Ge, Interval
from numpy.typing import NDArray

from learning.data.dataset import Dataset, Split, assemble
from learning.data.digits import Digits
from learning.data.modalities import Modalities

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
TONES = ("do", "re", "mi", "fa", "so", "la", "ti", "up")
WORDS = (
    *DIGITS,
    *TONES,
    "even",
    "odd",
    "low",
    "high",
    "no",
    "yes",
    "digit",
    "tone",
    "both",
    "name",
    "parity",
    "height",
    "Q",
    "?",
)
"""The words that tokens stand for; the rest of the vocabulary is not used."""
VOCABULARY = 40
QUESTIONS = (("digit", "name"), ("tone", "name"), ("digit", "parity"), ("tone", "height"), ("both", "parity"))
"""What is asked: which digit, which tone, whether the digit is odd, whether the tone is in the upper half of the scale,
and whether digit and tone (by its number in the scale, from 0) have the same parity."""
FRAMES, BANDS = 16, 16
"""Frames of a spectrogram, and frequency bands of a frame."""

Integers = NDArray[np.int64]
CODE = {word: code for code, word in enumerate(WORDS)}


@dataclass(frozen=True)
class AudioVisualQuestions:
    """Questions about a handwritten digit and a tone, to be answered by one word; made here, needs no files.

    Modalities: `image` (1, 8, 8), `tone` (16 frames, 16 frequency bands), `text` (4), a question as tokens, and
    `caption` (4), a description of digit and tone as tokens. The label is the answer, one of a vocabulary of 40 tokens.
    """

    # In the manner of MUSIC-AVQA (Li et al., CVPR 2022), with captions as in VALOR-32K (Chen et al., arXiv 2304.08345).

    train_samples: Annotated[int, Interval(ge=1, le=1_000_000)] = 2000
    """Number of training samples."""

    test_samples: Annotated[int, Interval(ge=1, le=1_000_000)] = 500
    """Number of test samples, which have other images than the training samples."""

    noise: Annotated[float, Interval(ge=0, le=100)] = 0.5
    """Standard deviation of the Gaussian noise on a spectrogram, whose tone has amplitudes around 1."""

    seed: Annotated[int, Ge(0)] = 0
    """Seed of the samples; the scenario's seed has no influence."""

    def load(self, folder: Path | None, dtype: torch.dtype) -> Dataset:
        """Generate the samples; `folder` is ignored."""
        digits = Digits().load(folder, dtype)
        train = self._split(digits.train, self.train_samples, 0, dtype)
        test = self._split(digits.test, self.test_samples, 1, dtype)
        return assemble("audio_visual_questions", train, test, VOCABULARY)

    def _split(self, digits: Split, samples: int, part: int, dtype: torch.dtype) -> Split:
        draw = np.random.Generator(np.random.Philox(key=2 * self.seed + part))
        assert isinstance(digits.x, torch.Tensor)
        rows = torch.from_numpy(draw.integers(len(digits.y), size=samples))
        tones, asked = draw.integers(len(TONES), size=samples), draw.integers(len(QUESTIONS), size=samples)
        shown = digits.y[rows].numpy()
        values = {
            "image": digits.x[rows],
            "tone": torch.from_numpy(spectrograms(tones, self.noise, draw)).to(dtype),
            "text": torch.from_numpy(np.array([question(kind) for kind in range(len(QUESTIONS))])[asked]),
            "caption": torch.from_numpy(captions(shown, tones)),
        }
        present = {name: torch.ones(samples, dtype=torch.bool) for name in values}
        return Split(Modalities(values, present), torch.from_numpy(answers(shown, tones, asked)))


@dataclass(frozen=True)
class Tones:
    """Noisy spectrograms (16 frames, 16 frequency bands) of eight tones, as in `audio_visual_questions`."""

    train_samples: Annotated[int, Interval(ge=1, le=1_000_000)] = 2000
    """Number of training samples."""

    test_samples: Annotated[int, Interval(ge=1, le=1_000_000)] = 500
    """Number of test samples."""

    noise: Annotated[float, Interval(ge=0, le=100)] = 0.5
    """Standard deviation of the Gaussian noise."""

    seed: Annotated[int, Ge(0)] = 0
    """Seed of the samples, which are not those of questions with the same seed."""

    def load(self, folder: Path | None, dtype: torch.dtype) -> Dataset:
        """Generate the samples; `folder` is ignored."""
        splits = []
        for part, samples in enumerate((self.train_samples, self.test_samples)):
            draw = np.random.Generator(np.random.Philox(key=[2 * self.seed + part, 1]))
            tones = draw.integers(len(TONES), size=samples)
            x = torch.from_numpy(spectrograms(tones, self.noise, draw)).to(dtype)
            splits.append(Split(x, torch.from_numpy(tones)))
        return assemble("tones", splits[0], splits[1], len(TONES))


@dataclass(frozen=True)
class Descriptions:
    """Text alone: descriptions of a digit and a tone, a question and its answer, for next-token prediction.

    A sample is eight tokens such as "digit seven tone so Q digit parity ?", or with the tone first; its labels are the
    tokens one position later, of which the last is the answer.
    """

    test_fraction: Annotated[float, Interval(gt=0, lt=1)] = 0.1
    """Fraction of the 800 different texts that is used for testing."""

    def load(self, folder: Path | None, dtype: torch.dtype) -> Dataset:
        """Make all texts; `folder` is ignored, and samples are token numbers, whatever `dtype`."""
        sizes = len(DIGITS), len(TONES), len(QUESTIONS), 2
        digits, tones, asked, order = (axis.ravel() for axis in np.indices(sizes))
        described = captions(digits, tones)
        described = np.where(order[:, None] == 0, described, np.roll(described, 2, axis=1))
        questions = np.array([question(kind) for kind in range(len(QUESTIONS))])[asked]
        texts = np.concatenate([described, questions, answers(digits, tones, asked)[:, None]], axis=1)
        texts = np.random.Generator(np.random.Philox(key=0)).permutation(texts)
        both = np.split(texts, [max(1, round(self.test_fraction * len(texts)))])
        test, train = (Split(torch.from_numpy(t[:, :-1].copy()), torch.from_numpy(t[:, 1:].copy())) for t in both)
        return assemble("descriptions", train, test, VOCABULARY)


def spectrograms(tones: Integers, noise: float, draw: np.random.Generator) -> NDArray[np.float64]:
    """Spectrograms (n, 16 frames, 16 bands) of a fundamental and an overtone half as strong, with noise.

    Each is a narrow peak. The amplitude varies from frame to frame, uniformly between 0.5 and 1.5. Tone k has its
    fundamental in band 1 + k.
    """
    bands = np.arange(BANDS)
    peaks = [np.exp(-((bands - centre) ** 2)) for centre in (1 + tones[:, None], 4 + 1.4 * tones[:, None])]
    loud = draw.uniform(0.5, 1.5, (len(tones), FRAMES, 1))
    return np.asarray(
        loud * (peaks[0] + peaks[1] / 2)[:, None] + noise * draw.standard_normal((len(tones), FRAMES, BANDS))
    )


def question(kind: int) -> list[int]:
    """The tokens of a question: "Q digit parity ?"."""
    return [CODE[word] for word in ("Q", *QUESTIONS[kind], "?")]


def captions(digits: Integers, tones: Integers) -> Integers:
    """Descriptions (n, 4): "digit seven tone so"."""
    words = np.full((len(digits), 4), CODE["digit"])
    words[:, 2] = CODE["tone"]
    words[:, 1], words[:, 3] = CODE[DIGITS[0]] + digits, CODE[TONES[0]] + tones
    return words


def answers(digits: Integers, tones: Integers, asked: Integers) -> Integers:
    """The tokens (n,) that answer questions `asked` about these digits and tones."""
    each = [
        CODE[DIGITS[0]] + digits,
        CODE[TONES[0]] + tones,
        CODE["even"] + digits % 2,
        CODE["low"] + (tones >= len(TONES) // 2),
        CODE["no"] + (digits % 2 == tones % 2),
    ]
    return np.choose(asked, each)
