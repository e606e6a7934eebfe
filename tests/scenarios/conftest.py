"""The command line in this process, and a small valid scenario."""

from collections.abc import Callable
from math import inf
from pathlib import Path
from typing import NamedTuple

import pytest
from sweeps import BANDS

import scenarios.progress
from scenarios.cli import main

SMALL = """\
name: small
seed: 3
network:
  users:
    count: 3
  channel:
    fading: {name: rayleigh, coherence_time_s: 0.05}
compute:
  devices:
    flops_per_s: [1.0e8, 2.0e8, 4.0e8]
learning:
  data: {name: digits, train_samples: 96, test_samples: 40}
  batch_size: 16
  scheme: {name: sfl_v1, local_steps: 1}
  stop: {rounds: 2}
"""


class Outcome(NamedTuple):
    """What a command left behind."""

    code: int
    out: str
    err: str


Command = Callable[..., Outcome]


@pytest.fixture(autouse=True)
def store(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every test has a store of its own, in its processes too; nobody's cache folder is touched."""
    folder = tmp_path_factory.mktemp("store")
    monkeypatch.setenv("NETSIM_STORE", str(folder))
    return folder


@pytest.fixture
def netsim(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """Run `netsim ARGUMENTS`; no progress lines, which come or not as the machine is slow or fast."""
    monkeypatch.setattr(scenarios.progress, "BETWEEN_LINES_S", inf)

    def command(*arguments: object) -> Outcome:
        capsys.readouterr()
        with pytest.raises(SystemExit) as exit:
            main([str(argument) for argument in arguments])
        return Outcome(exit.value.code, *capsys.readouterr())  # type: ignore[arg-type]

    return command


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A file with a valid scenario that runs in a second."""
    file = tmp_path / "small.yaml"
    file.write_text(SMALL)
    return file


@pytest.fixture
def study(small: Path) -> Path:
    """Three bandwidths, two seeds."""
    file = small.parent / "band.yaml"
    file.write_text(f"base: small.yaml\ngrid: {{{BANDS}: [0.5, 1, 4]}}\nseeds: 2\n")
    return file
