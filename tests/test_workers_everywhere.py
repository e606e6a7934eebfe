"""Worker processes under every scheme: no table depends on how many there are."""

import pytest

from learning.executor import Batched
from learning.schemes import SCHEMES
from runs import TINY, adjusted
from scenarios import load, simulate

QUICK = {"fedavg", "sfl_v1"}
"""Schemes that are tried at each change: whole models and split ones. A run takes seconds to start processes."""

ONE_BY_ONE = {"centralised", "moe_inference", "sl"}
"""Schemes in which no two like operations are ready at a time; in requests the choice of each gate is read at once."""


@pytest.mark.parametrize(
    "name",
    [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in sorted({*SCHEMES} - {"flower"})],
)
def test_no_scheme_depends_on_the_number_of_workers(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Operations are captured at their first call and shared; users have equally many samples, so they are alike."""
    monkeypatch.setattr("learning.executor.batched.DIVIDED_FLOPS", 0)
    monkeypatch.setattr("learning.executor.batched.CAPTURED_CALL", 1)
    elsewhere: list[int] = []
    close = Batched.close

    def closed(executor: Batched) -> None:
        elsewhere.append(executor.elsewhere)
        close(executor)

    monkeypatch.setattr(Batched, "close", closed)
    setting = {"learning.partition": "iid", **adjusted({"learning.scheme": name}), "learning.stop.rounds": 3}
    one, two, three = (simulate(load(TINY, {**setting, "learning.workers": workers})) for workers in (1, 2, 3))
    assert one.tables == two.tables == three.tables
    assert elsewhere[0] == 0
    assert all(elsewhere[1:]) == (name not in ONE_BY_ONE)
