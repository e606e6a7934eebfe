"""Settings of all tests. It stands here so that pytest puts this folder on the import path, too."""

import signal
from collections.abc import Iterator

import psutil
import pytest
from hypothesis import HealthCheck, settings

from processes import children

settings.register_profile(  # the same answer twice, whatever the load
    "gate", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("gate")

# A shell starts what runs in its background with SIGINT ignored, and so would be all processes that tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def own_parts() -> Iterator[None]:
    """What a test registers is forgotten after it."""
    from scenarios.families import families

    before = [(known, dict(known)) for known in families().values()]
    yield
    for known, names in before:
        known.clear()
        known.update(names)


@pytest.fixture(autouse=True)
def no_process_is_left() -> Iterator[None]:
    """A test that leaves processes behind fails, and they are ended."""
    yield
    left = children()
    commands = [" ".join(process.cmdline()) for process in left if process.is_running()]
    for process in left:
        process.kill()
    psutil.wait_procs(left)
    assert not commands, "processes are left behind"
