"""What a type checker says of the mistakes that simulated time and deferred values invite: mypy is run on snippets.

Each snippet is right but for lines with a comment `# wrong`: mypy must report these and no other.
"""

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
    wrong = {number for number, line in enumerate(snippet.splitlines(), 1) if line.endswith("# wrong")}
    assert reported == wrong, ran.stdout + ran.stderr
