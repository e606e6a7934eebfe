"""A finished run is replaced by the same scenario, or on request; and what run.json says of its making."""

import json
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from scenarios import source
from scenarios.directory import record


def test_a_finished_run_of_another_scenario_is_not_replaced(small: Path, tmp_path: Path, netsim) -> None:
    folder = tmp_path / "run"
    assert netsim("run", small, "-o", folder, "--quiet").code == 0
    before = (folder / "run.json").read_text()
    code, out, err = netsim("run", small, "-o", folder, "--seed", 9, "--set", "learning.stop.rounds=1")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert f"{folder}: holds a finished run of another scenario" in err
    assert "seed: found" not in err
    assert "(seed: 3, now 9; learning.stop.rounds: 2, now 1)" in err
    assert (folder / "run.json").read_text() == before


def test_it_is_replaced_on_request_and_by_the_same_scenario(small: Path, tmp_path: Path, netsim) -> None:
    folder = tmp_path / "run"
    for more in ((), (), ("--seed", 9, "--replace"), ("--seed", 9)):
        assert netsim("run", small, "-o", folder, "--quiet", *more) == (0, "", "")
    assert (record(folder) or {})["seed"] == 9


@pytest.mark.parametrize("status", ["interrupted", "failed", "running"])
def test_a_run_that_has_not_finished_is_replaced(status: str, small: Path, tmp_path: Path, netsim) -> None:
    folder = tmp_path / "run"
    netsim("run", small, "-o", folder, "--quiet")
    about = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**about, "status": status}))
    assert netsim("run", small, "-o", folder, "--seed", 9, "--quiet").code == 0


def test_a_run_that_diverged_has_finished(small: Path, tmp_path: Path, netsim) -> None:
    folder = tmp_path / "run"
    netsim("run", small, "-o", folder, "--quiet")
    about = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**about, "status": "diverged"}))
    assert netsim("run", small, "-o", folder, "--seed", 9, "--quiet").code == 2


def test_a_run_of_another_version_is_named_as_it_is(small: Path, tmp_path: Path, netsim) -> None:
    folder = tmp_path / "run"
    netsim("run", small, "-o", folder, "--quiet")
    (folder / "scenario.yaml").write_text("name: small\nfeatures: 3\n")
    assert 'unknown field "features"' in netsim("run", small, "-o", folder).err


def test_a_record_has_its_date_and_the_revision_of_the_code(
    small: Path, tmp_path: Path, netsim, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scenarios.run.revision", lambda: "abc-dirty")
    before = datetime.now(UTC).replace(microsecond=0)
    netsim("run", small, "-o", tmp_path / "run", "--quiet")
    about = record(tmp_path / "run") or {}
    assert before <= datetime.fromisoformat(about["date"]) <= datetime.now(UTC)
    assert about["revision"] == "abc-dirty"


def git(folder: Path, *words: str) -> str:
    who = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    return subprocess.run(["git", *who, *words], cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


def test_the_revision_is_that_of_the_checkout_of_the_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "ROOT", tmp_path)
    fresh = source.revision.__wrapped__
    assert fresh() is None  # as in a folder of installed packages
    git(tmp_path, "init", "-q")
    (tmp_path / "a.py").write_text("1")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "a")
    commit = git(tmp_path, "rev-parse", "HEAD")
    assert fresh() == commit
    (tmp_path / "a.py").write_text("2")
    assert fresh() == f"{commit}-dirty"
    monkeypatch.setenv("PATH", "")
    assert fresh() is None
