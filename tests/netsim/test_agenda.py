"""What is due when, beside a plain dictionary that is searched from end to end."""

from math import inf

from hypothesis import given
from hypothesis import strategies as st

from netsim.agenda import SPARE, Agenda

instants = st.integers(0, 6).map(float) | st.just(inf)
changes = st.lists(st.tuples(st.sampled_from(["put", "put", "put", "drop", "pop"]), st.integers(0, 9), instants))


@given(changes=changes)
def test_things_come_when_they_are_due_and_in_the_order_in_which_they_were_put_down(
    changes: list[tuple[str, int, float]],
) -> None:
    agenda: Agenda[int] = Agenda()
    due: dict[int, tuple[float, int]] = {}
    for number, (change, thing, instant_s) in enumerate(changes):
        if change == "put":
            agenda.put(thing, instant_s)
            if instant_s == inf:
                due.pop(thing, None)
            elif thing not in due or due[thing][0] != instant_s:
                due[thing] = instant_s, number
        elif change == "drop":
            agenda.drop(thing)
            due.pop(thing, None)
        elif due:
            first = min(due, key=lambda thing: due[thing])
            assert agenda.pop() == first
            del due[first]
        assert agenda.next_s == min((instant_s for instant_s, _ in due.values()), default=inf)


@given(things=st.integers(1, 20), puts=st.integers(0, 500))
def test_outdated_entries_do_not_pile_up(things: int, puts: int) -> None:
    agenda: Agenda[int] = Agenda()
    for number in range(puts):
        agenda.put(number % things, float(puts - number))  # what is outdated was due later, and never surfaces
        assert agenda.next_s == puts - number
        assert len(agenda) <= min(number + 1, things) + SPARE


def test_what_is_put_down_again_for_the_same_instant_has_one_entry() -> None:
    agenda: Agenda[str] = Agenda()
    for _ in range(1000):
        agenda.put("window", 6.4)
    assert len(agenda) == 1
    assert agenda.pop() == "window"
    assert agenda.next_s == inf
