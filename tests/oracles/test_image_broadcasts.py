"""The same broadcast of images under another network: what is computed again, and what is not."""

from pathlib import Path
from typing import Any

import pytest

from learning.store import Store
from runs import TINY, hashes
from scenarios import load, simulate

SCHEMES: dict[str, dict[str, Any]] = {
    "ntrscc": {
        "transforms": {"bits": 24, "hyper": 3, "width": 16},
        "code": {"distribution": "trained"},
        "listening": {"iterations": 3},
        "training": {"steps": [4, 4, 4], "batch_size": 4},
    },
    "deep_jscc": {"transforms": {"symbols": 24, "width": 16}, "training": {"steps": 8, "batch_size": 4}},
    "separate_coding": {"images": 16, "symbols": 400},
}
USERS, ROUNDS = 3, 2
CELL: dict[str, Any] = {
    "network.users": {"count": USERS, "placement": {"name": "list", "positions_m": [[300, 0], [600, 0], [900, 0]]}},
    "network.channel": {"path_loss": "free_space", "fading": "none"},
    "network.stations.tx_power_dbm": 2,
    "learning.partition": "iid",
    "learning.stop": {"rounds": ROUNDS},
}


def ran(scheme: str, store: Store | None, **changed: Any) -> Any:
    described = {"name": scheme, **SCHEMES[scheme]}
    return simulate(load(TINY, {**CELL, "learning.scheme": described, **changed}), store=store)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_twice_the_bandwidth_and_power_halve_the_airtime_and_no_torch_operation_runs_again(
    scheme: str, tmp_path: Path
) -> None:
    """Receivers have the same signal-to-noise ratio, hence the same images, in half of the time."""
    wider = {"network.sharing.downlink.bandwidth_mhz": 2, "network.stations.tx_power_dbm": 2 + 3.010299956639812}
    store = Store(tmp_path)
    first, moved = ran(scheme, store), ran(scheme, store, **wider)
    store.close()
    assert first.operations["run"] > 0 == moved.operations["run"]
    assert hashes(moved) == hashes(ran(scheme, None, **wider)) != hashes(first)
    symbols, other = (_symbols(each) for each in (first, moved))
    assert other.bits.tolist() == symbols.bits.tolist()
    assert other.airtime_s.tolist() == pytest.approx((symbols.airtime_s / 2).tolist())
    assert _quality(moved).tolist() == _quality(first).tolist()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_twice_the_bandwidth_alone_runs_what_receivers_do_and_no_training(scheme: str, tmp_path: Path) -> None:
    """The noise is twice as strong: each receives other images. At most its decoding and their quality are computed."""
    store = Store(tmp_path)
    first, moved = ran(scheme, store), ran(scheme, store, **{"network.sharing.downlink.bandwidth_mhz": 2})
    store.close()
    assert 0 < moved.operations["run"] <= 2 * USERS * ROUNDS
    assert hashes(moved) != hashes(first)
    assert _quality(moved).tolist() != _quality(first).tolist()


def _symbols(run: Any) -> Any:
    transfers = run.table("transfers").to_pandas()
    return transfers[transfers.kind == "symbols"]


def _quality(run: Any) -> Any:
    found = run.table("evaluations").to_pandas()
    return found[(found.metric == "psnr_db") & found.user.notna()].value
