"""A sweep whose folder was damaged goes on, with the points that are still whole, or is refused in one sentence."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import analysis
from scenarios import ScenarioError
from scenarios.plan import plan
from scenarios.sweep import SweepRunner

POINT = Path("points", "bandwidth_mhz=1", "seed-4")
DEEP = b"[" * 100_000 + b"]" * 100_000


def folder_instead(file: Path) -> None:
    file.unlink()
    file.mkdir()


OF_POINT: dict[str, Callable[[Path], object]] = {
    "lost": shutil.rmtree,
    "a file": lambda point: (shutil.rmtree(point), point.write_text("x")),
    "record lost": lambda point: (point / "run.json").unlink(),
    "record of bytes": lambda point: (point / "run.json").write_bytes(b"\xff"),
    "record nested deeply": lambda point: (point / "run.json").write_bytes(DEEP),
    "record a list": lambda point: (point / "run.json").write_bytes(b"[]"),
    "record a folder": lambda point: folder_instead(point / "run.json"),
    "scenario lost": lambda point: (point / "scenario.yaml").unlink(),
    "scenario of bytes": lambda point: (point / "scenario.yaml").write_bytes(b"\xff\xfe"),
    "scenario a folder": lambda point: folder_instead(point / "scenario.yaml"),
}
OF_SWEEP: dict[str, Callable[[Path], object]] = {
    "index empty": lambda sweep: (sweep / "sweep.json").write_bytes(b""),
    "index of bytes": lambda sweep: (sweep / "sweep.json").write_bytes(b"\xff"),
    "index nested deeply": lambda sweep: (sweep / "sweep.json").write_bytes(DEEP),
    "index a list": lambda sweep: (sweep / "sweep.json").write_bytes(b"[]"),
    "index a folder": lambda sweep: folder_instead(sweep / "sweep.json"),
    "index lost": lambda sweep: (sweep / "sweep.json").unlink(),
}
OF_NOTHING: dict[str, Callable[[Path], object]] = {
    "study lost": lambda sweep: (sweep / "study.yaml").unlink(),
    "study of bytes": lambda sweep: (sweep / "study.yaml").write_bytes(b"\xff"),
    "index without points": lambda sweep: (sweep / "sweep.json").write_bytes(b'{"status": 3, "points": [1]}'),
    "junk among the points": lambda sweep: (sweep / "points" / "junk").write_bytes(b"x"),
}
"""Damages of what a sweep writes anew."""


def test_a_damaged_sweep_goes_on_or_is_refused(study: Path, tmp_path: Path, netsim) -> None:
    whole = tmp_path / "whole"
    assert netsim("sweep", study, "-o", whole, "--jobs", 1).code == 0
    assert "lost" not in " ".join(analysis.compare([whole]).warnings)
    planned = plan(study)

    def opened_after(damage: Callable[[Path], object], inner: Path = Path()) -> list[str] | str:
        """Points that are to be run, or the sentence of a refusal."""
        copy = tmp_path / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(whole, copy, copy_function=os.link)
        for file in (copy / inner).glob("*.*"):
            if file.is_file():  # no link to the sound file, which the damage would reach
                file.unlink()
                shutil.copy(whole / inner / file.name, file)
        damage(copy / inner)
        try:
            return [point.path for point in SweepRunner(planned, copy).points if point.status == "pending"]
        except ScenarioError as refusal:
            return str(refusal)

    assert opened_after(lambda sweep: None) == []
    for what, damage in OF_POINT.items():
        assert opened_after(damage, POINT) == [str(POINT)], what
    for what, damage in OF_NOTHING.items():
        assert opened_after(damage) == [], what
    for what, damage in OF_SWEEP.items():
        refusal = opened_after(damage)
        assert isinstance(refusal, str), what
        assert str(tmp_path / "copy") in refusal
        assert "\n" not in refusal
