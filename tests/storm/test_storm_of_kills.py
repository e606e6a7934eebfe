"""SIGKILL at random moments, under every scheme and policy: the same command gives the tables of a whole run."""

import time
from pathlib import Path
from typing import Any

import pytest
from tries import draws, tries

from runs import adjusted, hashes, policy, run
from test_crashes import carried_out, recorded, started
from test_every_scheme import ALLOWED

ORDER = draws("order of schemes and policies", 0).permutation(len(ALLOWED))
"""So that a part of the tries is a sample of all pairs, and 100 tries are more than all of them once."""
KILLS = 2


@pytest.mark.slow
@tries(100)
def test_storm_of_kills(number: int, tmp_path: Path) -> None:
    rng, (scheme, by) = draws("kills", number), ALLOWED[ORDER[number % len(ORDER)]]
    more: dict[str, Any] = {"learning__executor": str(rng.choice(["eager", "batched"])), **policy(by, scheme)}
    begun_s = time.monotonic()
    whole = hashes(run(learning__scheme=scheme, **more))
    took_s = time.monotonic() - begun_s
    overrides = adjusted(
        {"learning.scheme": scheme, **{path.replace("__", "."): value for path, value in more.items()}}
    )
    store, out = tmp_path / "store", tmp_path / "run"
    for part in rng.uniform(0, 1, KILLS):
        with started(overrides, store, out) as process:
            process.join(part * took_s)
    carried_out(overrides, store, out)
    finished = recorded(out)
    assert finished["status"] == "complete"
    assert {name: table["sha256"] for name, table in finished["tables"].items()} == whole
    for table in finished["tables"]:
        assert [file.name for file in (out / "traces" / table).iterdir()] == [f"{table}.parquet"]
