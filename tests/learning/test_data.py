"""Data sets, rows and mini-batches."""

import gzip
import os
import pickle
from dataclasses import is_dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from named_streams import NamedStreams
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader

from learning import data
from learning.data import DATASETS, Batches, Cifar10, Digits, FashionMnist, MissingData, Rows, Split
from learning.data.dataset import Dataset, assemble
from learning.data.fashion_mnist import read_idx
from learning.data.selection import balanced_order

STREAMS = NamedStreams(4)
REAL = os.environ.get("NETSIM_DATA")
needs_real_data = pytest.mark.skipif(REAL is None, reason="NETSIM_DATA names no folder with the real data sets")


@pytest.fixture(scope="module")
def digits():
    return Digits().load(None, torch.float32)


def test_a_scenario_can_name_every_data_set():
    loaders = {part for part in vars(data).values() if hasattr(part, "load") and is_dataclass(part)}
    assert loaders == set(DATASETS.values())


# ---------------------------------------------------------------- digits


def test_digits_are_those_of_scikit_learn_each_once(digits):
    source = load_digits()
    original = {
        (tuple(image.ravel().astype(int)), label) for image, label in zip(source.images, source.target, strict=True)
    }
    x, y = torch.cat([digits.train.x, digits.test.x]), torch.cat([digits.train.y, digits.test.y])
    pixels = ((x.double() * 0.3760 + 0.3053) * 16).round().long().flatten(1)
    assert {(tuple(row), label) for row, label in zip(pixels.tolist(), y.tolist(), strict=True)} == original
    assert (len(digits.train.y), len(digits.test.y)) == (1797 - 359, 359)
    assert (digits.input_shape, digits.classes, digits.train.y.dtype) == ((1, 8, 8), 10, torch.int64)


def test_digits_are_normalised(digits):
    x = torch.cat([digits.train.x, digits.test.x]).double()
    assert x.mean().abs() < 2e-4  # the constants have four digits
    assert x.std() == pytest.approx(1, abs=2e-4)


def test_the_test_split_is_stratified(digits):
    share = len(digits.test.y) / 1797
    counts = torch.bincount(torch.cat([digits.train.y, digits.test.y]))
    assert ((torch.bincount(digits.test.y) - share * counts).abs() <= 1).all()


def test_every_prefix_of_a_balanced_order_is_balanced():
    labels = np.repeat(np.arange(4), [10, 20, 30, 40])
    order = balanced_order(labels, "name")
    assert np.array_equal(np.sort(order), np.arange(100))
    counts = np.cumsum(np.eye(4)[labels[order]], axis=0)
    shares = np.outer(np.arange(1, 101), [0.1, 0.2, 0.3, 0.4])
    assert np.abs(counts - shares).max() <= 1
    assert not np.array_equal(order, balanced_order(labels, "other name"))


def test_the_fingerprint_is_that_of_the_content(digits):
    assert Digits().load(None, torch.float32).fingerprint == digits.fingerprint
    others = [
        Digits().load(None, torch.float64),
        Digits(test_fraction=0.3).load(None, torch.float32),
        Digits(train_samples=100).load(None, torch.float32),
    ]
    assert len({digits.fingerprint, *(other.fingerprint for other in others)}) == 4
    train, test = digits.train, digits.test
    tall = assemble("digits", Split(train.x.reshape(-1, 1, 16, 4), train.y), test, 10)
    assert tall.fingerprint != digits.fingerprint  # the same bytes in another shape


def test_subsets_are_balanced_and_of_the_size_asked_for():
    small = Digits(train_samples=100, test_samples=50).load(None, torch.float64)
    assert torch.bincount(small.train.y).tolist() == pytest.approx([10] * 10, abs=1)
    assert len(small.test.y) == 50
    assert small.train.x.dtype == torch.float64
    assert len(Digits(train_samples=10**6).load(None, torch.float32).train.y) == 1438


# ---------------------------------------------------------------- files


def write_idx(path, values, pack):
    header = np.array([0x800 + values.ndim, *values.shape], dtype=">u4").tobytes()
    content = header + values.astype(np.uint8).tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(content) if pack else content)


