"""Freed memory is kept for the next step: pages that the kernel has to clear, counted in a process of its own."""

import os
import subprocess
import sys

import pytest

STEPS = """
import resource, sys, torch
from learning.executor.allocator import keep_freed_memory
kept = keep_freed_memory() if sys.argv[1] == "kept" else False
def step():
    return [torch.full((1024, 1024), 1.0) for _ in range(3)] + [torch.ones(2**18) for _ in range(8)]
for number in range(40):
    if number == 20:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    step()
print(kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def after(how: str, **settings: str) -> tuple[bool, int]:
    """Whether the thresholds could be set, and the pages that twenty equal steps took after twenty others."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    command = [sys.executable, "-c", STEPS, how]
    said = subprocess.run(command, env=plain | settings, capture_output=True, text=True, check=True).stdout.split()
    return said[0] == "True", int(said[1])


def test_equal_steps_take_no_new_pages() -> None:
    """Of 5120 pages that a step fills."""
    kept, pages = after("kept")
    if not kept:
        pytest.skip("the C library has no mallopt")
    assert pages < 100
    mapped = after("as it is", MALLOC_MMAP_THRESHOLD_="65536")  # each block anew, as the library does most of the time
    assert mapped[1] > 20 * 2000, "else pages are not what is counted"  # blocks of 1 MiB alone have 2048


def test_settings_of_the_environment_stay() -> None:
    assert after("kept", MALLOC_TOP_PAD_="65536")[0] is False
