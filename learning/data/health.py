"""Synthetic recordings of people whose state of health changes, by sensors of three kinds with noise and gaps."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import numpy as np
import torch
from annotated_types import Ge, Interval, MinLen
from numpy.typing import NDArray

from learning.data.dataset import Dataset, Split, assemble
from learning.data.modalities import Modalities

STATES = ("normal", "stress", "abnormal")
SENSORS = {"physiology": (16, 3), "face": (8, 8), "vehicle": (4, 4)}
"""Modality -> samples in a window, and channels."""
HIDDEN = 8
"""Nonlinear combinations of oscillation and trend from which a channel is mixed."""
SPREAD = 0.2
"""Standard deviation of amplitude and trend among windows of the same state."""
LEVEL_CHANGES = 0.05
"""Probability that the level of the noise of a sensor is drawn again in a window."""
TYPICAL = 3000
"""Windows from whose signals their mean and scale are taken."""

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Probability = Annotated[float, Interval(ge=0, le=1)]
Level = Annotated[float, Interval(ge=0, le=100)]


@dataclass(frozen=True)
class Health:
    """State of health (normal, stress, abnormal) of people by three kinds of sensors; made here, needs no files.

    Modalities: `physiology` (windows, 16 samples, 3 channels), `face` (windows, 8, 8) and `vehicle` (windows, 4, 4). A
    sample is a window with the `history` windows before, the oldest first; its label is the state in the last one.
    Samples of a person follow one another in time, and the people are the sources of samples.
    """

    train_windows: Annotated[int, Interval(ge=1, le=1_000_000)] = 400
    """Training samples of a person."""

    test_windows: Annotated[int, Interval(ge=1, le=1_000_000)] = 200
    """Test samples of a person, of another time than the training samples."""

    people: Annotated[int, Interval(ge=1, le=1_000_000)] = 10
    """Number of people, who share the law by which states show."""

    history: Annotated[int, Interval(ge=0, le=1000)] = 8
    """Windows before the present one in a sample."""

    stay: Probability = 0.95
    """Probability that the next window has the same state; otherwise it is one of the others, each as likely."""

    noise: Annotated[tuple[Level, ...], MinLen(1)] = (0.0, 0.5, 1.0, 2.0)
    """Standard deviations of the noise of a sensor, whose signal has 1. It is one of these for a while: the next window
    has another with probability 0.05, drawn for each modality by itself."""

    test_noise: Annotated[tuple[Level, ...], MinLen(1)] | None = None
    """The same for test samples (default: as in training)."""

    jump_rate: Probability = 0.05
    """Probability that a modality jumps in a window: an offset of `jump_size` on all its samples."""

    jump_size: Level = 3.0
    """Root mean square of the offset over channels; it has the same direction in all windows."""

    jumps: Literal["random", "changes"] = "random"
    """Whether windows jump at random, or all those in which the state changes, and no other."""

    missing: Probability = 0.0
    """Probability that a test sample lacks a modality, each by itself."""

    seed: Annotated[int, Ge(0)] = 0
    """Seed of the law and the samples; the scenario's seed has no influence."""

    def load(self, folder: Path | None, dtype: torch.dtype) -> Dataset:
        """Generate the samples; `folder` is ignored."""
        train, people = self._split(self.train_windows, self.noise, 0.0, 0, dtype)
        noise = self.noise if self.test_noise is None else self.test_noise
        test, test_people = self._split(self.test_windows, noise, self.missing, 1, dtype)
        return assemble("health", train, test, len(STATES), people, test_people)

    def _split(
        self, windows: int, noise: tuple[float, ...], missing: float, part: int, dtype: torch.dtype
    ) -> tuple[Split, torch.Tensor]:
        """Samples of all people, one person after another, and the person of each."""
        length = self.history + windows
        states = chains(self.people, length, self.stay, self._draw(part, "states"))
        rows = np.arange(windows)[:, None] + np.arange(self.history + 1)
        values, present = {}, {}
        for name, (samples, channels) in SENSORS.items():
            law = Law.drawn(self._draw(0, f"law of {name}"), samples, channels)
            recorded = law.windows(states, samples, self._draw(part, f"signal of {name}"))
            recorded += self._jumps(name, states, part)[:, :, None]
            recorded += noisy(recorded.shape, noise, self._draw(part, f"noise of {name}"))
            values[name] = torch.from_numpy(recorded[:, rows].reshape(-1, *rows.shape[1:], samples, channels)).to(dtype)
            there = self._draw(part, f"gaps of {name}").random(self.people * windows) >= missing
            present[name] = torch.from_numpy(there)
        labels = torch.from_numpy(states[:, self.history :].reshape(-1).copy())
        return Split(Modalities(values, present), labels), torch.arange(self.people).repeat_interleave(windows)

    def _jumps(self, name: str, states: Integers, part: int) -> Floats:
        """Offsets of a modality, (people, windows, channels): mostly zeros."""
        draw = self._draw(part, f"jumps of {name}")
        jumps = draw.random(states.shape) < self.jump_rate
        if self.jumps == "changes":
            jumps = np.diff(states, axis=1, prepend=states[:, :1]) != 0
        direction = self._draw(0, f"direction of {name}").standard_normal(SENSORS[name][1])
        direction *= self.jump_size * len(direction) ** 0.5 / np.linalg.norm(direction)
        return jumps[:, :, None] * direction

    def _draw(self, part: int, purpose: str) -> np.random.Generator:
        """Random numbers of their own for each purpose and split, so that no field moves those of another."""
        name = np.frombuffer(purpose.encode(), dtype=np.uint8)
        return np.random.default_rng([self.seed, part, *name.tolist()])


