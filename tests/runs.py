"""Runs of the tiny scenario, and what tests compare of them."""

import json
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from learning.schemes import SCHEMES
from netsim import tables
from scenarios import load, simulate
from scenarios.run import Result

TINY = Path(__file__).with_name("tiny.yaml")
TABLES = tuple(tables.TABLES)

TRAINED = sorted(set(SCHEMES) - {"deep_jscc", "dual_health", "flower", "moe_inference", "ntrscc", "separate_coding"})
"""Schemes that train a model in rounds of a straggler policy; `flower` needs an app, and is tested in test_flower."""
MULTIMODAL = {"dual_health", "token_comm", "token_fusion"}
"""Those that work on towers and a fusion network only, each of a kind of its own."""


HEAVY = {"fedalign_moe", "hetlora", "hfedmoe", "hsplitlora", "st_sflora", "tsflora", "zo_sfl", *MULTIMODAL}
"""Schemes with transformers, or many passes, whose tiny runs take seconds: for some tests they are slow ones."""


def heavy_are_slow(schemes: Iterable[str]) -> list[Any]:
    """Parameters of a test: the schemes, of which the heavy ones are marked slow."""
    return [pytest.param(name, marks=pytest.mark.slow) if name in HEAVY else name for name in schemes]


TOKENS: dict[str, Any] = {
    "learning.model": {"name": "vit", "patch": 2, "width": 16, "depth": 2, "heads": 2, "class_token": True},
    "learning.adapter": {"rank": 2},
    "learning.cut": 2,
    "learning.optimiser": {"name": "adam", "learning_rate": 0.02},
}
NEEDS: dict[str, dict[str, Any]] = {
    "moe_inference": {
        "compute.sites": {"edge": {"station": 0, "flops_per_s": 1e9}, "cloud": {"flops_per_s": 1e11, "delay_s": 0.02}},
        "learning.model": {
            **{"name": "vit", "patch": 4, "width": 8, "depth": 2, "heads": 2},
            "experts": {"count": 4, "top_k": 2},
        },
        "learning.scheme": {"name": "moe_inference", "period_s": 0.5},
        "traffic": {"streams": {"x": {"arrivals": {"name": "poisson", "rate_per_s": 1.0}, "answered_by": "model"}}},
    },
    "dual_health": {
        "learning.data": {"name": "health", "train_windows": 30, "test_windows": 12, "people": 4, "history": 2},
        "learning.partition": "natural",
        "learning.towers": {
            name: {"model": {"name": "window_encoder", "hidden": [12]}, "features": 8}
            for name in ("physiology", "face", "vehicle")
        },
        "learning.model": {"name": "uncertainty_fusion", "common": 4},
        "learning.optimiser": {"name": "adam", "learning_rate": 0.01},
        "learning.scheme": {
            **{"name": "dual_health", "steps": 6, "first_stage_steps": 2, "steps_per_period": 1},
            **{"period_s": 0.5, "deadline_s": 0.05},
        },
        "traffic": {"streams": {"x": {"arrivals": {"name": "periodic", "period_s": 0.25}, "answered_by": "model"}}},
    },
    "sflam": {
        "network.sharing.uplink.scheduler": "controlled",
        "learning.scheme": {"name": "sflam", "control": {"solver": "fixed", "ranges": "equal"}},
    },
    "genfl": {
        "learning.public_fraction": 0.2,
        "learning.scheme": {
            "name": "genfl",
            "generator": {"name": "oracle", "flops_per_sample": 20_000},
            "augmentation": {
                "amount": 20,
                "pool_max": 60,
            },  # what fits in the shadow of stragglers depends on the network
        },
    },
    "gapsl": {"learning.scheme": {"name": "gapsl", "unselected": "own"}},
    "zo_sfl": {
        "learning.optimiser": {"name": "sgd", "learning_rate": 0.1},
        "learning.scheme": {"name": "zo_sfl", "directions": {"count": 40}},
    },
    "tsflora": {**TOKENS, "learning.scheme": {"name": "tsflora", "tokens": 8}},
    "st_sflora": {
        **TOKENS,
        "learning.adapter": {"rank": 4, "targets": ["q", "k", "v", "proj", "fc1", "fc2"], "blocks": "server"},
        "learning.batch_size": 32,  # there is one step in a round
        "network.sharing.uplink.scheduler": "controlled",
        "learning.scheme": {
            "name": "st_sflora",
            "control": {"attention": "flat"},
        },  # executors agree only where no value decides
    },
    "fedalign_moe": {
        "learning.model": {**TOKENS["learning.model"], "depth": 1, "experts": {"count": 3, "top_k": 2}},
        "learning.optimiser": {"name": "adam", "learning_rate": 0.02},
        "learning.scheme": {"name": "fedalign_moe", "local_steps": 2, "skip_unused": False},
    },
    "hetlora": {
        **TOKENS,
        "learning.scheme": {
            "name": "hetlora",
            "local_steps": 2,
            "control": {"ranks": [1, 2], "budgets": [1.82, 1.82, 1.9, 2.0]},
        },
    },
    "hsplitlora": {
        **TOKENS,
        "learning.model": {**TOKENS["learning.model"], "depth": 3, "class_token": False},
        "learning.scheme": {
            "name": "hsplitlora",
            "local_steps": 4,
            "control": {
                "ranks": [1, 2],
                "probe_every": 3,
                "importance": "random",  # that of probes depends on values, hence on the executor
                "budgets": [0.985, 1.0, 1.6, 2.0],
                "server_budget": 0.4,
                "time_weight": 0.2,
                "threshold": 0.1,
            },
        },
    },
    "token_comm": {
        "learning.data": {"name": "audio_visual_questions", "train_samples": 160, "test_samples": 100},
        "learning.partition": "iid",
        "learning.holding": {"sets": [["text", "caption", "image"], ["tone"]]},  # four users are two teams
        "learning.towers": {
            "image": {"model": {"name": "token_encoder", "patch": 4, "width": 8}, "features": 16},
            "tone": {"model": {"name": "token_encoder", "width": 8, "summaries": 2}, "features": 16},
            "text": {"model": "word_table", "features": 16},
        },
        "learning.model": {"name": "decoder", "width": 16, "depth": 1, "heads": 2, "receiver": 16},
        "learning.adapter": {"rank": 2, "blocks": "server"},
        "learning.optimiser": {"name": "adam", "learning_rate": 0.02},
        "learning.scheme": {
            "name": "token_comm",
            "alignment_rounds": 2,
            "tokens": {"tone": {"name": "strided", "tokens": 4}},
            "uplink": {"name": "analogue", "snr_db": 10},
            "average_every": 2,
        },
    },
    "token_fusion": {
        "network.sharing.uplink.scheduler": "controlled",
        "learning.data": {"name": "audio_visual_questions", "train_samples": 160, "test_samples": 100},
        "learning.partition": "iid",
        "learning.public_fraction": 0.2,
        "learning.holding": {"sets": [["text", "caption"], ["image"]]},  # four users are two teams
        "learning.towers": {
            "image": {"model": {"name": "token_encoder", "patch": 4, "width": 8}, "features": 16},
            "text": {"model": "word_table", "features": 16},
        },
        "learning.model": {"name": "decoder", "width": 16, "depth": 1, "heads": 2, "receiver": 16},
        "learning.adapter": {"rank": 2, "blocks": "server"},
        "learning.optimiser": {"name": "adam", "learning_rate": 0.02},
        "learning.scheme": {
            "name": "token_fusion",
            "alignment_rounds": 0,
            "task_rounds": 2,
            "keep": {"image": 1},
            "control": {"token_share": 0.5, "power_budget_w": 0.2},  # lengths that no network changes
            "loss": {"curve": "assumed"},
            "uplink": {"name": "uniform", "rounding": "nearest"},
            "request_samples": 8,
        },
    },
    "hfedmoe": {
        "learning.model": {
            "name": "vit",
            "patch": 4,
            "width": 8,
            "depth": 1,
            "heads": 2,
            "experts": {"count": 2, "top_k": 1},
        },
        "learning.optimiser": {"name": "adam", "learning_rate": 0.02},
        "learning.scheme": {"name": "hfedmoe", "selection": "all", "tau": 0},  # no value decides
    },
}
"""What a scheme needs that the tiny scenario has not."""

