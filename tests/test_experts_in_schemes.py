"""Models with experts in whole runs: federated and split, images and text."""

import pytest

from runs import TINY
from scenarios import load, simulate

EXPERTS = {"count": 4, "top_k": 2, "shared": 1, "load_balance": 0.1}
VIT = {"name": "vit", "patch": 4, "width": 8, "depth": 2, "heads": 2, "experts": EXPERTS}
IMAGES = {"learning.model": VIT, "learning.cut": 2, "learning.partition": "iid"}


def run(changes):
    return simulate(load(TINY, IMAGES | {"learning.stop.rounds": 1, "learning.data.train_samples": 64} | changes))


def losses(result):
    rows = result.table("evaluations").to_pandas()
    return rows[rows.metric == "loss"].value.tolist()


@pytest.mark.parametrize("scheme", ["fedavg", "sfl_v1", "hasfl"])
def test_executors_agree(scheme):
    """Tables but for the last digits of what is learnt; the load-balance loss has an effect on it."""
    results = [run({"learning.scheme": scheme, "learning.executor": each}) for each in ("eager", "batched")]
    one, other = (result.table("computations").to_pandas() for result in results)
    assert one.equals(other)
    assert losses(results[0]) == pytest.approx(losses(results[1]), rel=1e-5)
    dense = run({"learning.scheme": scheme, "learning.model": VIT | {"experts": EXPERTS | {"load_balance": 0.0}}})
    assert losses(dense) != pytest.approx(losses(results[1]), rel=1e-5)


def test_split_training_is_that_of_the_whole_model():
    """One user's split steps learn what its local steps on the whole model do, load-balance loss included."""
    alone = {"network.users.count": 1, "learning.precision": "float64"}
    split, whole = (run(alone | {"learning.scheme": {"name": n, "local_steps": 3}}) for n in ("sfl_v1", "fedavg"))
    assert losses(split) == pytest.approx(losses(whole), rel=1e-9)
