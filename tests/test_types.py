"""Mistakes that simulated time and deferred values invite, and what finds them.

mypy is run on snippets that are right but for lines with a comment `# wrong`: it must report these and no other. What
it does not report, a process that is called in a statement of its own and so never runs, is looked for here.
"""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

A_VALUE_AS_A_NUMBER = """
import torch
from learning.executor import Deferred, Executor

def double(x: torch.Tensor) -> torch.Tensor:
    return 2 * x

def both(x: torch.Tensor) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    return {"twice": 2 * x}, x

def read(executor: Executor, x: torch.Tensor) -> float:
    twice: Deferred[torch.Tensor] = executor.submit(double, x)
    tree, same = executor.submit(both, twice)
    if float(executor.value(same)) > executor.value(tree)["twice"].sum():
        return float(twice)  # wrong
    for row in same:  # wrong
        print(row)
    print(tree["twice"])  # wrong
    print(len(same))  # wrong
    return 1 + twice  # wrong
"""

A_PROCESS_AS_ITS_RESULT = """
import torch
from learning.parties import Server, User
from learning.ports import Process

def double(x: torch.Tensor) -> torch.Tensor:
    return 2 * x

def both(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return x, x

def exchange(user: User, server: Server, x: torch.Tensor) -> Process[int]:
    z = yield from user.do(double, x, kind="forward")
    z = yield from user.send(server, z, "activation")
    z = user.do(double, x, kind="forward")  # wrong
    yield from user.send(server, user.do(double, x, kind="forward"), "activation")  # wrong
    first, second = yield from server.do(both, z, kind="backward")
    first, second = server.do(both, z, kind="backward")  # wrong
    yield from server.send(user, first, "gradient")
    return server.send(user, second, "gradient")  # wrong

def called(user: User, server: Server, x: torch.Tensor) -> Process[int]:
    count = yield from exchange(user, server, x)
    count += exchange(user, server, x)  # wrong
    return count
"""


@pytest.mark.parametrize("snippet", [A_VALUE_AS_A_NUMBER, A_PROCESS_AS_ITS_RESULT])
def test_mypy_reports_the_lines_that_are_wrong(snippet: str, tmp_path: Path) -> None:
    file = tmp_path / "snippet.py"
    file.write_text(snippet)
    command = [sys.executable, "-m", "mypy", "--config-file", ROOT / "pyproject.toml", file]
    ran = subprocess.run(command, cwd=ROOT, env=os.environ | {"MYPYPATH": str(ROOT)}, capture_output=True, text=True)
    reported = {int(line.split(":")[1]) for line in ran.stdout.splitlines() if ": error: " in line}
    assert sorted(reported) == lines_that_are_wrong(snippet), ran.stdout + ran.stderr


def lines_that_are_wrong(snippet: str) -> list[int]:
    return [number for number, line in enumerate(snippet.splitlines(), 1) if line.endswith("# wrong")]


def processes(*trees: ast.AST) -> set[str]:
    """Names of the functions and methods that return a process wherever they are defined, by their annotations."""
    functions = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    returned = [(f.name, ast.unparse(f.returns).split("[")[0] if f.returns else "") for f in functions]
    kinds = {"Process", "Timed", "Trained"}
    return {name for name, kind in returned if kind in kinds} - {name for name, kind in returned if kind not in kinds}


def never_run(tree: ast.AST, names: set[str]) -> list[int]:
    """Lines of statements that consist of a call of such a function, without `yield from`."""
    statements = (node for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call))
    return [node.lineno for node in statements if ast.unparse(node.value.func).rpartition(".")[2] in names]


def test_no_process_is_called_and_left() -> None:
    rooms = [ROOT / "learning" / room for room in ("protocols", "schemes", "control", "inference")]
    rooms.append(ROOT / "examples")
    files = [file for room in rooms for file in room.rglob("*.py")]
    trees = {file: ast.parse(file.read_text()) for file in [*files, ROOT / "learning" / "parties.py"]}
    names = processes(*trees.values())
    assert {"do", "send", "exchange", "gather", "updates"} <= names
    simulated = {file: tree for file, tree in trees.items() if "Process" in file.read_text()}  # others are plain torch
    assert {str(file): lines for file, tree in simulated.items() if (lines := never_run(tree, names))} == {}


A_PROCESS_THAT_IS_LEFT = """
def send(self) -> Process[int]:
    self.other.send()  # wrong
    yield from self.other.send()
    sent = self.other.send()
    send(send(sent))  # wrong
"""


def test_a_process_that_is_left_is_seen() -> None:
    tree = ast.parse(A_PROCESS_THAT_IS_LEFT)
    assert processes(tree) == {"send"}
    assert never_run(tree, {"send"}) == lines_that_are_wrong(A_PROCESS_THAT_IS_LEFT)
