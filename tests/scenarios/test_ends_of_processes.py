"""The first and the last moment of a process of the command line, when a signal comes there."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from processes import ROOT, ended, started
from runs import TINY


@pytest.mark.parametrize("code", [0, 130])
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_the_exit_code_is_that_of_the_command(name: str, code: int) -> None:
    late = f"atexit.register(lambda: os.kill(os.getpid(), signal.{name}))"  # Python has begun to end
    program = f"import atexit, os, signal\nfrom scenarios.signals import end_process\n{late}\nend_process({code})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (code, "")


def test_a_signal_that_was_caught_does_not_kill_the_process_at_its_end(tmp_path: Path) -> None:
    """`python -m` kills itself by SIGINT at the end if a KeyboardInterrupt has left a text like this one."""
    program = tmp_path / "caught.py"
    program.write_text(
        "from contextlib import suppress\nfrom scenarios.signals import end_process\n"
        "with suppress(KeyboardInterrupt):\n    exec('raise KeyboardInterrupt')\nend_process(130)\n"
    )
    command = [sys.executable, "-m", program.stem]
    assert (
        subprocess.run(command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=60).returncode == 130
    )


@pytest.mark.parametrize(
    ("command", "package"),
    [("run", "typer"), *((each, "torch") for each in ("run", "check", "sweep", "list")), ("describe", "pandas")],
)
def test_signals_end_a_command_whatever_it_is_importing(command: str, package: str) -> None:
    """Packages swallow a KeyboardInterrupt while they are imported, as the finder here does, and fail later."""
    program = f"""
import os, signal, sys
class Finder:
    def find_spec(self, name, *_):
        if name == '{package}':
            try: os.kill(os.getpid(), signal.SIGTERM)
            except KeyboardInterrupt: pass
sys.meta_path.insert(0, Finder())
from scenarios.__main__ import main
main()
"""
    with started("-c", program, command, TINY) as process:
        assert ended(process) == (130, "", "interrupted\n")


IGNORED = """
import os, signal
from scenarios.signals import ending_on_signals
signal.signal(signal.SIGINT, signal.SIG_IGN)
ending_on_signals()
os.kill(os.getpid(), signal.SIGINT)
print("goes on")
"""


def test_signals_that_are_ignored_when_a_command_starts_stay_ignored() -> None:
    with started("-c", IGNORED) as process:
        assert ended(process) == (0, "goes on\n", "")


def test_a_terminal_gets_its_cursor_back() -> None:
    """A live line hides it."""
    pty = pytest.importorskip("pty")
    near, far = pty.openpty()
    program = "import os\nfrom scenarios.signals import *\nending_on_signals()\nos.kill(os.getpid(), SIGNALS[0])"
    done = subprocess.run([sys.executable, "-c", program], stderr=far, check=False, timeout=60, cwd=ROOT)
    os.close(far)
    assert (done.returncode, os.read(near, 100)) == (130, b"\r\x1b[K\x1b[?25hinterrupted\r\n")
    os.close(near)
