"""Data of one's own: files, tables, images and data sets of other libraries, compared with what was put into them."""

import gzip
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from sklearn.preprocessing import StandardScaler
from torch.utils.data import TensorDataset

from learning.data import (
    Csv,
    Dataset,
    HuggingFace,
    ImageFolder,
    MissingData,
    Npz,
    ParquetTable,
    TorchVision,
    from_frame,
    from_huggingface,
    from_torch,
    save,
)
from runs import TINY
from scenarios import ScenarioError, load, register, simulate

GENERATOR = np.random.Generator(np.random.Philox(key=5))
X = GENERATOR.normal(3, 2, (40, 5))
Y = np.arange(40) % 4
NAMES = np.array(["ash", "beech", "oak", "pine"])
PEOPLE = np.repeat(["ann", "bob", "cid", "dan"], 10)


def rows_of(dataset: Dataset) -> np.ndarray:
    """All samples and labels, training and test, in the order of the rows of X."""
    both = [torch.cat([split.x.flatten(1).double(), split.y[:, None]], 1) for split in (dataset.train, dataset.test)]
    found = torch.cat(both).numpy()
    return found[np.lexsort(found.T)]


def expected(x: np.ndarray = X, y: np.ndarray = Y) -> np.ndarray:
    found = np.column_stack([x.reshape(len(x), -1), y])
    return found[np.lexsort(found.T)]


def test_arrays_become_a_data_set_with_a_balanced_test_set() -> None:
    made = Dataset.from_arrays(X, Y, dtype=torch.float64)
    assert np.array_equal(rows_of(made), expected())
    assert (made.classes, made.names, made.input_shape) == (4, (), (5,))
    assert torch.bincount(made.test.y).tolist() == [2, 2, 2, 2]
    assert torch.bincount(made.train.y).tolist() == [8, 8, 8, 8]
    again = Dataset.from_arrays(X.tolist(), torch.from_numpy(Y), dtype=torch.float64)
    assert again.fingerprint == made.fingerprint
    other = Dataset.from_arrays(X, Y, dtype=torch.float64, name="other")
    assert other.fingerprint != made.fingerprint  # the name decides which samples are held out


def test_a_test_set_and_sizes_may_be_given() -> None:
    made = Dataset.from_arrays(X[:30], Y[:30], test=(X[30:], Y[30:]), train_samples=8, test_samples=4)
    assert (len(made.train.y), len(made.test.y)) == (8, 4)
    assert torch.bincount(made.train.y).tolist() == [2, 2, 2, 2]
    whole = Dataset.from_arrays(X[:30], Y[:30], test=(X[30:], Y[30:]), dtype=torch.float64)
    assert np.array_equal(whole.train.x.numpy(), X[:30])
    assert np.array_equal(whole.test.x.numpy(), X[30:])
    assert Dataset.from_arrays(X, Y, test_fraction=0.4).test.y.tolist().count(0) == 4


def test_names_of_classes_are_numbered_in_order() -> None:
    made = Dataset.from_arrays(X, NAMES[Y], dtype=torch.float64)
    assert made.names == tuple(NAMES)
    assert np.array_equal(rows_of(made), expected())
    turned = Dataset.from_arrays(X, NAMES[Y], classes=["pine", "oak", "beech", "ash"], dtype=torch.float64)
    assert np.array_equal(rows_of(turned), expected(y=3 - Y))
    more = Dataset.from_arrays(X, Y, classes=7)
    assert more.classes == 7
    assert Dataset.from_arrays(X, Y, classes=tuple(NAMES)).names == tuple(NAMES)


