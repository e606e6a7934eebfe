"""The wheel, installed in a fresh environment away from the checkout: command, shipped scenarios, data and types."""

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parents[1]


def ended(*words: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    """A command where no path leads to the checkout."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(list(map(str, words)), cwd=cwd, env=environment, capture_output=True, text=True, check=False)


def called(*words: object, cwd: Path) -> str:
    done = ended(*words, cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from the files that git tracks, so that nothing else can be in it."""
    folder = tmp_path_factory.mktemp("wheel")
    tree = folder / "tree"
    files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, files.split("\0")):
        if (ROOT / name).is_file() and not name.startswith(("docs/images", "tests/")):
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            (tree / name).write_bytes((ROOT / name).read_bytes())
    options = ["--no-deps", "--no-build-isolation", "--no-index", "-q", "-w", folder]
    called(sys.executable, "-m", "pip", "wheel", tree, *options, cwd=folder)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment with the wheel, whose dependencies are those of this one; returns its bin folder."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder / "env", with_pip=False, symlinks=True)
    python = folder / "env" / ("Scripts" if os.name == "nt" else "bin") / "python"
    site = Path(called(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder).strip())
    called(
        sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-deps", "--no-index", wheel, cwd=folder
    )
    (site / "dependencies.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    return python.parent


def test_the_wheel_has_what_is_no_code_and_nothing_else(wheel: Path) -> None:
    names = ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names if ".dist-info/" not in name}
    assert tops == {"netsim", "learning", "scenarios", "analysis"}
    for room in ("netsim", "learning", "scenarios", "analysis"):
        data = [file for file in (ROOT / room).rglob("*") if file.suffix in {".yaml", ".html", ".csv", ".typed"}]
        assert {str(file.relative_to(ROOT)) for file in data} <= {*names}


def test_the_command_runs_a_shipped_scenario_by_its_name(installed: Path, tmp_path: Path) -> None:
    assert called(installed / "netsim", "--version", cwd=tmp_path).startswith("netsim ")
    where = "import scenarios, netsim, learning, analysis; print(*(m.__file__ for m in (scenarios, netsim, learning)))"
    files = called(installed / "python", "-c", where, cwd=tmp_path).split()
    assert all(str(installed.parent) in file for file in files)
    assert "netsim run quickstart" in called(installed / "netsim", "list", "scenarios", cwd=tmp_path)
    run = ["run", "quickstart", "--set", "learning.stop={rounds: 1}", "--no-store"]
    assert "final accuracy" in called(installed / "netsim", *run, cwd=tmp_path)
    assert '"revision": null' in (tmp_path / "runs" / "quickstart" / "run.json").read_text()
    called(installed / "netsim", "report", "runs/quickstart", cwd=tmp_path)
    assert (tmp_path / "runs" / "quickstart" / "report.html").stat().st_size > 1e6


@pytest.mark.slow
def test_its_types_are_known(installed: Path, tmp_path: Path) -> None:
    """mypy finds the types of an installed package only by its py.typed."""
    (tmp_path / "mine.py").write_text("from analysis import load\n\nreveal_type(load('run').seed)\n")
    words = ["-m", "mypy", "--no-incremental", "--python-executable", installed / "python", "mine.py"]
    done = ended(sys.executable, *words, cwd=tmp_path)
    assert 'Revealed type is "int"' in done.stdout.replace("builtins.", ""), done.stdout
