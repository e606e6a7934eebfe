"""The house keeps its shape: who imports whom, no torch under netsim, no global seeds, no overgrown file."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("netsim", "learning", "scenarios", "analysis")
FORBIDDEN = {
    "netsim": {"torch", "pydantic", "learning", "scenarios", "analysis"},
    "learning": {"pydantic", "netsim", "scenarios", "analysis"},
    "analysis": {"torch", "simpy", "netsim", "learning", "scenarios"},
    "scenarios": set[str](),
}
BUILDERS = {"build.py"}  # the one place that knows both worlds
SEEDED = re.compile(r"random\.seed\(|np\.random\.(seed|rand|randn|normal|uniform|choice)\(|torch\.manual_seed\(")
FILES = [file for room in ROOMS for file in sorted((ROOT / room).rglob("*.py"))]


def imported(file: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative imports hide where an arrow goes"
            names.add(node.module or "")
    return names


@pytest.mark.parametrize("room", ROOMS)
def test_arrows(room: str) -> None:
    for file in (ROOT / room).rglob("*.py"):
        tops = {name.split(".")[0] for name in imported(file)}
        assert not tops & FORBIDDEN[room], f"{file.relative_to(ROOT)} imports {tops & FORBIDDEN[room]}"


def test_only_the_builder_knows_both_worlds() -> None:
    both = {
        file.name
        for file in (ROOT / "scenarios").rglob("*.py")
        if {"netsim.network", "learning.world"} <= imported(file)
    }
    assert both == BUILDERS


def test_the_rules_see_what_they_forbid(tmp_path: Path) -> None:
    bad = tmp_path / "bad.py"
    bad.write_text("import torch.nn\nfrom learning.world import World\ntorch.manual_seed(0)\n")
    assert imported(bad) == {"torch.nn", "learning.world"}
    assert SEEDED.search(bad.read_text())


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_no_global_seeds_and_no_overgrown_files(file: Path) -> None:
    text = file.read_text()
    assert not SEEDED.search(text)
    assert len(text.splitlines()) <= 400


def test_no_function_is_longer_than_sixty_lines() -> None:
    for file in FILES:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.FunctionDef):
                assert (node.end_lineno or 0) - node.body[0].lineno < 60, f"{file.relative_to(ROOT)}: {node.name}"


def test_scheme_files_fit_on_two_screens() -> None:
    for file in (ROOT / "learning" / "schemes").rglob("*.py"):
        assert len(file.read_text().splitlines()) <= 200, file.name