def test_standardised_samples_are_those_of_scikit_learn() -> None:
    made = Dataset.from_arrays(X[:30], Y[:30], test=(X[30:], Y[30:]), standardise=True, dtype=torch.float64)
    scaler = StandardScaler().fit(X[:30])
    np.testing.assert_allclose(made.train.x.numpy(), scaler.transform(X[:30]), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(made.test.x.numpy(), scaler.transform(X[30:]), rtol=1e-12, atol=1e-12)
    constant = np.ones((40, 2))
    assert not Dataset.from_arrays(constant, Y, standardise=True).train.x.any()
    images = GENERATOR.integers(0, 256, (40, 3, 4, 4), dtype=np.uint8)
    parts = (images[:30], Y[:30]), (images[30:], Y[30:])
    made = Dataset.from_arrays(*parts[0], test=parts[1], standardise=True, dtype=torch.float64)
    train, test = (torch.from_numpy(images[rows] / 255) for rows in (slice(30), slice(30, 40)))
    deviation, mean = torch.std_mean(train, dim=(0, 2, 3), correction=0, keepdim=True)
    torch.testing.assert_close(made.train.x, (train - mean) / deviation, rtol=1e-6, atol=1e-6)  # pixels are float32
    torch.testing.assert_close(made.test.x, (test - mean) / deviation, rtol=1e-6, atol=1e-6)


def test_bytes_are_pixels_and_tokens_stay_numbers() -> None:
    pixels = GENERATOR.integers(0, 256, (40, 1, 3, 3), dtype=np.uint8)
    made = Dataset.from_arrays(pixels, Y)
    assert np.array_equal(rows_of(made), expected((pixels / np.float32(255)).astype(np.float64)))
    text = GENERATOR.integers(0, 9, (40, 6))
    tokens = Dataset.from_arrays(text, Y, tokens=True)
    assert tokens.train.x.dtype == torch.int64
    assert np.array_equal(rows_of(tokens), expected(text))
    following = Dataset.from_arrays(text[:, :-1], text[:, 1:], tokens=True, classes=9)
    assert (following.train.y.shape, following.classes) == ((32, 5), 9)
    assert following.kinds.tolist() == [0] * 32


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y": Y[:-1]}, r"own data has 40 samples, but 39 labels"),
        ({"groups": PEOPLE[1:]}, r"own data has 39 sources, but 40 samples"),
        ({"y": Y + 0.5}, r"labels of own data are fractional, such as 0\.5; classes are numbered 0, 1, 2"),
        ({"y": np.where(Y == 3, np.nan, Y)}, r"labels of own data have values that are not finite .* first in row 3"),
        ({"y": Y - 1}, r"labels of own data go down to -1; number classes from 0"),
        ({"y": Y - 1, "classes": 3}, r"go from -1 to 2; 0 to 2 are allowed"),
        ({"x": 3.0}, r"samples of own data are a single value; an array with a row for each sample is needed"),
        ({"x": X[:, :0]}, r"samples of own data have the shape \(0,\), and so no values"),
        (
            {"test": (X[:, :1], Y)},
            r"samples of own data have the shape \(\d,\) for training, but \(1,\) for testing",
        ),
        ({"y": Y, "classes": 3}, r"go from 0 to 3; 0 to 2 are allowed"),
        ({"y": Y * 1000}, r"go up to 3000, with fewer samples than that; number classes from 0"),
        ({"y": NAMES[Y], "classes": 3}, r"have 4 different names, but classes is 3"),
        ({"y": NAMES[Y], "classes": ("ash", "oak", "pine")}, r"include 'beech', which is no class; ash, oak, pine are"),
        ({"y": np.array([*NAMES[Y[1:]], None], dtype=object)}, r"are names, but the one in row 39 is None"),
        ({"y": Y.astype("datetime64[s]")}, r"labels of own data are dates; numbers of classes from 0, or their names"),
        ({"x": np.where(X.max() == X, np.nan, X)}, r"samples of own data have values that are not finite"),
        ({"x": np.full((40, 2), 1e300)}, r"values that are not finite"),
        ({"x": X.astype(str)}, r"samples of own data are text; numbers are needed"),
        ({"x": [[1.0], [2.0, 3.0]] * 20}, r"samples of own data have different shapes"),
        ({"x": X, "tokens": True}, r"samples of own data are numbers of type float64; numbers of tokens, from 0"),
        ({"x": -np.ones((40, 2), dtype=int), "tokens": True}, r"numbers of tokens, from 0, are needed"),
    ],
)
def test_what_no_model_can_use_is_refused_in_a_sentence(change: dict[str, Any], message: str) -> None:
    given = {"x": X, "y": Y} | change
    with pytest.raises(ValueError, match=message) as caught:
        Dataset.from_arrays(given.pop("x"), given.pop("y"), **given)
    assert "\n" not in str(caught.value)


# ---------------------------------------------------------------- files


def test_a_saved_data_set_is_loaded_as_it_was(tmp_path: Path) -> None:
    made = Dataset.from_arrays(X, NAMES[Y], groups=PEOPLE)
    description = save(made, tmp_path / "made.npz")
    loaded = description.load(None, torch.float32)
    assert loaded.fingerprint == made.fingerprint
    assert (loaded.names, loaded.classes) == (made.names, made.classes)
    assert torch.equal(loaded.groups, made.groups)
    assert torch.equal(loaded.test_groups, made.test_groups)
    assert description.load(None, torch.float64).train.x.dtype == torch.float64
    tokens = Dataset.from_arrays(np.ones((8, 3), dtype=int), [0, 1] * 4, tokens=True)
    assert save(tokens, tmp_path / "tokens.npz").load(None, torch.float32).fingerprint == tokens.fingerprint
    with pytest.raises(ValueError, match=r"made\.zip does not end in \.npz"):
        save(made, tmp_path / "made.zip")