def fake_fashion(folder, pack=True):
    pixels = {"train": np.arange(20 * 784).reshape(20, 28, 28) % 256, "t10k": np.full((10, 28, 28), 7)}
    for part, values in pixels.items():
        suffix = ".gz" if pack else ""
        write_idx(folder / f"{part}-images-idx3-ubyte{suffix}", values, pack)
        write_idx(folder / f"{part}-labels-idx1-ubyte{suffix}", np.arange(len(values)) % 10, pack)
    return pixels


@pytest.mark.parametrize(("place", "pack"), [("fashion_mnist", True), ("FashionMNIST/raw", False), (".", True)])
def test_fashion_mnist_is_read_from_idx_files(tmp_path, place, pack):
    pixels = fake_fashion(tmp_path / place, pack)
    loaded = FashionMnist().load(tmp_path, torch.float64)
    expected = (pixels["train"][:, None] / 255 - 0.2860) / 0.3530
    np.testing.assert_allclose(loaded.train.x.numpy(), expected, rtol=1e-12)
    assert loaded.test.y.tolist() == list(range(10))
    assert loaded.input_shape == (1, 28, 28)
    inverted = FashionMnist(inverted=1.0).load(tmp_path, torch.float64)
    np.testing.assert_allclose(inverted.train.x.numpy(), ((255.0 - pixels["train"][:, None]) / 255 - 0.2860) / 0.3530)
    assert inverted.groups.tolist() == (loaded.train.y + 10).tolist()
    wide = FashionMnist(canvas=42).load(tmp_path, torch.float64)
    few = FashionMnist(canvas=42, train_samples=10, classes=(3, 4)).load(tmp_path, torch.float64)
    assert wide.input_shape == (1, 42, 42)
    assert torch.equal(
        few.train.x.sort(0).values, wide.train.x[(wide.train.y == 3) | (wide.train.y == 4)].sort(0).values
    )


def fake_cifar(folder):
    folder = folder / "cifar-10-batches-py"
    folder.mkdir()
    generator = np.random.Generator(np.random.Philox(key=1))
    batches = {}
    for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
        pixels = generator.integers(0, 256, (10, 3072), dtype=np.uint8)
        batches[name] = {
            b"batch_label": b"x",
            b"labels": list(range(10)),
            b"data": pixels,
            b"filenames": [b"a.png"] * 10,
        }
        (folder / name).write_bytes(pickle.dumps(batches[name], protocol=4))
    return folder, batches


def test_cifar10_is_read_from_the_official_batches(tmp_path):
    _, batches = fake_cifar(tmp_path)
    loaded = Cifar10().load(tmp_path, torch.float64)
    third = batches["data_batch_3"][b"data"].reshape(10, 3, 32, 32) / 255
    expected = (third - np.reshape([0.4914, 0.4822, 0.4465], (3, 1, 1))) / np.reshape(
        [0.2470, 0.2435, 0.2616], (3, 1, 1)
    )
    np.testing.assert_allclose(loaded.train.x[20:30].numpy(), expected, rtol=1e-10, atol=1e-12)
    assert (len(loaded.train.y), loaded.test.y.tolist()) == (50, list(range(10)))


class Malicious:
    def __reduce__(self):
        return os.system, ("echo run > /dev/null",)


@pytest.mark.parametrize(
    "content",
    [
        pickle.dumps({b"data": Malicious(), b"labels": []}),
        pickle.dumps({b"data": np.array([Malicious()], dtype=object), b"labels": []}),
        pickle.dumps([1, 2]),
        pickle.dumps({b"data": np.zeros((2, 5)), b"labels": [0, 1]}),
        b"not a pickle",
        b"",
    ],
)
def test_a_batch_that_is_damaged_or_runs_code_is_refused_in_one_sentence(tmp_path, content):
    folder, _ = fake_cifar(tmp_path)
    (folder / "data_batch_2").write_bytes(content)
    with pytest.raises(
        ValueError, match=r"data_batch_2 is damaged or not what its name says .*; fetch it again"
    ) as caught:
        Cifar10().load(tmp_path, torch.float32)
    assert "\n" not in str(caught.value)


