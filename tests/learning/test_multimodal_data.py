"""Data sets of several modalities: answers follow from what is shown, modalities belong together, users hold some."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import RidgeClassifier

from learning.data import (
    AudioVisualQuestions,
    Descriptions,
    Digits,
    Holding,
    MissingData,
    PhoneWatch,
    SpokenDigits,
    Tones,
)
from learning.data.audio_visual_questions import BANDS, DIGITS, FRAMES, TONES, WORDS, spectrograms
from learning.data.dataset import Split
from learning.data.spoken_digits import spectrogram

REAL = os.environ.get("NETSIM_DATA")
needs_real_data = pytest.mark.skipif(REAL is None, reason="NETSIM_DATA names no folder with the real data sets")


def words(tokens: torch.Tensor) -> list[str]:
    return [WORDS[token] for token in tokens.tolist()]


def answer(described: list[str], asked: list[str]) -> str:
    """The answer to a question in words, from a caption in words: reasoning of its own."""
    said = dict(zip(described[::2], described[1::2], strict=True))
    digit, tone = DIGITS.index(said["digit"]), TONES.index(said["tone"])
    assert asked[0] == "Q"
    assert asked[-1] == "?"
    match asked[1:3]:
        case ["both", "parity"]:
            return "no" if (digit + tone) % 2 else "yes"
        case ["digit", "parity"]:
            return "odd" if digit % 2 else "even"
        case ["tone", "height"]:
            return "low" if said["tone"] in ("do", "re", "mi", "fa") else "high"
        case [what, "name"]:
            return said[what]
        case _:
            raise AssertionError(asked)


@pytest.mark.parametrize("part", ["train", "test"])
def test_answers_follow_from_captions_and_questions(part: str) -> None:
    split: Split = getattr(AudioVisualQuestions(300, 200).load(None, torch.float32), part)
    caption, text = split.x.values["caption"], split.x.values["text"]
    for described, asked, label in zip(caption, text, split.y, strict=True):
        assert WORDS[int(label)] == answer(words(described), words(asked))
    assert len({tuple(row) for row in text.tolist()}) == 5


def test_captions_tell_what_is_shown_and_heard() -> None:
    """Each image is one of the digits data set with the caption's label; each spectrogram peaks at its tone's band."""
    split = AudioVisualQuestions(60, 20, noise=0.0).load(None, torch.float64).train
    digits = Digits().load(None, torch.float64).train
    for image, tone, caption in zip(*(split.x.values[name] for name in ("image", "tone", "caption")), strict=True):
        same = (digits.x == image).flatten(1).all(1)
        assert {DIGITS[int(label)] for label in digits.y[same]} == {words(caption)[1]}
        assert (tone.argmax(1) == 1 + TONES.index(words(caption)[3])).all()


def test_the_seed_of_the_data_makes_them_and_training_images_are_not_tested() -> None:
    one, again, other = (AudioVisualQuestions(50, 20, seed=seed).load(None, torch.float32) for seed in (0, 0, 1))
    assert one.fingerprint == again.fingerprint != other.fingerprint
    seen = {image.numpy().tobytes() for image in one.train.x.values["image"]}
    assert not any(image.numpy().tobytes() in seen for image in one.test.x.values["image"])


def test_noise_of_spectrograms_has_the_stated_deviation() -> None:
    """Of 100 x 256 values; the deviation's own standard error is sigma / sqrt(2 n): five of them."""
    tones = np.arange(100) % 8
    clean, noisy = (spectrograms(tones, noise, np.random.Generator(np.random.Philox(key=3))) for noise in (0.0, 0.7))
    n = 100 * FRAMES * BANDS
    assert abs((noisy - clean).std() - 0.7) < 5 * 0.7 / np.sqrt(2 * n)


def test_all_texts_are_different_and_true() -> None:
    dataset = Descriptions().load(None, torch.float32)
    texts = [torch.cat([split.x, split.y[:, -1:]], 1) for split in (dataset.train, dataset.test)]
    rows = torch.cat(texts).tolist()
    assert len({tuple(row) for row in rows}) == len(rows) == 10 * 8 * 5 * 2
    for split in (dataset.train, dataset.test):
        assert torch.equal(split.x[:, 1:], split.y[:, :-1])
        for x, y in zip(split.x, split.y, strict=True):
            assert WORDS[int(y[-1])] == answer(words(x[:4]), words(x[4:]))