def test_arrays_of_a_file_are_named_by_their_keys(tmp_path: Path) -> None:
    pixels = GENERATOR.integers(0, 256, (40, 3, 2, 4), dtype=np.uint8)
    path = str(tmp_path / "trees.npz")
    np.savez(path, a=pixels.transpose(0, 2, 3, 1), grey=pixels[:, 0], b=Y, who=PEOPLE, c=pixels[:8], d=Y[:8])
    made = Npz(path, "a", "b", "who", channels="last").load(None, torch.float32)
    assert made.input_shape == (3, 2, 4)
    assert np.array_equal(rows_of(made), expected((pixels / np.float32(255)).astype(np.float64)))
    assert torch.bincount(made.groups).sum() == 32
    assert Npz(path, "grey", "b", channels="none").load(None, torch.float32).input_shape == (1, 2, 4)
    held = Npz(path, "c", "d", x_test="c", y_test="d").load(None, torch.float32)
    assert (len(held.train.y), len(held.test.y)) == (8, 8)
    with pytest.raises(ValueError, match=r"trees\.npz has no array x; it has a, grey, b, who, c, d"):
        Npz(path, y="b").load(None, torch.float32)
    with pytest.raises(ValueError, match="with channels last samples have 4 axes, but theirs are"):
        Npz(path, "grey", "b", channels="last").load(None, torch.float32)
    with pytest.raises(ValueError, match="x_test and y_test belong together"):
        Npz(path, x_test="c")
    with pytest.raises(ValueError, match="group_test names the sources of a test set"):
        Npz(path, group_test="who")
    Path(path).write_bytes(b"no arrays")
    with pytest.raises(ValueError, match=r"trees\.npz is damaged"):
        Npz(path).load(None, torch.float32)


FRAME = pd.DataFrame(X, columns=list("abcde")).assign(tree=NAMES[Y], who=PEOPLE)