def test_the_npz_is_read_where_there_are_no_batches(tmp_path):
    pixels = np.arange(12 * 32 * 32 * 3).reshape(12, 32, 32, 3).astype(np.uint8)
    labels = np.arange(12, dtype=np.uint8) % 10
    np.savez(tmp_path / "cifar10_20k.npz", x_train=pixels, y_train=labels, x_test=pixels[:3], y_test=labels[:3])
    loaded = Cifar10().load(tmp_path, torch.float64)
    assert loaded.train.x[5, 2, 3, 4] == pytest.approx((pixels[5, 3, 4, 2] / 255 - 0.4465) / 0.2616)
    assert (loaded.test.y.tolist(), loaded.input_shape) == ([0, 1, 2], (3, 32, 32))


@pytest.mark.parametrize(("crop", "rows"), [(16, slice(8, 24)), (5, slice(13, 18)), (32, slice(0, 32))])
def test_the_middle_of_each_image_of_cifar10_is_kept(tmp_path: Path, crop: int, rows: slice) -> None:
    fake_cifar(tmp_path)
    whole, cropped = (Cifar10(test_samples=7, crop=size).load(tmp_path, torch.float32) for size in (None, crop))
    for split, full in ((cropped.train, whole.train), (cropped.test, whole.test)):
        assert torch.equal(split.x, full.x[:, :, rows, rows])
        assert torch.equal(split.y, full.y)
    assert cropped.input_shape == (3, crop, crop)


@pytest.mark.parametrize("content", [b"not a zip", b""])
def test_a_damaged_npz_is_refused(tmp_path, content):
    (tmp_path / "cifar10_20k.npz").write_bytes(content)
    with pytest.raises(ValueError, match=r"cifar10_20k\.npz is damaged"):
        Cifar10().load(tmp_path, torch.float32)


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"x_train": np.zeros((12, 3, 32, 32), dtype=np.uint8)}, r"images of uint8 \(12, 32, 3, 32\)"),
        ({"x_test": np.zeros((12, 16, 16, 3), dtype=np.uint8)}, r"images of uint8 \(12, 3, 16, 16\)"),
        ({"x_train": np.full((12, 32, 32, 3), 1000)}, r"images of int64"),
        ({"y_train": np.full(12, np.nan)}, r"labels of float64 \(12,\)"),
        ({"y_test": np.zeros((12, 2), dtype=np.uint8)}, r"labels of uint8 \(12, 2\)"),
    ],
)
def test_an_npz_of_other_shapes_or_numbers_is_refused(
    tmp_path: Path, change: dict[str, np.ndarray], found: str
) -> None:
    pixels, labels = np.zeros((12, 32, 32, 3), dtype=np.uint8), np.zeros(12, dtype=np.uint8)
    arrays = {"x_train": pixels, "y_train": labels, "x_test": pixels, "y_test": labels} | change
    np.savez(tmp_path / "cifar10_20k.npz", **arrays)
    with pytest.raises(ValueError, match=rf"cifar10_20k\.npz is damaged: it has .*{found}"):
        Cifar10().load(tmp_path, torch.float32)


@pytest.mark.parametrize("labels", [11, 13])
def test_an_npz_with_fewer_or_more_labels_than_images_is_refused(tmp_path, labels):
    pixels = np.zeros((12, 32, 32, 3), dtype=np.uint8)
    few = np.zeros(labels, dtype=np.uint8)
    np.savez(tmp_path / "cifar10_20k.npz", x_train=pixels, y_train=few, x_test=pixels, y_test=few)
    with pytest.raises(ValueError, match=rf"cifar10_20k\.npz is damaged: it has 12 samples and {labels} labels"):
        Cifar10().load(tmp_path, torch.float32)


@pytest.mark.parametrize("more", [-1, 1])
def test_idx_files_of_different_lengths_are_refused(tmp_path, more):
    fake_fashion(tmp_path)
    path = tmp_path / "train-labels-idx1-ubyte.gz"
    count = len(read_idx(path, 1)) + more
    path.write_bytes(gzip.compress(np.array([0x801, count], dtype=">u4").tobytes() + bytes(count)))
    with pytest.raises(ValueError, match=rf"fashion_mnist train is damaged: it has \d+ samples and {count} labels"):
        FashionMnist().load(tmp_path, torch.float32)


