"""Named random numbers: their laws, and that nothing but their name decides them."""

import numpy as np
import pytest
from scipy.stats import expon, norm, uniform

from netsim.streams import Streams, uniforms
from stats import assert_ks, assert_mean, assert_uncorrelated

MANY = np.arange(20_000)
STREAMS = Streams(11)


def test_uniform_law() -> None:
    values = STREAMS.uniform("law", index=MANY)
    assert_ks(values, uniform.cdf)
    assert_mean(values, 0.5)
    assert_mean((values - 0.5) ** 2, 1 / 12)


def test_exponential_law() -> None:
    values = STREAMS.exponential("law", index=MANY)
    assert_ks(values, expon.cdf)
    assert_mean(values, 1.0)


def test_normal_law() -> None:
    values = STREAMS.normal("law", index=MANY)
    assert_ks(values, norm.cdf)
    assert_mean(values, 0.0)
    assert_mean(values**2, 1.0)


def test_generator_law() -> None:
    assert_ks(STREAMS.generator("law").random(len(MANY)), uniform.cdf)


def test_neighbours_are_independent() -> None:
    values = STREAMS.uniform("a", 0, index=MANY)
    assert_uncorrelated(values[:-1], values[1:])
    assert_uncorrelated(values, STREAMS.uniform("a", 1, index=MANY))
    assert_uncorrelated(values, Streams(12).uniform("a", 0, index=MANY))
    first_of_each = [STREAMS.uniform("a", user, index=0) for user in range(4000)]
    assert_ks(first_of_each, uniform.cdf)


def splitmix64(state: int) -> int:
    """The reference algorithm in plain integers."""
    state = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    state = (state ^ (state >> 27)) * 0x94D049BB133111EB % 2**64
    return state ^ (state >> 31)


@pytest.mark.parametrize("index", [0, 1, 77, 2**40, -3])
def test_is_splitmix64(index: int) -> None:
    key = 0x0123456789ABCDEF
    word = splitmix64((key + index * 0x9E3779B97F4A7C15) % 2**64)
    assert uniforms(key, np.array([index]))[0] == ((word >> 12) + 0.5) / 2**52


def test_a_draw_is_the_same_alone_and_among_others() -> None:
    for law in (STREAMS.uniform, STREAMS.exponential, STREAMS.normal):
        together = law("x", 3, index=np.arange(100))
        assert [law("x", 3, index=k) for k in range(100)] == together.tolist()
        assert law("x", 3, index=np.arange(99, -1, -1)).tolist() == together[::-1].tolist()


def test_numbers_of_any_integer_type_name_the_same_entity() -> None:
    assert STREAMS.key("x", 3) == STREAMS.key("x", np.int64(3))  # type: ignore[arg-type]  # what loops over arrays give


def test_names_do_not_run_together() -> None:
    names = [("x", 1, 23), ("x", 12, 3), ("x", "1", 23), ("x1", 23), ("x", 1), ("x", 1, 2, 3)]
    assert len({STREAMS.key(*name) for name in names}) == len(names)  # type: ignore[arg-type]  # first is the purpose


def test_seeds_differ() -> None:
    assert Streams(1).key("x") != Streams(2).key("x")
    assert Streams(1).generator("x").random() != Streams(2).generator("x").random()


def test_the_ends_of_the_interval_are_left_out() -> None:
    values = uniforms(STREAMS.key("ends"), np.arange(200_000))
    assert values.min() > 0
    assert values.max() < 1
    assert (1 - 2.0**-53) < 1  # the largest possible value, (2^52 - 1/2) / 2^52, is below one as a float


def test_a_key_is_a_stable_name() -> None:
    """Golden: were it to change, every stored result would silently be another one's."""
    assert Streams(7).key("fading", "up", 0, 0) == 2990237034383750036


def test_a_generator_is_philox_with_the_key_of_the_stream() -> None:
    """Its numbers are those of NumPy's own generator with this key."""
    for entity in range(5):
        ours = STREAMS.generator("shuffle", entity)
        numpys = np.random.Generator(np.random.Philox(key=STREAMS.key("shuffle", entity)))
        for draw in ("random", "standard_normal", "permutation"):
            np.testing.assert_array_equal(getattr(ours, draw)(11), getattr(numpys, draw)(11))


def test_a_single_position_has_the_number_of_the_array() -> None:
    for index in (0, 1, -1, 12345, 2**40, -(2**63), 2**63 - 1):
        for entity in range(20):
            assert STREAMS.uniform("x", entity, index=index) == STREAMS.uniform("x", entity, index=[index])[0]
