"""Runs the notebooks of examples/notebooks and writes them, with what they print and draw, as pages of this folder.

python docs/tutorials/execute.py            from the repository, with the shipped scenarios in it
"""

from __future__ import annotations

import ast
import re
import sys
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

HERE = Path(__file__).parent
NOTEBOOKS = HERE.parents[1] / "examples" / "notebooks"
PICTURES = HERE.parent / "images" / "tutorials"


def cells(text: str) -> list[tuple[bool, str]]:
    """The cells of a notebook in the percent format of jupytext: whether it is prose, and its text."""
    parts = re.split(r"^# %%(.*)\n", text, flags=re.MULTILINE)[1:]
    pairs = zip(parts[::2], parts[1::2], strict=True)
    prose = re.compile(r"^# ?", re.MULTILINE)
    return [("markdown" in kind, prose.sub("", code) if "markdown" in kind else code) for kind, code in pairs]


def executed(code: str, names: dict[str, Any]) -> tuple[str, Any]:
    """What a cell prints, and the value of its last line if that is an expression."""
    tree, printed, shown = ast.parse(code), StringIO(), None
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    with redirect_stdout(printed):
        exec(compile(tree, "cell", "exec"), names)
        if isinstance(last, ast.Expr):
            shown = eval(compile(ast.Expression(last.value), "cell", "eval"), names)
    return printed.getvalue(), shown


def page(notebook: Path) -> str:
    """A notebook as a page; its figures are written beside those of other pages."""
    out, names = [], {"__name__": "__main__"}
    for number, (prose, text) in enumerate(cells(notebook.read_text())):
        if prose:
            out.append(text.strip())
            continue
        out.append(f"```python\n{text.strip()}\n```")
        printed, shown = executed(text, names)
        if isinstance(shown, Figure):
            name = f"{notebook.stem}_{number}.png"
            shown.savefig(PICTURES / name)
            out.append(f"![Output of the cell above](../images/tutorials/{name})")
        elif said := (printed + ("" if shown is None else str(shown))).strip("\n"):
            out.append(f"```text\n{said}\n```")
    return "\n\n".join([*out, f"This page is `examples/notebooks/{notebook.name}`, executed."]) + "\n"


if __name__ == "__main__":
    PICTURES.mkdir(exist_ok=True)
    for file in sorted(NOTEBOOKS.glob("*.py")):
        (HERE / file.name).with_suffix(".md").write_text(page(file))
        print(f"wrote docs/tutorials/{file.stem}.md", file=sys.stderr)