def chains(people: int, length: int, stay: float, draw: np.random.Generator) -> Integers:
    """Markov chains of states (people, length), each in equilibrium from its beginning."""
    states = np.empty((people, length), dtype=np.int64)
    states[:, 0] = draw.integers(len(STATES), size=people)
    moves = draw.random((people, length)) >= stay
    steps = draw.integers(1, len(STATES), size=(people, length))
    for window in range(1, length):
        states[:, window] = (states[:, window - 1] + moves[:, window] * steps[:, window]) % len(STATES)
    return states


def noisy(shape: tuple[int, ...], levels: tuple[float, ...], draw: np.random.Generator) -> Floats:
    """Gaussian noise (people, windows, samples, channels) whose level changes from time to time."""
    chosen = draw.integers(len(levels), size=shape[:2])
    changes = draw.random(shape[:2]) < LEVEL_CHANGES
    since = np.maximum.accumulate(np.where(changes, np.arange(shape[1]), 0), axis=1)
    level = np.array(levels)[np.take_along_axis(chosen, since, axis=1)]
    noise: Floats = level[:, :, None, None] * draw.standard_normal(shape)
    return noise


class Law(NamedTuple):
    """How states show in the channels of a modality."""

    frequency: Floats
    """Oscillations in a window, by state."""
    amplitude: Floats
    """Amplitude of the oscillation, by state."""
    trend: Floats
    """Change from the beginning to the end of a window, by state."""
    inward: Floats
    """Weights of oscillation, its derivative and trend in each hidden combination, (3, HIDDEN)."""
    bias: Floats
    """Offsets of the hidden combinations, (HIDDEN,)."""
    outward: Floats
    """Weights of the hidden combinations in each channel, (HIDDEN, channels)."""
    mean: Floats
    """Mean of each channel over states, (channels,)."""
    scale: float
    """Standard deviation of all channels."""

    @classmethod
    def drawn(cls, draw: np.random.Generator, samples: int, channels: int) -> Law:
        """A random law, for windows of so many samples."""
        law = cls(
            draw.uniform(0.5, 2.0, len(STATES)),
            draw.uniform(0.5, 1.5, len(STATES)),
            draw.uniform(-1.0, 1.0, len(STATES)),
            draw.standard_normal((3, HIDDEN)),
            draw.standard_normal(HIDDEN),
            draw.standard_normal((HIDDEN, channels)),
            np.zeros(channels),
            1.0,
        )
        typical = law.windows(np.arange(TYPICAL)[None] % len(STATES), samples, draw)
        mean = typical.mean(axis=(0, 1, 2))
        return law._replace(mean=mean, scale=float((typical - mean).std()))

    def windows(self, states: Integers, samples: int, draw: np.random.Generator) -> Floats:
        """Signals without noise (people, windows, samples, channels), of standard deviation 1."""
        time = np.arange(samples) / samples
        phase = 2 * np.pi * (self.frequency[states][..., None] * time + draw.random(states.shape)[..., None])
        amplitude = (self.amplitude[states] * np.exp(SPREAD * draw.standard_normal(states.shape)))[..., None]
        trend = (self.trend[states] + SPREAD * draw.standard_normal(states.shape))[..., None] * time
        moving = np.stack([amplitude * np.sin(phase), amplitude * np.cos(phase), trend], axis=-1)
        signals: Floats = np.tanh(moving @ self.inward + self.bias) @ self.outward
        return (signals - self.mean) / self.scale