def test_what_no_training_can_use_is_refused():
    x, y = np.zeros((4, 3), dtype=np.float32), np.array([0, 1, 0, 1])
    spoilt = x.copy()
    spoilt[2, 1] = np.nan
    for part, message in (
        ((spoilt, y), "x of the training set of made has values that are not finite"),
        ((np.full_like(x, np.inf), y), "not finite"),
        ((x, y + 1), "the labels of the training set of made go from 1 to 2; 0 to 1 are allowed"),
        ((x, y - 1), "go from -1 to 0"),
        ((x[:3], y), "x of the training set of made has 3 rows, but there are 4 labels"),
        ((x[:0], y[:0]), "the training set of made has no samples"),
    ):
        with pytest.raises(ValueError, match=message):
            Dataset.from_splits("made", part, (x, y), 2)
        with pytest.raises(ValueError, match=message.replace("training", "test")):
            Dataset.from_splits("made", (x, y), part, 2)


def test_damaged_idx_files_are_refused(tmp_path):
    fake_fashion(tmp_path)
    path = tmp_path / "train-images-idx3-ubyte.gz"
    whole = path.read_bytes()
    labels = (tmp_path / "train-labels-idx1-ubyte.gz").read_bytes()
    short = gzip.compress(gzip.decompress(whole)[:-1])
    for content in (whole[:-20], b"not packed", b"", labels, short, gzip.compress(b"abc")):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"train-images-idx3-ubyte\.gz is damaged"):
            FashionMnist().load(tmp_path, torch.float32)


@pytest.mark.parametrize(("source", "advice"), [(FashionMnist(), "fashion-mnist"), (Cifar10(), "cs.toronto.edu")])
def test_missing_data_say_what_where_and_how_in_one_sentence(tmp_path, source, advice):
    with pytest.raises(MissingData, match=advice) as caught:
        source.load(tmp_path, torch.float32)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(MissingData, match="no data folder is given"):
        source.load(None, torch.float32)


def test_a_missing_batch_is_named(tmp_path):
    folder, _ = fake_cifar(tmp_path)
    (folder / "data_batch_4").unlink()
    with pytest.raises(MissingData, match="there is no data_batch_4"):
        Cifar10().load(tmp_path, torch.float32)