DEADLINES_S = {
    "local": 0.012,
    "psl": 0.05,
    "fedsl_pq": 0.006,
    "tsflora": 0.15,
    "zo_sfl": 0.2,
    "st_sflora": 0.28,
    "fedalign_moe": 0.38,
    "hetlora": 0.3,
    "hfedmoe": 0.04,
    "hsplitlora": 0.35,
    "token_comm": 0.025,
    "token_fusion": 0.007,
}
"""Where 0.06 s drops nobody, or everybody, from the tiny scenario's rounds."""


def policy(name: str, scheme: str) -> dict[str, Any]:
    """Overrides for a straggler policy under which some, and not all, are dropped from the tiny scenario's rounds."""
    policies: dict[str, dict[str, Any]] = {
        "wait_for_all": {"name": "wait_for_all"},
        "deadline": {"name": "deadline", "deadline_s": DEADLINES_S.get(scheme, 0.06)},
        "first_k": {"name": "first_k", "k": 2},
        "over_selection": {"name": "over_selection", "extra": 1 / 3},
        "asynchronous": {"name": "asynchronous", "staleness": "polynomial"},
        "buffered": {"name": "buffered", "size": 2},
    }
    three = {"learning__participants": {"name": "random", "count": 3}} if name == "over_selection" else {}
    return {"learning__policy": policies[name], **three}


FAULTS = {
    "availability": {"name": "on_off", "mean_on_s": 0.1, "mean_off_s": 0.04, "off_shape": 0.7},
    "outages": [{"user": 1, "from_s": 0.03, "until_s": 0.3}, {"user": 2, "from_s": 0.15}],
}
"""A tiny cell in which devices come and go within a round, and one dies."""


def run(**overrides: Any) -> Result:
    """Run the tiny scenario, once for the same overrides; dots in field paths are written as double underscores."""
    return _run(json.dumps(adjusted({name.replace("__", "."): value for name, value in overrides.items()})))


def adjusted(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Overrides, with what their scheme needs beside."""
    return dict(sorted({**overrides, **NEEDS.get(str(overrides.get("learning.scheme")), {})}.items()))


@cache
def _run(overrides: str) -> Result:
    return simulate(load(TINY, json.loads(overrides)))


def frame(result: Result, table: str) -> pd.DataFrame:
    """One table of a run."""
    return result.table(table).to_pandas()


def hashes(result: Result) -> dict[str, str]:
    """Content hash of each table."""
    return {name: result.tables[name]["sha256"] for name in TABLES}
