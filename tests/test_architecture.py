"""The house keeps its shape: who imports whom, no circles, no torch in netsim, no global seeds, no overgrown file."""

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
EMPTY_NAMES = {"util", "utils", "common", "helper", "helpers", "misc", "tools", "stuff", "base_classes"}
"""Names of files and folders that say nothing about what is in them."""
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


Graph = dict[str, set[str]]
"""Modules, and those of ours that each imports."""


def imports_between(files: dict[str, Path]) -> Graph:
    """Of each module, those of `files` that it imports, within functions and for type checking too."""

    def targets(node: ast.AST) -> set[str]:
        if isinstance(node, ast.Import):
            return {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            names = {f"{node.module}.{alias.name}" for alias in node.names}  # a name may be a module of a package
            return (names & files.keys()) | ({str(node.module)} if names - files.keys() else set())
        return set()

    trees = {module: ast.walk(ast.parse(file.read_text())) for module, file in files.items()}
    return {module: {name for node in tree for name in targets(node)} & files.keys() for module, tree in trees.items()}


def circles(graph: Graph) -> set[frozenset[str]]:
    """The strongly connected components of more than one module: those that import each other, over others too."""

    def reached(start: str) -> set[str]:
        seen: set[str] = set()
        ahead = [*graph[start]]
        while ahead:
            module = ahead.pop()
            if module not in seen:
                seen.add(module)
                ahead += graph[module]
        return seen

    within = {module: reached(module) for module in graph}
    return {frozenset(n for n in within[m] if m in within[n]) for m in graph if m in within[m]}


def module_of(file: Path) -> str:
    """The name under which a file is imported."""
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def test_no_modules_import_each_other() -> None:
    assert circles(imports_between({module_of(file): file for file in FILES})) == set()


def test_no_rooms_of_learning_import_each_other() -> None:
    """Its folders, and its files that lie in none."""
    between: Graph = {}
    for module, targets in imports_between({module_of(file): file for file in FILES}).items():
        rooms = {room_of(target) for target in targets if target.startswith("learning.")} - {room_of(module)}
        if module.startswith("learning."):
            between.setdefault(room_of(module), set()).update(rooms)
    assert circles(between) == set()


def room_of(module: str) -> str:
    """The first folder, or file, within a package."""
    return ".".join(module.split(".")[:2])


def test_a_circle_is_seen_wherever_its_imports_stand(tmp_path: Path) -> None:
    lines = {
        "a": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from p.b import B",
        "b": "def late():\n    from p import c",
        "c": "import p.a",
        "d": "from p.a import A",
        "e": "",
    }
    for name, text in lines.items():
        (tmp_path / f"{name}.py").write_text(text)
    graph = imports_between({f"p.{name}": tmp_path / f"{name}.py" for name in lines})
    assert graph == {"p.a": {"p.b"}, "p.b": {"p.c"}, "p.c": {"p.a"}, "p.d": {"p.a"}, "p.e": set()}
    assert circles(graph) == {frozenset({"p.a", "p.b", "p.c"})}


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


def test_every_name_says_what_is_inside() -> None:
    named = {part for file in FILES for part in file.relative_to(ROOT).with_suffix("").parts}
    assert not named & EMPTY_NAMES


def test_files_that_the_design_names_exist() -> None:
    """Whole paths, or paths within one of the packages."""
    named = set(re.findall(r"(?<![\w./])(?:[\w.]+/)+[\w.]+\.py\b", (ROOT / "docs" / "design.md").read_text()))
    places = [ROOT, *(ROOT / room for room in ROOMS)]
    assert len(named) > 20
    assert {path for path in named if not any((place / path).is_file() for place in places)} == set()


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
