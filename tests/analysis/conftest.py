"""Runs for the tests of analysis."""

from pathlib import Path

import pytest
from synthetic_run import Synthetic


@pytest.fixture(scope="session")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete run of 3 users, 2 rounds and 2 mini-batches a round; never written to."""
    return Synthetic().write(tmp_path_factory.mktemp("run"))
