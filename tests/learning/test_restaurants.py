"""Made-up descriptions of restaurants: what is said is true, towns differ, windows are the text."""

import re

import pytest
import torch

from learning.data import Restaurants
from learning.data.restaurants import ALPHABET, TEMPLATES

PATTERNS = [re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[a-z]+)", template.replace(".", r"\."))) for template in TEMPLATES]


def facts(text: str) -> dict[str, dict[str, set[str]]]:
    """By restaurant, what was said of it; every sentence of the text must be of a template."""
    known: dict[str, dict[str, set[str]]] = {}
    while text:
        match = next(found for pattern in PATTERNS if (found := pattern.match(text)))
        said = match.groupdict()
        for what, value in said.items():
            known.setdefault(said["name"], {}).setdefault(what, set()).add(value)
        text = text[match.end() :].lstrip()
    return known


def test_nothing_contradicts_itself() -> None:
    known = facts(Restaurants(restaurants=5).text(3))
    assert len(known) == 5
    assert all(len(values) == 1 for said in known.values() for values in said.values())
    assert all(set(said) == {"name", "food", "landmark", "price", "area", "rating"} for said in known.values())


def test_names_are_a_towns_own() -> None:
    one, two = (set(facts(Restaurants().text(town))) for town in (0, 1))
    assert not one & two


def test_a_town_of_a_number_is_always_the_same() -> None:
    every = Restaurants(32, towns=3).load(None, torch.float32)
    last = Restaurants(32, towns=1, first=2).load(None, torch.float32)
    assert every.groups is not None
    assert torch.equal(every.train.x[every.groups == 2], last.train.x)
    assert every.classes == len(ALPHABET)


def test_windows_are_the_text() -> None:
    """The first and, held out, the last: together they are the town's text, but for a rest shorter than a window."""
    loaded = Restaurants(40, towns=1, test_fraction=0.25).load(None, torch.float64)
    rows = torch.cat([loaded.train.x, loaded.test.x])
    text = "".join(ALPHABET[code] for code in rows.flatten().tolist())
    assert Restaurants().text(0).startswith(text)
    assert len(Restaurants().text(0)) - len(text) <= 40
    assert len(loaded.test.y) == round(0.25 * len(rows))
    assert torch.equal(loaded.train.x[1:, 0], loaded.train.y[:-1, -1])


def test_a_text_must_have_two_windows() -> None:
    with pytest.raises(ValueError, match="windows are too long"):
        Restaurants(500, sentences=2).load(None, torch.float32)
