"""Storage: what is held, what fits, and what is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netsim.storage import Storage

CAPACITY_BYTES = 50
PUTS = st.tuples(st.just("put"), st.sampled_from("abcde"), st.integers(-2, 60))
DROPS = st.tuples(st.just("drop"), st.sampled_from("abcde"), st.just(0))


@given(st.lists(PUTS | DROPS, max_size=30))
def test_a_storage_is_a_dictionary_that_refuses_what_does_not_fit(steps: list[tuple[str, str, int]]) -> None:
    storage, model = Storage("edge0", CAPACITY_BYTES), dict[str, int]()
    for action, name, size_bytes in steps:
        after = {**model, name: size_bytes} if action == "put" else {key: model[key] for key in model if key != name}
        allowed = size_bytes >= 0 and sum(after.values()) <= CAPACITY_BYTES if action == "put" else name in model
        work = (lambda: storage.put(name, size_bytes)) if action == "put" else (lambda: storage.drop(name))  # noqa: B023
        if allowed:
            work()
            model = after
        else:
            with pytest.raises(ValueError, match=name):
                work()
        assert storage.used_bytes == sum(model.values()) <= CAPACITY_BYTES
        assert [storage.holds(key) for key in "abcde"] == [key in model for key in "abcde"]


def test_what_does_not_fit_is_told_in_a_sentence() -> None:
    storage = Storage("edge0", 100)
    storage.put("expert 0", 70)
    with pytest.raises(ValueError, match=r"^expert 1 of 31 bytes does not fit into edge0, which has 30 of 100 bytes"):
        storage.put("expert 1", 31)
    storage.put("expert 1", 30)
    storage.put("expert 0", 60)
    assert storage.used_bytes == 90


def test_without_a_capacity_everything_fits() -> None:
    storage = Storage("cloud")
    storage.put("model", 10**15)
    assert storage.holds("model")
