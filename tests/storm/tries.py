"""How many tries a storm makes, and the draws of each, which its name and number repeat."""

import os
import zlib
from math import ceil

import numpy as np
import pytest

SHARE = float(os.environ.get("STORM", "0.005"))
"""Part of the tries that are made: a sample in the ordinary suite, all of them for 1."""
SEED = int(os.environ.get("STORM_SEED", "0"))


def tries(whole: int) -> pytest.MarkDecorator:
    """One test for each try; at least one."""
    return pytest.mark.parametrize("number", range(ceil(whole * SHARE)))


def draws(storm: str, number: int) -> np.random.Generator:
    """Random numbers of a try."""
    return np.random.default_rng([SEED, zlib.crc32(storm.encode()), number])
