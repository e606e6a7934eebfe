"""The end of a process of the command line, when a signal comes late."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize("code", [0, 130])
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_the_exit_code_is_that_of_the_command(name: str, code: int) -> None:
    late = f"atexit.register(lambda: os.kill(os.getpid(), signal.{name}))"  # Python has begun to end
    program = f"import atexit, os, signal\nfrom scenarios.signals import end_process\n{late}\nend_process({code})"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stderr) == (code, "")