def test_tones_can_be_told_apart() -> None:
    """A linear classifier on the spectrograms, which are those of the questions."""
    dataset = Tones(400, 200).load(None, torch.float64)
    x, x_test = (split.x.flatten(1).numpy() for split in (dataset.train, dataset.test))
    model = RidgeClassifier().fit(x, dataset.train.y.numpy())
    assert model.score(x_test, dataset.test.y.numpy()) > 0.9


def test_a_tone_has_its_peak_where_fourier_puts_it() -> None:
    """1 kHz at 8 kHz, windows of 200 samples: line 25 of 100, which is in band 7 of 32."""
    sound = np.sin(2 * np.pi * 1000 * np.arange(4000) / 8000)
    found = spectrogram(sound, 10)
    assert found.shape == (10, 32)
    bands = np.array_split(np.arange(1, 101), 32)
    assert 25 in bands[int(found.mean(0).argmax())]
    assert abs(found.mean()) < 1e-9
    assert abs(found.std() - 1) < 1e-9


@needs_real_data
def test_spoken_and_written_digits_belong_together() -> None:
    """A linear classifier tells the digit by each modality, and better by both."""
    dataset = SpokenDigits().load(Path(str(REAL)), torch.float32)
    assert (len(dataset.train.y), len(dataset.test.y)) == (2700, 300)
    assert dataset.modalities == {"image": (1, 28, 28), "audio": (32, 32)}
    assert dataset.groups is not None
    assert len(dataset.groups.unique()) == 6
    arrays = {
        name: [split.x.values[name].flatten(1).numpy() for split in (dataset.train, dataset.test)]
        for name in ("image", "audio")
    }
    scores = {}
    for held in (("image",), ("audio",), ("image", "audio")):
        x, x_test = (np.concatenate([arrays[name][part] for name in held], 1) for part in (0, 1))
        model = RidgeClassifier(alpha=300.0).fit(x, dataset.train.y.numpy())
        scores[held] = model.score(x_test, dataset.test.y.numpy())
    assert min(scores.values()) > 0.75
    assert scores["image", "audio"] > max(scores["image",], scores["audio",]) + 0.03


@needs_real_data
def test_people_of_the_test_set_are_strangers() -> None:
    dataset = PhoneWatch().load(Path(str(REAL)), torch.float32)
    assert dataset.modalities == {"phone": (50, 6), "watch": (50, 6)}
    assert dataset.groups is not None
    assert dataset.test_groups is not None
    assert (set(dataset.groups.tolist()), set(dataset.test_groups.tolist())) == (set(range(17)), set(range(17, 23)))
    acceleration = dataset.train.x.values["phone"][:, :, :3].norm(dim=2)
    assert abs(float(acceleration.mean()) - 1) < 0.1  # gravity


@pytest.mark.parametrize("loader", [SpokenDigits(), PhoneWatch()])
def test_missing_files_are_named(loader: SpokenDigits | PhoneWatch, tmp_path: Path) -> None:
    with pytest.raises(MissingData, match="is missing: there is no"):
        loader.load(tmp_path, torch.float32)


@pytest.mark.parametrize("loader", [SpokenDigits(), PhoneWatch()])
def test_damaged_files_are_named(loader: SpokenDigits | PhoneWatch, tmp_path: Path) -> None:
    for name in ("digits_audio_image.npz", "har_phone_watch.parquet"):
        (tmp_path / name).write_bytes(b"PK nothing")
    with pytest.raises(ValueError, match="is damaged or not what its name says"):
        loader.load(tmp_path, torch.float32)


# ---------------------------------------------------------------- who holds what


def test_users_take_sets_in_turn() -> None:
    shared, own = Holding((("text",), ("image", "tone"))), Holding((("text",), ("image", "tone")), "own")
    assert [shared.modalities(user) for user in range(4)] == [("text",), ("image", "tone")] * 2
    assert [shared.team(user) for user in range(4)] == [0, 0, 2, 2]
    assert [shared.share(user) for user in range(4)] == [0, 0, 1, 1]
    assert [own.team(user) for user in range(4)] == [own.share(user) for user in range(4)] == [0, 1, 2, 3]
    assert (shared.shares(4), own.shares(5)) == (2, 5)
    with pytest.raises(ValueError, match="5 users do not make teams of 2"):
        shared.shares(5)
    with pytest.raises(ValueError, match="users are to hold tone, but some has the modalities text, image"):
        shared.check(["text", "image"], "some")
