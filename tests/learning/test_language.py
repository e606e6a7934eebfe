"""Language models and their data: next-character prediction on the speeches of plays."""

import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import torch.nn.functional as F
from named_streams import NamedStreams
from torch import nn

from fakes import one_thread, world
from learning import steps
from learning.data import Dataset, Digits, MissingData, TinyShakespeare
from learning.executor import Batched
from learning.models import Gpt, Mlp, Segment, Vit, whole
from learning.optimisers import Sgd
from learning.schemes import SCHEMES

LENGTH, WIDTH, HEADS, LETTERS = 7, 12, 3, 11
WHOLE = Segment(Gpt(WIDTH, 2, HEADS), (LENGTH,), LETTERS, 0, 4)
PARAMETERS = WHOLE.initial(NamedStreams(), torch.float64)


def tokens(batch, seed=0):
    return torch.randint(LETTERS, (batch, LENGTH), generator=torch.Generator().manual_seed(seed))


def reference(x):
    """torch's own transformer layers with the same weights."""
    z = PARAMETERS["0.token.weight"][x] + PARAMETERS["0.place.weight"]
    renamed = {
        "self_attn.in_proj_weight": "attend.1.inward.weight",
        "self_attn.in_proj_bias": "attend.1.inward.bias",
        "self_attn.out_proj.weight": "attend.1.outward.weight",
        "self_attn.out_proj.bias": "attend.1.outward.bias",
        "linear1.weight": "feed.1.weight",
        "linear1.bias": "feed.1.bias",
        "linear2.weight": "feed.3.weight",
        "linear2.bias": "feed.3.bias",
        "norm1.weight": "attend.0.weight",
        "norm1.bias": "attend.0.bias",
        "norm2.weight": "feed.0.weight",
        "norm2.bias": "feed.0.bias",
    }
    for block in (1, 2):
        layer = nn.TransformerEncoderLayer(
            WIDTH, HEADS, 4 * WIDTH, 0.0, "gelu", batch_first=True, norm_first=True, dtype=torch.float64
        )
        layer.load_state_dict({theirs: PARAMETERS[f"{block}.{ours}"] for theirs, ours in renamed.items()})
        z = layer(z, src_mask=nn.Transformer.generate_square_subsequent_mask(LENGTH, dtype=torch.float64))
    z = F.layer_norm(z, (WIDTH,), PARAMETERS["3.norm.weight"], PARAMETERS["3.norm.bias"])
    return z @ PARAMETERS["3.predict.weight"].T


def test_the_model_is_the_textbooks():
    x = tokens(5)
    torch.testing.assert_close(WHOLE(PARAMETERS, x), reference(x).detach(), atol=1e-12, rtol=0)


def test_the_future_has_no_influence():
    x = tokens(5)
    changed = x.clone()
    changed[:, 4:] = (x[:, 4:] + 1) % LETTERS
    before, after = WHOLE(PARAMETERS, x), WHOLE(PARAMETERS, changed)
    torch.testing.assert_close(after[:, :4], before[:, :4], atol=1e-13, rtol=0)
    assert not torch.allclose(after[:, 4:], before[:, 4:])


def test_a_cut_language_model_makes_the_step_of_the_whole():
    """Against autograd on the mean of every token's loss, taken one by one."""
    x, y = tokens(4), tokens(4, 1)
    leaves = {name: value.clone().requires_grad_() for name, value in PARAMETERS.items()}
    logits = WHOLE(leaves, x)
    each = [F.cross_entropy(logits[b, t], y[b, t]) for b in range(4) for t in range(LENGTH)]
    loss = torch.stack(each).mean()
    loss.backward()
    for at in (1, 2, 3):
        front, back = WHOLE.cut(at)
        lower, upper = ({n: PARAMETERS[n] for n in part.parameters()} for part in (front, back))
        upper, _, dz, found = steps.back(back, Sgd(1.0), upper, (), steps.front(front, lower, x), y)
        lower, _ = steps.update_front(front, Sgd(1.0), lower, (), x, dz)
        torch.testing.assert_close(found, loss.detach(), atol=1e-12, rtol=0)
        for name, value in (lower | upper).items():
            torch.testing.assert_close(value, PARAMETERS[name] - leaves[name].grad, atol=1e-12, rtol=0)


@pytest.mark.parametrize("size", [1, 3])
def test_bits_do_not_depend_on_the_group(size, monkeypatch):
    with one_thread():
        parameters = [WHOLE.initial(NamedStreams(seed)) for seed in range(6)]

        def run():
            executor = Batched()
            args = [
                (WHOLE, Sgd(0.1), p, (), [tokens(4, i)[None]], [tokens(4, i + 9)[None]])
                for i, p in enumerate(parameters)
            ]
            return executor.value([executor.submit(steps.train, *each) for each in args])

        together = run()
        monkeypatch.setattr("learning.executor.batched.LARGEST_GROUP", size)
        for (ours, _, _), (theirs, _, _) in zip(together, run(), strict=True):
            assert all(torch.equal(ours[name], theirs[name]) for name in ours)


