"""Numbers that differ from user to user."""

import numpy as np
import pytest
from scipy.stats import uniform

from netsim.streams import Streams
from netsim.values import ConstantPerUser, ListedPerUser, LogUniformPerUser, PerUser, UniformPerUser
from stats import assert_ks

STREAMS = Streams(5)


def test_uniform_law() -> None:
    assert_ks(UniformPerUser(2.0, 5.0).of_users(5000, STREAMS, "x"), uniform(2, 3).cdf)


def test_log_uniform_law() -> None:
    values = np.log10(LogUniformPerUser(1e8, 1e10).of_users(5000, STREAMS, "x"))
    assert_ks(values, uniform(8, 2).cdf)


@pytest.mark.parametrize("law", [ConstantPerUser(3.0), UniformPerUser(0.0, 1.0), LogUniformPerUser(1.0, 2.0)])
def test_one_more_user_moves_nobody(law: PerUser) -> None:
    assert law.of_users(11, STREAMS, "x")[:10] == law.of_users(10, STREAMS, "x")


def test_degenerate_values() -> None:
    assert ConstantPerUser(3.0).of_users(3, STREAMS, "x") == [3.0] * 3
    assert UniformPerUser(4.0, 4.0).of_users(2, STREAMS, "x") == [4.0] * 2
    assert LogUniformPerUser(4.0, 4.0).of_users(2, STREAMS, "x") == [4.0] * 2
    assert ListedPerUser((1.0, 2.0)).of_users(2, STREAMS, "x") == [1.0, 2.0]


def test_purposes_are_drawn_apart() -> None:
    law = UniformPerUser(0.0, 1.0)
    assert law.of_users(3, STREAMS, "x") != law.of_users(3, STREAMS, "y")


@pytest.mark.parametrize("count", [1, 3])
def test_a_list_of_another_length_is_refused(count: int) -> None:
    with pytest.raises(ValueError, match=f"has 2 numbers, but there are {count} users"):
        ListedPerUser((1.0, 2.0)).of_users(count, STREAMS, "x")


@pytest.mark.parametrize("law", [UniformPerUser, LogUniformPerUser])
def test_bounds_in_the_wrong_order_are_refused(law: type) -> None:
    with pytest.raises(ValueError, match="must not exceed"):
        law(2.0, 1.0)
