"""Every scheme on samples of two modalities, which half of the users lack one of: it runs, or says why it cannot."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from learning.data import DATASETS, Dataset, Digits
from learning.schemes import SCHEMES
from runs import MULTIMODAL, NEEDS, TINY, frame
from scenarios import load, simulate
from scenarios.errors import ScenarioError
from scenarios.run import Result

USERS = 4
FEATURES = {"upper": 6, "lower": 4}


@dataclass(frozen=True)
class Halves:
    """Upper and lower half of the digits; samples of odd users have no lower one."""

    train_samples: int = 96

    def load(self, folder: Path | None, dtype: torch.dtype) -> Dataset:
        digits = Digits(train_samples=self.train_samples, test_samples=30).load(folder, dtype)
        parts = [({"upper": s.x[:, :, :4], "lower": s.x[:, :, 4:]}, s.y) for s in (digits.train, digits.test)]
        source = np.arange(len(digits.train.y)) // 10 % USERS  # ten labels take turns
        return Dataset.from_splits("halves", *parts, 10, present=({"lower": source % 2 == 0}, {}), groups=source)


@pytest.fixture(autouse=True)
def _halves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DATASETS, "halves", Halves)


def on_halves(scheme: str, **changes: Any) -> Result:
    needed = NEEDS.get(scheme, {})
    setting = {
        "learning.scheme.name": scheme,
        **{
            path: value
            for path, value in needed.items()
            if not path.startswith("learning.") or path == "learning.scheme"
        },
        "learning.data": {"name": "halves"},
        "learning.optimiser": {"name": "sgd", "learning_rate": 0.05, "momentum": 0.9},
        "learning.stop.rounds": 8,
        "learning.partition": {"name": "natural"},
        "learning.model": {"name": "mlp", "hidden": [8]},
        "learning.towers": {
            name: {"model": {"name": "mlp", "hidden": [9]}, "features": n} for name, n in FEATURES.items()
        },
        **{path.replace("__", "."): value for path, value in changes.items()},
    }
    return simulate(load(TINY, setting))


ONE_CHAIN = {name for name, scheme in SCHEMES.items() if scheme.one_chain}


@pytest.mark.parametrize("scheme", sorted(SCHEMES.keys() - ONE_CHAIN - MULTIMODAL))
def test_a_scheme_trains_towers_and_fusion(scheme: str) -> None:
    """Executors agree: on time, bits and FLOPs exactly, on learning but for rounding."""
    eager, batched, dry = (on_halves(scheme, learning__executor=executor) for executor in ("eager", "batched", "dry"))
    for table in ("transfers", "computations"):
        assert eager.tables[table] == batched.tables[table] == dry.tables[table], table
    one, other = (frame(each, "evaluations") for each in (eager, batched))
    pd.testing.assert_frame_equal(one, other, rtol=1e-4)
    losses = other[other.metric == "loss"].value
    assert losses.iloc[-1] < losses.iloc[0]


@pytest.mark.parametrize("scheme", sorted(ONE_CHAIN))
def test_a_scheme_for_one_chain_of_blocks_says_so(scheme: str) -> None:
    app = {"learning__scheme": {"name": "flower", "app": "a:app", "server": "a:server"}} if scheme == "flower" else {}
    with pytest.raises(ScenarioError, match="the scheme needs a model that is one chain of blocks; remove towers"):
        on_halves(scheme, **app)


def test_a_user_pays_for_the_modalities_that_it_holds() -> None:
    """Bits of a mini-batch of 8 at 8 bits an element: features, 64 bits a range, one bit a presence flag, labels."""
    link = {"activations": {"name": "uniform", "bits_per_element": 8}}
    scheme = {"name": "sfl_v1", "local_steps": 1, "link": link}
    result = on_halves("sfl_v1", learning__scheme=scheme, learning__executor="dry", learning__stop__rounds=1)
    sent = frame(result, "transfers").query("kind == 'activation'")
    upper, lower, beside = 8 * 8 * FEATURES["upper"] + 64, 8 * 8 * FEATURES["lower"] + 64, 8 * 2 + 8 * 64
    assert set(sent[sent.user % 2 == 0].bits) == {upper + lower + beside}
    assert set(sent[sent.user % 2 == 1].bits) == {upper + beside}
    work = frame(result, "computations").query("kind == 'client_forward'").groupby("user").flops.max()
    assert work[0] == work[2] > work[1] == work[3]


def test_a_coded_link_trains_on_two_modalities() -> None:
    """What rounds at random draws for values alone; presence masks arrive as they were."""
    link = {way: {"name": "uniform", "bits_per_element": 8} for way in ("activations", "gradients")}
    result = on_halves("psl", learning__scheme={"name": "psl", "link": link}, learning__stop__rounds=8)
    losses = frame(result, "evaluations").query("metric == 'loss'").value
    assert losses.iloc[-1] < losses.iloc[0]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"learning__towers": {"lower": {"model": "mlp"}}}, r"learning\.towers: user 1 has no samples of lower"),
        (
            {"learning__towers": {}},
            r"learning\.model: samples of halves have modalities upper, lower; give each a tower",
        ),
        (
            {"learning__adapter": {"rank": 2}},
            r"learning\.adapter: no weight of the model is a q, so that no adapter can be put on it",
        ),
        ({"learning__cut": 2}, r"learning\.cut: cut 2 is not between towers and fusion network; possible cuts: 1"),
    ],
)
def test_what_does_not_go_with_towers_is_refused_in_a_sentence(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ScenarioError, match=sentence):
        on_halves("fedavg", **changes)
