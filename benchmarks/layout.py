"""How large the folders of the code are and which ones each imports; nothing is judged."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parents[1]
PACKAGES = ("netsim", "learning", "scenarios", "analysis")


def main() -> None:
    """Print one line for each folder: its files, their lines, its functions, and the folders that it imports."""
    folders: dict[str, list[Path]] = defaultdict(list)
    for package in PACKAGES:
        for file in sorted((ROOT / package).rglob("*.py")):
            folders[folder_of(file.relative_to(ROOT).with_suffix("").parts)].append(file)
    print(f"{'folder':24} files  lines: median  max   functions: median  max   imports")
    for folder, files in folders.items():
        lines = [len(file.read_text().splitlines()) for file in files]
        trees = [ast.parse(file.read_text()) for file in files]
        bodies = [length for tree in trees for length in function_lines(tree)] or [0]
        targets = sorted({target for tree in trees for target in imported(tree)} - {folder})
        print(
            f"{folder:24} {len(files):5}  {median(lines):13.0f} {max(lines):4}   {median(bodies):17.0f} {max(bodies):4}"
            f"   {', '.join(targets)}"
        )


def folder_of(parts: tuple[str, ...]) -> str:
    """The folder of a module within its package; for a file that lies in none, the package itself."""
    return "/".join(parts[:2]) if len(parts) > 2 else parts[0]


def function_lines(tree: ast.AST) -> list[int]:
    """Lines of the body of each function, its docstring left out."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            body = node.body[1:] if ast.get_docstring(node) is not None else node.body
            found.append((node.end_lineno or 0) - body[0].lineno + 1 if body else 0)
    return found


def imported(tree: ast.AST) -> set[str]:
    """The folders whose modules a module imports."""
    found = set()
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            parts = tuple(name.split("."))
            if parts[0] in PACKAGES:
                path = ROOT.joinpath(*parts[:2])
                found.add("/".join(parts[:2]) if len(parts) > 1 and path.is_dir() else parts[0])
    return found


if __name__ == "__main__":
    main()
