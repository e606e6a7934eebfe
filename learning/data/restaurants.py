"""Synthetic descriptions of restaurants from templates, by town; needs no file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import torch
from annotated_types import Ge, Interval

from learning.data.dataset import Dataset
from learning.data.windows import of_texts

ALPHABET = " .abcdefghijklmnopqrstuvwxyz"
CONSONANTS, VOWELS = "bdfgklmnprstvz", "aeiou"
TEMPLATES = (
    "the {name} is a {price} {food} place near the {landmark}.",
    "near the {landmark} you find {food} food in the {name}. it is {price}.",
    "{food} food is served by the {name} which has a {rating} rating.",
    "the {name} in the {area} has a {rating} rating.",
    "it is {price} to eat {food} dishes at the {name} in the {area}.",
    "guests of the {name} near the {landmark} give it a {rating} rating.",
)


class Restaurant(NamedTuple):
    """The attributes of a restaurant."""

    name: str
    food: str
    landmark: str
    price: str
    area: str
    rating: str


@dataclass(frozen=True)
class Restaurants:
    """Next-character prediction on synthetic descriptions of restaurants; each town (a possible user) has its own."""

    # In the manner of the E2E NLG challenge (Novikova et al., arXiv 1706.09254). Sentences are alike everywhere; names,
    # dishes and landmarks are the town's own, so that a town whose text was never seen is badly predicted.

    length: Annotated[int, Interval(ge=1, le=1_000_000)] = 64
    """Characters per sample."""

    towns: Annotated[int, Interval(ge=1, le=1_000_000)] = 10
    """Number of towns."""

    first: Annotated[int, Ge(0)] = 0
    """Number of the first town; a town with a given number is the same in all data sets."""

    restaurants: Annotated[int, Interval(ge=1, le=1_000_000)] = 8
    """Restaurants per town."""

    sentences: Annotated[int, Interval(ge=1, le=1_000_000)] = 600
    """Sentences per town."""

    test_fraction: Annotated[float, Interval(gt=0, lt=1)] = 0.1
    """Fraction of each town's windows that is used for testing: its last ones, at least one."""

    train_samples: Annotated[int, Ge(1)] | None = None
    """Use only this many training windows, in proportion to the towns (default: all)."""

    test_samples: Annotated[int, Ge(1)] | None = None
    """Use only this many test windows, in proportion to the towns (default: all)."""

    def load(self, folder: Path | None, dtype: torch.dtype) -> Dataset:
        """Generate the texts; `folder` is ignored. Raises ValueError if they are shorter than two windows."""
        texts = [self.text(town) for town in range(self.first, self.first + self.towns)]
        samples = self.train_samples, self.test_samples
        return of_texts("restaurants", texts, ALPHABET, self.length, self.test_fraction, *samples)

    def text(self, town: int) -> str:
        """Text of a town: a sequence of sentences, each about one of its restaurants."""
        draw = np.random.Generator(np.random.Philox(key=town))  # text as a file would hold it, whatever the run's seed
        foods, landmarks = [_word(draw, 2) for _ in range(3)], [_word(draw, 3) for _ in range(3)]
        known = [
            Restaurant(
                _word(draw, 3),
                str(draw.choice(foods)),
                str(draw.choice(landmarks)),
                str(draw.choice(["cheap", "moderate", "expensive"])),
                str(draw.choice(["centre", "north", "harbour"])),
                str(draw.choice(["low", "fair", "high"])),
            )
            for _ in range(self.restaurants)
        ]
        templates, about = (draw.integers(len(of), size=self.sentences) for of in (TEMPLATES, known))
        return " ".join(
            TEMPLATES[template].format(**known[one]._asdict()) for template, one in zip(templates, about, strict=True)
        )


def _word(draw: np.random.Generator, syllables: int) -> str:
    """A pronounceable word."""
    return "".join(str(draw.choice(list(letters))) for _ in range(syllables) for letters in (CONSONANTS, VOWELS))
