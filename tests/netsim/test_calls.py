"""The work of a transfer in calls of Python functions, which do not depend on the machine or on its load."""

import pytest

from benchmarks.transfers import calls_per_transfer


@pytest.mark.parametrize(
    ("case", "users", "limit"),
    [
        ("flow, fixed", 40, 150),
        ("flow, equal", 6, 160),
        ("flow, equal", 40, 185),
        ("flow, proportional fair", 6, 320),
        ("slot, equal, transport blocks", 6, 560),
    ],
)
def test_a_transfer_takes_a_limited_number_of_calls(case: str, users: int, limit: int) -> None:
    assert calls_per_transfer(case, users) <= limit
