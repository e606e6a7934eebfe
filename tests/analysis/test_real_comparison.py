"""Comparison of runs that the simulator really made, under common random numbers."""

from pathlib import Path

import pytest

import analysis
from scenarios import load, simulate

TINY = Path(__file__).parents[1] / "tiny.yaml"


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> analysis.Comparison:
    """One round of six seeds, with a narrow and with a wide uplink."""
    out = tmp_path_factory.mktemp("runs")
    paths = []
    for bandwidth_mhz in (0.5, 2.0):
        for seed in range(6):
            overrides = {"network.sharing.uplink.bandwidth_mhz": bandwidth_mhz, "seed": seed, "learning.stop.rounds": 1}
            paths.append(out / f"{bandwidth_mhz}-{seed}")
            simulate(load(TINY, overrides), out=paths[-1])
    return analysis.compare(paths, target=0.0)


def test_arms_are_called_by_what_differs(compared: analysis.Comparison) -> None:
    assert compared.arms == ["uplink.bandwidth_mhz=0.5", "uplink.bandwidth_mhz=2.0"]
    assert compared.warnings == []


def test_the_same_seed_learns_the_same_over_another_network(compared: analysis.Comparison) -> None:
    table = compared.table[compared.table["reference"] != ""].set_index("measure")
    assert table.loc[["final_value", "bits_to_target"], "equal"].tolist() == [6, 6]


def test_pairing_takes_off_variance_and_finds_the_shorter_rounds(compared: analysis.Comparison) -> None:
    row = compared.table[compared.table["reference"] != ""].set_index("measure").loc["mean_latency_s"]
    assert row["less"] == 6
    assert row["relative_high"] < 0
    assert row["variance_reduction"] > 0.5
