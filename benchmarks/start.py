"""Processor time of a command from its start, over that of importing torch in the same minutes.

Each command is a process of its own, which finds compiled files of Python. The ratio is the median over some repeats,
between which the import of torch alone is measured, so that a busy machine slows both.
"""

import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median

QUICKSTART = Path(__file__).parents[1] / "scenarios" / "quickstart.yaml"
REPEATS = 5
COMMANDS = {
    "--help": ["--help"],
    "a missing file": ["run", "missing.yaml"],
    "list": ["list"],
    "check of the quickstart": ["check", str(QUICKSTART)],
    "first round of the quickstart": ["run", str(QUICKSTART), "--no-store", "--set", "learning.stop.rounds=1"],
}


def main() -> None:
    print(f"start: processor time over that of `import torch`, and in seconds; medians of {REPEATS}")
    torch = ["-c", "import torch"]
    _spent_s(torch)  # compiles what is not compiled yet
    for name, arguments in COMMANDS.items():
        command = ["-m", "scenarios", *arguments]
        _spent_s(command)
        pairs = [(_spent_s(command), _spent_s(torch)) for _ in range(REPEATS)]
        ratio, spent_s = median(own / other for own, other in pairs), median(own for own, _ in pairs)
        print(f"  {name:30s} {ratio:.2f}  {spent_s:.2f} s")


def _spent_s(arguments: Sequence[str]) -> float:
    """Processor time of a Python process with these arguments, in an empty folder."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, *arguments], cwd=folder, check=False, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
