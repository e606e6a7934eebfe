"""Schemes that send few tokens or few bits are evaluated as they do."""

from typing import Any

import pytest

from runs import frame, run

COARSE = {"name": "uniform", "bits_per_element": 1}
SENT: dict[str, dict[str, Any]] = {
    "tsflora": {},
    "st_sflora": {"control.tokens": 4},
    "sflam": {},
    "hsplitlora": {"activations": COARSE},
    **{name: {"link.activations": COARSE} for name in ("hasfl", "psl", "sfl", "sfl_v1", "sfl_v2", "sl")},
}
"""Further fields of the scheme, with which its link is lossy."""


@pytest.mark.parametrize("name", SENT)
def test_the_link_of_the_scheme_is_in_the_path(name: str) -> None:
    fields = {f"learning.scheme.{field}": value for field, value in SENT[name].items()}
    result = run(learning__scheme=name, learning__evaluation="both", **fields)
    losses = frame(result, "evaluations").query("metric == 'loss'").set_index(["round", "split"]).value.unstack()
    assert (losses.test != losses.test_uncompressed).all()
