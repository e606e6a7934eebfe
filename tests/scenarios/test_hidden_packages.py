"""A file of the user's that hides one of our packages is named."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from scenarios.hidden_packages import hidden
from scenarios.run import VERSIONED

ROOT = Path(__file__).parents[2]


def python(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A process that finds modules in the working directory first, as `python -m` and notebooks do."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    command = [sys.executable, *arguments]
    return subprocess.run(
        command, cwd=folder, env={**environment, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("name", ["analysis", "netsim", "learning"])
def test_a_file_in_the_way_is_named(tmp_path: Path, name: str) -> None:
    file = tmp_path / f"{name}.py"
    file.write_text("")
    sentence = (
        f"found {file} in place of the package {name} in {ROOT}; rename that file, or start Python in another folder"
    )
    command = python(tmp_path, "-m", "scenarios", "list", "codecs")
    assert (command.returncode, command.stderr) == (2, f"netsim: {sentence}\n")
    imported = python(tmp_path, "-c", "from scenarios import load")
    assert imported.stderr.splitlines()[-1] == f"ImportError: {sentence}"


def test_here_all_packages_are_ours() -> None:
    assert hidden() is None


def test_versions_name_the_distribution() -> None:
    assert VERSIONED["netsim"] == tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["name"]