@needs_real_data
@pytest.mark.parametrize(
    ("source", "train", "test"),
    [(FashionMnist(), 60_000, 10_000), (Cifar10(), None, None), (FashionMnist(12_000, 2_000), 12_000, 2_000)],
)
def test_the_real_sets_have_their_published_sizes_and_moments(source, train, test):
    loaded = source.load(Path(REAL), torch.float32)
    if train is not None:
        assert (len(loaded.train.y), len(loaded.test.y)) == (train, test)
    moments = torch.std_mean(loaded.train.x, dim=(0, 2, 3))
    assert moments[0].tolist() == pytest.approx([1] * len(moments[0]), abs=0.01)
    assert moments[1].tolist() == pytest.approx([0] * len(moments[1]), abs=0.01)
    assert torch.bincount(loaded.train.y).tolist() == [len(loaded.train.y) // 10] * 10


# ---------------------------------------------------------------- rows and mini-batches


def test_rows_are_gathered_in_any_shape(digits):
    indices = np.array([[3, 1, 4], [1, 5, 9]])
    rows = Rows(digits, "test", "x", indices)
    assert torch.equal(rows.tensor(), digits.test.x[torch.from_numpy(indices)])
    for field in ("x", "y"):
        leaf = Rows(digits, "train", field, indices)
        assert (leaf.meta.shape, leaf.meta.dtype, leaf.meta.is_meta) == (leaf.tensor().shape, leaf.tensor().dtype, True)


def test_rows_are_equal_by_content(digits):
    indices = np.array([1, 2, 3, 4])
    rows = Rows(digits, "train", "x", indices)
    again = Rows(Digits().load(None, torch.float32), "train", "x", indices.copy())
    assert rows == again
    assert hash(rows) == hash(again)
    others = [
        Rows(digits, "test", "x", indices),
        Rows(digits, "train", "y", indices),
        Rows(digits, "train", "x", indices[::-1].copy()),
        Rows(digits, "train", "x", indices.reshape(2, 2)),
        Rows(Digits(test_fraction=0.5).load(None, torch.float32), "train", "x", indices),
    ]
    assert all(rows != other for other in others)


MINE = np.array([5, 17, 23, 101, 102, 600, 601])


def shuffled(epoch):
    return MINE[STREAMS.generator("shuffle", 9, epoch).permutation(7)]


def dealt(size, last, epochs):
    """Rows of mini-batches: torch's own DataLoader over each shuffled epoch; or all epochs in one row, cut."""
    if last == "wrap":
        row = np.concatenate([shuffled(epoch) for epoch in range(epochs)])
        return [row[start : start + size] for start in range(0, len(row) - size + 1, size)]
    loaders = [DataLoader(shuffled(epoch), size, drop_last=last == "drop") for epoch in range(epochs)]
    return [batch.numpy() for loader in loaders for batch in loader]


@pytest.mark.parametrize("last", ["keep", "drop", "wrap"])
@pytest.mark.parametrize("size", [1, 2, 3, 6, 7, 20])
def test_mini_batches_are_those_of_torch(digits, size, last):
    if last == "drop" and size > 7:
        with pytest.raises(ValueError, match="user 9 has 7 samples, fewer than a mini-batch of 20"):
            Batches(digits, MINE, 9, STREAMS, size, last)
        return
    batches, expected = Batches(digits, MINE, 9, STREAMS, size, last), dealt(size, last, 12)
    for position in (3, 0, 2, 1, 3):  # in no order, and one twice
        x, y = batches.at(position)
        assert np.array_equal(x.indices, expected[position])
        assert torch.equal(x.tensor(), digits.train.x[torch.from_numpy(expected[position])])
        assert torch.equal(y.tensor(), digits.train.y[torch.from_numpy(expected[position])])
    assert batches.samples == 7
    assert batches.sizes(range(4)) == [len(batch) for batch in expected[:4]]
    assert batches.largest == max(map(len, expected))
    assert batches.per_epoch == len(dealt(size, last, 1)) + (last == "wrap" and 7 % size > 0)


def test_rows_of_a_mini_batch_are_drawn_when_they_are_read(digits, monkeypatch):
    """A dry run, which needs their shapes alone, draws none."""
    epochs, generator = [], NamedStreams.generator
    monkeypatch.setattr(NamedStreams, "generator", lambda self, *name: (epochs.append(name), generator(self, *name))[1])
    batches = Batches(digits, MINE, 9, STREAMS, 3)
    (x, y), (stacks, _) = batches.at(1), batches.stack(range(4))
    assert (tuple(x.meta.shape[:1]), tuple(y.meta.shape)) == ((3,), (3,))
    assert [tuple(stack.meta.shape[:2]) for stack in stacks] == [(2, 3), (1, 1), (1, 3)]
    assert epochs == []
    x.tensor(), y.tensor()
    assert epochs == [("shuffle", 9, 0)]


@pytest.mark.parametrize("last", ["keep", "drop", "wrap"])
def test_all_samples_in_one_mini_batch(digits, last):
    batches = Batches(digits, MINE, 9, STREAMS, None, last)
    assert [batches.at(number)[0].indices.tolist() for number in range(3)] == [shuffled(e).tolist() for e in range(3)]
    assert batches.per_epoch == 1


def test_mini_batches_of_changing_size(digits):
    """One after another: 3 and 4 fill an epoch, 9 is a whole one; 5 leaves 2, of which 3 are wanted."""
    wanted = [3, 4, 9, 5, 3, 2]
    taken = {}
    for last in ("keep", "drop", "wrap"):
        batches, start, taken[last] = Batches(digits, MINE, 9, STREAMS, 3, last), 0, []
        for size in wanted:
            span = batches.cut(start, size)
            taken[last] += [batches.run(span)[0].indices]
            start = span.stop
    assert [len(rows) for rows in taken["keep"]] == [3, 4, 7, 5, 2, 2]
    assert [len(rows) for rows in taken["drop"]] == [3, 4, 7, 5, 3, 2]
    assert [len(rows) for rows in taken["wrap"]] == wanted
    kept = np.concatenate(taken["keep"])
    assert np.array_equal(kept, np.concatenate([shuffled(epoch) for epoch in range(4)])[: len(kept)])
    assert np.array_equal(taken["drop"][4], shuffled(3)[:3])
    wrapped = np.concatenate(taken["wrap"])
    assert np.array_equal(wrapped, np.concatenate([shuffled(epoch) for epoch in range(4)])[: len(wrapped)])


def test_the_order_of_two_epochs_is_kept_for_the_mini_batches_that_are_taken_from_them(digits, monkeypatch):
    """Of 5 of 7 samples: the second mini-batch is the rest of epoch 0 and the beginning of epoch 1, and so on."""
    drawn, generator = [], NamedStreams.generator
    monkeypatch.setattr(NamedStreams, "generator", lambda self, *name: drawn.append(name[-1]) or generator(self, *name))
    batches = Batches(digits, np.arange(7), 0, STREAMS, 5, "wrap")
    for position in (0, 0, 1, 1, 2, 2, 3, 3, 0):
        _, y = batches.at(position)
        y.tensor()
    assert drawn == [0, 1, 2, 0]


@pytest.mark.parametrize("last", ["keep", "wrap"])
def test_stacks_are_their_mini_batches(digits, last):
    """Of seven samples in fours: 4, 3, 4, 3 and so on, which makes a stack of each; or all equal, and one stack."""
    batches = Batches(digits, MINE, 9, STREAMS, 4, last)
    xs, ys = batches.stack(range(3, 8))
    singles = [batches.at(position) for position in range(3, 8)]
    assert len(xs) == len(ys) == (1 if last == "wrap" else 5)
    assert [len(y) for stack in ys for y in stack.tensor()] == batches.sizes(range(3, 8))
    for stacks, place in ((xs, 0), (ys, 1)):
        for one, single in zip([one for stack in stacks for one in stack.tensor()], singles, strict=True):
            assert torch.equal(one, single[place].tensor())
    (threes, one), _ = Batches(digits, MINE, 9, STREAMS, 3, "keep").stack(range(3))
    assert (threes.indices.shape, one.indices.shape) == ((2, 3), (1, 1))


def test_pooled_mini_batches_do_not_tell_whose_the_samples_are(digits):
    whole = Batches(digits, MINE, 0, STREAMS, 3)
    for shares in ([[0, 1, 2, 3, 4, 5], [6]], [[2], [0, 3, 5], [1, 4, 6]]):
        pooled = Batches.pooled([Batches(digits, MINE[own], user, STREAMS, 3) for user, own in enumerate(shares)])
        assert all(pooled.at(number)[0] == whole.at(number)[0] for number in range(7))


def test_users_with_the_same_samples_shuffle_them_differently(digits):
    many = np.arange(100)
    first, second = (Batches(digits, many, user, STREAMS, 100).at(0)[0] for user in (0, 1))
    assert not np.array_equal(first.indices, second.indices)


def test_a_user_without_samples_is_refused(digits):
    with pytest.raises(ValueError, match="user 3 has no samples"):
        Batches(digits, np.array([], dtype=int), 3, STREAMS, 4)


def test_inverted_images_have_the_other_style_and_sources_of_their_own(digits):
    """A third of each class: pixels 16 minus those of the plain set, everything else as it was."""
    turned = Digits(inverted=1 / 3).load(None, torch.float32)
    for plain, other, groups in (
        (digits.train, turned.train, turned.groups),
        (digits.test, turned.test, turned.test_groups),
    ):
        assert torch.equal(plain.y, other.y)
        inverted = groups >= 10
        assert torch.equal(groups - 10 * inverted, plain.y)
        pixels, shown = (each.x * 0.3760 + 0.3053 for each in (plain, other))
        torch.testing.assert_close(shown[inverted], 1 - pixels[inverted], rtol=0, atol=1e-6)
        assert torch.equal(other.x[~inverted], plain.x[~inverted])
        for label in range(10):
            own = plain.y == label
            assert abs(int(inverted[own].sum()) - int(own.sum()) / 3) <= 1
    assert digits.groups is None
    assert turned.fingerprint != digits.fingerprint
    every = Digits(inverted=1.0).load(None, torch.float32)
    assert (every.groups == digits.train.y + 10).all()
