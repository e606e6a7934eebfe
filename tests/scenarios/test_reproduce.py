"""`netsim reproduce`: a study with claims, from its file to verdicts."""

import json
from pathlib import Path

import pytest
from sweeps import BANDS

import scenarios.reproduce
from scenarios.plan import plan
from scenarios.reproduce import claims_of
from scenarios.shipped import FOLDERS, shipped

CLAIMS = """
reproduces:
  paper: Somebody, Something, Somewhere
  target: 0.2
  quick: {learning.stop.rounds: 1}
  quick_seeds: 1
  claims:
    - {says: more band is faster, arm: wide, against: narrow, measure: simulated_time_s, relative: true, at_most: -0.3}
    - {says: less is more, arm: wide, against: narrow, measure: uplink_bits, at_most: -1, figure: "17 %"}
    - {says: bits are sent, arm: wide, measure: uplink_bits, at_least: 1, nature: check}
"""


@pytest.fixture
def claims(small: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A study of two bandwidths with two claims, one of them wrong, where the shipped ones would be."""
    arms = f"[{{label: narrow, {BANDS}: 0.25}}, {{label: wide, {BANDS}: 4}}]"
    file = small.parent / "band.yaml"
    file.write_text(f"base: small.yaml\nlist: {arms}\nseeds: 2\n{CLAIMS}")
    monkeypatch.setitem(FOLDERS, "reproductions", small.parent)
    monkeypatch.setattr(scenarios.reproduce, "shipped", lambda _: [file])
    return file


def test_verdicts_are_computed(claims: Path, tmp_path: Path, netsim) -> None:
    code, out, _ = netsim("reproduce", "band", "-o", tmp_path / "out", "--jobs", 1)
    assert code == 0
    assert "Somebody, Something, Somewhere" in out
    assert "relative difference of simulated_time_s at most -0.3" in out
    assert "finding 1" in out
    assert "check 3" in out
    assert "2 findings: 1 holds, 1 does not hold; not counted: 1 check" in out
    said = json.loads((tmp_path / "out" / "claims.json").read_text())
    assert [claim["verdict"] for claim in said["claims"]] == ["holds", "does not hold", "holds"]
    assert said["claims"][1]["figure"] == "17 %"
    assert said["claims"][1]["mean"] == 0
    pictures = sorted(file.name for file in (tmp_path / "out" / "figures").iterdir())
    assert pictures == [
        "accuracy_over_bits.png",
        "accuracy_over_energy.png",
        "accuracy_over_time.png",
        "round_time.png",
    ]


def test_the_quick_version_gives_no_verdicts(
    claims: Path, tmp_path: Path, netsim, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # the name of a folder above it, which may be any word, is then not printed
    code, out, _ = netsim("reproduce", "band", "--quick", "-o", "out", "--jobs", 1)
    assert code == 0
    assert "SMOKE" in out
    assert "rule met here" in out
    assert "verdict" not in out
    assert "holds" not in out


def test_the_quick_version_is_another_study(claims: Path, small: Path, tmp_path: Path) -> None:
    quick = plan(claims, quick=True)
    assert quick.study.name == "band-quick"
    assert [point.path for point in quick.points] == ["points/narrow/seed-3", "points/wide/seed-3"]
    assert {point.scenario.learning.stop.rounds for point in quick.points if point.scenario.learning} == {1}
    copy = tmp_path / "study.yaml"
    copy.write_text(quick.text(tmp_path))
    assert [point.scenario for point in plan(copy).points] == [point.scenario for point in quick.points]


@pytest.mark.parametrize("form", ["grid", "zip"])
def test_the_quick_version_of_combined_settings(form: str, small: Path) -> None:
    file = small.parent / "other.yaml"
    file.write_text(f"base: small.yaml\n{form}: {{{BANDS}: [1, 2]}}\n{CLAIMS}")
    points = plan(file, quick=True).points
    assert [point.label for point in points] == ["bandwidth_mhz=1", "bandwidth_mhz=2"]
    assert {point.scenario.learning.stop.rounds for point in points if point.scenario.learning} == {1}


def test_unknown_systems_and_settings_are_one_sentence(claims: Path, netsim) -> None:
    assert netsim("reproduce", "bandd") == (
        2,
        "",
        'netsim reproduce: unknown system "bandd"; nearest is "band"; allowed: band\n',
    )
    claims.write_text(claims.read_text().replace("against: narrow", "against: thin", 1))
    code, out, err = netsim("reproduce", "band")
    assert (code, out) == (2, "")
    assert err == 'band: reproduces.claims: unknown setting "thin"; allowed: narrow, wide\n'


@pytest.mark.parametrize("file", shipped("reproductions"), ids=lambda file: file.stem)
def test_shipped_reproductions_are_planned(file: Path) -> None:
    for quick in (False, True):
        made = plan(file, quick=quick)
        assert claims_of(made).claims
        assert len({point.scenario.seed for point in made.points}) >= 3
    assert file.stem == plan(file).study.name
