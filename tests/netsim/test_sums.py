"""Sums whose bits do not depend on the version of Python."""

from netsim.sums import in_order


def test_each_number_is_rounded_as_it_is_added() -> None:
    """A sum that compensates, as the built-in one does from Python 3.12 on, gives 1 and 0.6."""
    assert in_order([1e16, 1.0, -1e16]) == 0.0
    assert in_order(iter([0.1, 0.2, 0.3])) == 0.1 + 0.2 + 0.3 != 0.6
    assert str(in_order([])) == "0.0"
