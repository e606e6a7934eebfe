"""Data sets of torchvision by the names of their classes: of the library itself, and of classes that look like its."""

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from learning.data.dataset import MissingData
from learning.data.own.torchvision import TorchVision

GENERATOR = np.random.Generator(np.random.Philox(key=1))


@pytest.mark.filterwarnings("ignore")  # of the library, which need not be installed
def test_data_sets_of_torchvision_are_read_from_their_files(tmp_path: Path) -> None:
    pytest.importorskip("torchvision", exc_type=ImportError)
    pixels = GENERATOR.integers(0, 256, (20, 28, 28), dtype=np.uint8)
    for part in ("train", "t10k"):
        for kind, values in (("images-idx3", pixels), ("labels-idx1", np.arange(20, dtype=np.uint8) % 10)):
            header = np.array([0x800 + values.ndim, *values.shape], dtype=">u4").tobytes()
            file = tmp_path / "FashionMNIST" / "raw" / f"{part}-{kind}-ubyte"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(header + values.tobytes())
    made = TorchVision("FashionMNIST", str(tmp_path)).load(None, torch.float32)
    np.testing.assert_allclose(made.train.x.numpy(), pixels[:, None] / 255, rtol=1e-6)
    assert made.names[:2] == ("T-shirt/top", "Trouser")
    with pytest.raises(MissingData, match="torchvision finds no MNIST in"):
        TorchVision("MNIST", str(tmp_path)).load(None, torch.float32)
    with pytest.raises(ValueError, match=r"torchvision\.datasets has no class NIST"):
        TorchVision("NIST", str(tmp_path)).load(None, torch.float32)


class Images(list):
    """A data set of images as torchvision makes one: of the folder of its files."""

    classes = ("cat", "dog")

    def __init__(self, root: str, first: int = 0) -> None:
        colours = range(first, first + 10)
        super().__init__((Image.new("RGB", (4, 4), (colour, 0, 0)), colour % 2) for colour in colours)


class Trained(Images):
    def __init__(self, root: str, train: bool = True) -> None:
        super().__init__(root, 0 if train else 100)


class Split(Images):
    def __init__(self, root: str, split: str = "train") -> None:
        super().__init__(root, {"train": 0, "test": 100}[split])


class Edition(Images):
    def __init__(self, root: str, edition: int) -> None:
        super().__init__(root, edition)


class Odd(Images):
    def __init__(self, root: str, split: str) -> None:
        raise ValueError("digits and letters are its splits")


class Absent(Images):
    def __init__(self, root: str) -> None:
        raise FileNotFoundError("absent.bz2")


class Drawn(Images):
    def __init__(self, size: int = 10) -> None:
        super().__init__("", size)


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> None:
    """What torchvision's classes look like, since its releases need that of torch with CUDA."""
    kinds = {kind.__name__: kind for kind in (Images, Trained, Split, Edition, Odd, Absent, Drawn)}
    monkeypatch.setitem(sys.modules, "torchvision.datasets", SimpleNamespace(**kinds))


@pytest.mark.parametrize("kind", ["Trained", "Split"])
def test_a_class_of_torchvision_is_asked_for_both_sets(kind: str, tmp_path: Path, library: None) -> None:
    made = TorchVision(kind, str(tmp_path)).load(None, torch.float32)
    for part, first in ((made.train, 0), (made.test, 100)):
        reds = (part.x[:, 0, 0, 0] * 255).round().int().tolist()
        assert sorted(reds) == list(range(first, first + 10))
    assert made.names == ("cat", "dog")


def test_of_a_class_with_one_set_some_samples_are_held_out(tmp_path: Path, library: None) -> None:
    made = TorchVision("Images", str(tmp_path)).load(None, torch.float32)
    assert (len(made.train.y), len(made.test.y)) == (8, 2)


@pytest.mark.parametrize(
    ("kind", "problem", "message"),
    [
        ("Edition", ValueError, r"Edition cannot be made of a folder alone \(.*edition.*\); make it in Python"),
        ("Odd", ValueError, r"Odd cannot be made of a folder alone \(digits and letters are its splits\)"),
        ("Drawn", ValueError, r"Drawn cannot be made of a folder alone \(it has no argument root\)"),
        ("Absent", MissingData, r"torchvision finds no Absent in .* \(absent\.bz2\); download it with"),
    ],
)
def test_classes_of_torchvision_that_need_more_are_refused(
    kind: str, problem: type[Exception], message: str, tmp_path: Path, library: None
) -> None:
    with pytest.raises(problem, match=message):
        TorchVision(kind, str(tmp_path)).load(None, torch.float32)
