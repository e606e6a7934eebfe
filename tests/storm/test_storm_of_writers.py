"""Two commands at once: with one result cache both give the right tables; of two in one folder, one may be refused."""

import time
from pathlib import Path

import pytest
from test_storm_of_full_disks import tables
from tries import draws, tries

from processes import ended, started
from runs import TINY, hashes, run


@pytest.mark.slow
@tries(20)
@pytest.mark.parametrize("folders", [("a", "b"), ("a", "a")], ids=["two folders", "one folder"])
def test_storm_of_writers(folders: tuple[str, str], number: int, tmp_path: Path) -> None:
    apart_s = draws("writers", number).uniform(0, 1)
    first, second = (
        ("-m", "scenarios", "run", TINY, "-o", tmp_path / out, "--store", tmp_path / "store", "--quiet")
        for out in folders
    )
    with started(*first) as one:
        time.sleep(apart_s)
        with started(*second) as other:
            outcomes = [ended(one), ended(other)]
    codes = sorted(code for code, _, _ in outcomes)
    assert codes == [0, 0] or (codes == [0, 2] and len(set(folders)) == 1), outcomes
    for code, _, err in outcomes:
        assert "Traceback" not in err
        assert (code == 2) == ("another process is writing a run there" in err)
    for out in set(folders):
        assert tables(tmp_path / out) == hashes(run())