@pytest.mark.parametrize("ending", ["csv", "csv.gz", "semicolon", "parquet"])
def test_tables_are_read_column_by_column(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"trees.{ending}"
    if ending == "parquet":
        FRAME.to_parquet(path)
        description: Csv | ParquetTable = ParquetTable(str(path), "tree", group="who")
    else:
        delimiter = ";" if ending == "semicolon" else ","
        text = FRAME.to_csv(index=False, sep=delimiter).encode()
        path.write_bytes(gzip.compress(text) if ending.endswith("gz") else text)
        description = Csv(str(path), "tree", group="who", delimiter=delimiter)
    made = description.load(None, torch.float64)
    assert np.array_equal(rows_of(made), expected())
    assert made.names == tuple(NAMES)
    assert sorted(torch.bincount(torch.cat([made.groups, made.test_groups])).tolist()) == [10] * 4
    framed = from_frame(FRAME, "tree", group="who", name=Path(path).stem, dtype=torch.float64)
    assert framed.fingerprint == made.fingerprint


def test_columns_may_be_chosen_and_may_be_lists(tmp_path: Path) -> None:
    made = from_frame(FRAME, "tree", ["d", "a"], dtype=torch.float64)
    assert np.array_equal(rows_of(made), expected(X[:, [3, 0]]))
    lists = pd.DataFrame({"signal": [list(row) for row in X.reshape(40, 5)], "tree": pd.Categorical(NAMES[Y])})
    lists.to_parquet(tmp_path / "lists.parquet")
    loaded = ParquetTable(str(tmp_path / "lists.parquet"), "tree").load(None, torch.float64)
    assert np.array_equal(rows_of(loaded), expected())
    held = ParquetTable(str(tmp_path / "lists.parquet"), "tree", test_path=str(tmp_path / "lists.parquet"))
    assert len(held.load(None, torch.float64).test.y) == 40
    assert len(from_frame(FRAME, "tree", list("abcde"), test=FRAME[:8]).test.y) == 8


@pytest.mark.parametrize(
    ("frame", "choices", "message"),
    [
        (FRAME, {"y": "bark"}, r"the frame has no column bark; it has a, b, c, d, e, tree, who"),
        (FRAME, {"y": "tree"}, r"column who of the frame is no numbers; leave it out of x, or encode it"),
        (FRAME[["tree"]], {"y": "tree"}, r"has no column but the labels"),
        (FRAME.assign(a=FRAME.a.where(FRAME.index != 3)), {"y": "tree", "x": ["a"]}, r"column a .* 1 missing .* row 3"),
        (FRAME.assign(f=[[1.0]] * 40), {"y": "tree", "x": ["a", "f"]}, r"a column of lists beside others"),
        (FRAME.assign(f=[[1.0], [2.0, 3.0]] * 20), {"y": "tree", "x": ["f"]}, r"lists in column f .* different shapes"),
    ],
)
def test_wrong_columns_are_named(frame: pd.DataFrame, choices: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        from_frame(frame, **choices)


def test_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "twice.csv").write_text("a,b,a,tree\n1,2,3,0\n4,5,6,1\n")
    with pytest.raises(ValueError, match=r"twice\.csv has several columns a; rename all but one of them"):
        Csv(str(tmp_path / "twice.csv"), "tree").load(None, torch.float64)


def images(folder: Path, count: int, seed: int) -> dict[str, list[np.ndarray]]:
    generator = np.random.Generator(np.random.Philox(key=seed))
    made: dict[str, list[np.ndarray]] = {}
    for name in ("cat", "dog"):
        (folder / name).mkdir(parents=True)
        made[name] = [generator.integers(0, 256, (4, 6, 3), dtype=np.uint8) for _ in range(count)]
        for number, pixels in enumerate(made[name]):
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
        (folder / name / "notes.txt").touch()
    return made


def test_images_are_read_from_a_folder_for_each_class(tmp_path: Path) -> None:
    train, test = images(tmp_path / "pets" / "train", 5, 0), images(tmp_path / "pets" / "test", 2, 1)
    made = ImageFolder(str(tmp_path / "pets")).load(None, torch.float64)
    assert (made.names, made.input_shape) == (("cat", "dog"), (3, 4, 6))
    for split, source in ((made.train, train), (made.test, test)):
        pixels = np.stack([*source["cat"], *source["dog"]]).transpose(0, 3, 1, 2)
        np.testing.assert_allclose(split.x.numpy(), pixels / 255, rtol=1e-7)
        assert split.y.tolist() == [0] * len(source["cat"]) + [1] * len(source["dog"])
    alone = ImageFolder(str(tmp_path / "pets" / "train"), side=3, colours="grey").load(None, torch.float32)
    assert (len(alone.train.y), len(alone.test.y), alone.input_shape) == (8, 2, (1, 3, 3))
    Image.new("RGB", (2, 2)).save(tmp_path / "pets" / "train" / "dog" / "z.png")
    with pytest.raises(ValueError, match=r"differ in size: 6x4, and 2x2 of .*z\.png; give side"):
        ImageFolder(str(tmp_path / "pets")).load(None, torch.float32)
    (tmp_path / "pets" / "train" / "dog" / "z.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"z\.png is damaged"):
        ImageFolder(str(tmp_path / "pets")).load(None, torch.float32)
    with pytest.raises(ValueError, match="has no folders of images"):
        ImageFolder(str(tmp_path / "pets" / "train" / "cat")).load(None, torch.float32)


def test_torch_data_sets_are_read_item_by_item() -> None:
    made = from_torch(TensorDataset(torch.from_numpy(X), torch.from_numpy(Y)), dtype=torch.float64)
    assert np.array_equal(rows_of(made), expected())
    pixels = GENERATOR.integers(0, 256, (12, 4, 6, 3), dtype=np.uint8)
    pairs = [(Image.fromarray(one), number % 2) for number, one in enumerate(pixels)]
    shown = from_torch(pairs, pairs[:4])
    assert shown.input_shape == (3, 4, 6)
    np.testing.assert_allclose(shown.test.x.numpy(), pixels[:4].transpose(0, 3, 1, 2) / 255, rtol=1e-6)
    with pytest.raises(ValueError, match="samples have different shapes"):
        from_torch([(torch.zeros(2), 0), (torch.zeros(3), 1)])


@pytest.mark.parametrize(
    ("description", "message"),
    [
        (
            TorchVision("MNIST", "."),
            r"data of torchvision need .*: pip install 'netsim-learning\[torchvision\]'",
        ),
        (HuggingFace(".", "x"), r"data of Hugging Face need their library: pip install 'netsim-learning\[datasets\]'"),
    ],
)
def test_a_missing_library_is_named_with_its_extra(
    description: Any, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for library in ("torchvision", "torchvision.datasets", "datasets"):
        monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ValueError, match=message):
        description.load(None, torch.float32)


@pytest.mark.filterwarnings("ignore")  # of the library, which need not be installed
def test_data_sets_of_hugging_face_are_read_from_their_folder(tmp_path: Path) -> None:
    library: Any = pytest.importorskip("datasets")
    pixels = GENERATOR.integers(0, 256, (12, 4, 6, 3), dtype=np.uint8)
    kinds = {
        "image": library.Image(),
        "label": library.ClassLabel(names=["cat", "dog"]),
        "who": library.Value("string"),
    }
    columns = {"image": [Image.fromarray(one) for one in pixels], "label": [0, 1] * 6, "who": ["a", "b", "c"] * 4}
    rows = library.Dataset.from_dict(columns, features=library.Features(kinds))
    library.DatasetDict({"train": rows, "test": rows.select(range(4))}).save_to_disk(str(tmp_path / "pets"))
    made = HuggingFace(str(tmp_path / "pets"), "image", group="who").load(None, torch.float32)
    np.testing.assert_allclose(made.train.x.numpy(), pixels.transpose(0, 3, 1, 2) / 255, rtol=1e-6)
    assert (made.names, made.test.y.tolist(), made.groups.tolist()) == (("cat", "dog"), [0, 1] * 2, [0, 1, 2] * 4)
    assert from_huggingface(rows, "image", test=rows.select(range(4))).test.y.tolist() == [0, 1] * 2
    with pytest.raises(ValueError, match="the data set has no column picture; it has image, label, who"):
        HuggingFace(str(tmp_path / "pets"), "picture").load(None, torch.float32)


# ---------------------------------------------------------------- in a scenario

SCENARIO = """\
name: trees
seed: 1
network: {{users: {{count: 4}}}}
learning:
  data: {{name: npz, path: {path}, group: group, x_test: x_test, y_test: y_test, group_test: group_test}}
  partition: natural
  batch_size: 4
  scheme: {{name: fedavg, local_steps: 2}}
  stop: {{rounds: 2}}
"""


def test_a_scenario_trains_on_own_data_with_a_person_for_each_user(tmp_path: Path) -> None:
    save(Dataset.from_arrays(X, Y, groups=PEOPLE, standardise=True), tmp_path / "trees.npz")
    (tmp_path / "own.yaml").write_text(SCENARIO.format(path="trees.npz"))
    result = simulate(load(tmp_path / "own.yaml"), out=tmp_path / "run")
    held = np.load(tmp_path / "trees.npz")
    assert sorted(result.table("users")["samples"].to_pylist()) == sorted(np.bincount(held["group"]).tolist())
    assert load(tmp_path / "run" / "scenario.yaml") == load(tmp_path / "own.yaml")


def test_a_line_break_in_a_name_does_not_break_the_sentence(tmp_path: Path) -> None:
    np.savez(tmp_path / "odd.npz", **{"x\ny": X})
    data = {"name": "npz", "path": str(tmp_path / "odd.npz")}
    with pytest.raises(ScenarioError, match=r"has no array x; it has x\\ny$"):
        simulate(load(TINY, {"learning.data": data}))


def test_a_missing_file_says_where_it_was_sought(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own.yaml").write_text(SCENARIO.format(path="none.npz"))
    monkeypatch.setenv("NETSIM_DATA", str(tmp_path / "data"))
    with pytest.raises(ScenarioError) as caught:
        simulate(load(tmp_path / "own.yaml"))
    assert str(caught.value) == (
        f"learning.data: there is no {tmp_path / 'none.npz'}; correct the path, which is relative to the folder of the "
        f"scenario file, else to the folder in NETSIM_DATA (which is {tmp_path / 'data'})"
    )
    (tmp_path / "data").mkdir()
    save(Dataset.from_arrays(X, Y, groups=PEOPLE), tmp_path / "data" / "none.npz")
    assert simulate(load(tmp_path / "own.yaml")).status == "complete"
    with pytest.raises(MissingData, match="NETSIM_DATA"):
        Npz(str(tmp_path / "other.npz")).load(None, torch.float32)


@dataclass(frozen=True)
class Careless:
    """A loader that does not heed the number format."""

    def load(self, folder: Path | None, dtype: torch.dtype) -> Dataset:
        return Dataset.from_arrays(X, Y, dtype=torch.float64)


@pytest.mark.usefixtures("own_parts")
def test_samples_in_another_number_format_than_weights_are_refused_before_the_run(tmp_path: Path) -> None:
    register("dataset", "careless", Careless)
    (tmp_path / "own.yaml").write_text(SCENARIO.format(path="none.npz"))
    change = {"learning.data": "careless", "learning.partition": "iid"}
    sentence = r"^learning\.data: x of own data is float64, but learning\.precision is float32"
    with pytest.raises(ScenarioError, match=sentence):
        simulate(load(tmp_path / "own.yaml", change))
    assert simulate(load(tmp_path / "own.yaml", {**change, "learning.precision": "float64"})).status == "complete"