# ---------------------------------------------------------------- data

SPEECHES = [("A", "to be"), ("B", "or not"), ("A", "that is the question"), ("C", "ay"), ("B", "to die, to sleep")]


@pytest.fixture
def folder(tmp_path):
    roles, texts = zip(*SPEECHES, strict=True)
    pq.write_table(pa.table({"role": roles, "text": texts}), tmp_path / "tinyshakespeare_roles.parquet")
    return tmp_path


def spelled(split):
    alphabet = sorted(set("\n".join(text for _, text in SPEECHES)))
    return [["".join(alphabet[code] for code in row) for row in rows.tolist()] for rows in (split.x, split.y)]


def test_windows_of_roles(folder):
    """A says "to be", "that is the question" and B "or not", "to die, to sleep": windows of five, the last held out."""
    loaded = TinyShakespeare(5, min_characters=6).load(folder, torch.float32)
    x, y = spelled(loaded.train)
    assert x == ["to be", "\nthat", " is t", "he qu", "or no", "t\nto ", "die, "]
    assert y == ["o be\n", "that ", "is th", "e que", "r not", "\nto d", "ie, t"]
    assert spelled(loaded.test)[0] == ["estio", "to sl"]
    assert loaded.groups.tolist() == [0, 0, 0, 0, 1, 1, 1]
    assert loaded.classes == len(set("".join(text for _, text in SPEECHES)) | {"\n"})
    assert loaded.input_shape == (5,)


def test_roles_by_how_much_they_say(folder):
    few = TinyShakespeare(5, min_characters=6, max_characters=24).load(folder, torch.float32)
    assert spelled(few.train)[0] == ["or no", "t\nto ", "die, "]
    with pytest.raises(ValueError, match="no role has a text"):
        TinyShakespeare(5, min_characters=1000).load(folder, torch.float32)
    with pytest.raises(MissingData, match="there is no tinyshakespeare_roles"):
        TinyShakespeare().load(folder / "elsewhere", torch.float32)


def test_the_real_plays():
    if "NETSIM_DATA" not in os.environ:
        pytest.skip("NETSIM_DATA names no data folder")
    loaded = TinyShakespeare(64, min_characters=10_000).load(Path(os.environ["NETSIM_DATA"]), torch.float32)
    assert loaded.classes == 65
    assert len(torch.unique(loaded.groups)) == 35  # roles with at least 10 000 characters
    windows = len(loaded.train.y) + len(loaded.test.y)
    assert 592_235 / 64 - 35 <= windows <= (592_235 + 2_500) / 64
    assert torch.equal(loaded.train.x[:, 1:], loaded.train.y[:, :-1])
    assert len(loaded.test.y) == pytest.approx(windows / 10, abs=35 / 2)


# ---------------------------------------------------------------- evaluation and models that fit


def small(folder):
    return TinyShakespeare(5, min_characters=6).load(folder, torch.float64)


def test_perplexity_is_that_of_a_token(folder):
    dataset = small(folder)
    ran = world(SCHEMES["centralised"](), dataset=dataset, model=Gpt(8, 1, 2), rounds=1, users=2, samples=3)
    (parameters,) = ran.reported
    logits = ran.whole(ran.executor.value(parameters), dataset.test.x)
    rows = zip(logits.flatten(0, 1), dataset.test.y.flatten(), strict=True)
    loss = float(np.mean([float(F.cross_entropy(row, label)) for row, label in rows]))
    assert ran.journal.series("loss") == pytest.approx([loss], rel=1e-6)
    assert ran.journal.series("perplexity") == pytest.approx([np.exp(loss)], rel=1e-6)
    right = (logits.argmax(-1) == dataset.test.y).double().mean()
    assert ran.journal.series("accuracy") == pytest.approx([float(right)])


def test_models_that_do_not_fit_the_data(folder):
    dataset = small(folder)
    assert whole(Gpt(8, 1, 2), dataset).blocks == 3
    with pytest.raises(ValueError, match="the model reads numbers, which is not what samples of tinyshakespeare are"):
        whole(Mlp(), dataset)
    with pytest.raises(ValueError, match="does not divide the sides"):
        whole(Vit(), dataset)
    with pytest.raises(ValueError, match="a language model needs rows of tokens"):
        whole(Gpt(), Digits().load(None, torch.float32))
    once = Dataset("once", type(dataset.train)(dataset.train.x, dataset.train.y[:, 0]), dataset.test, 9)
    with pytest.raises(ValueError, match=r"gives logits of shape \(5, 9\) for a sample, but its label needs \(9,\)"):
        whole(Gpt(8, 1, 2), once)
