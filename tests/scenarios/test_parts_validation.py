"""Described dataclasses as a schema. Oracle: the hints and docstrings of small dataclasses written here."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol

import pytest
from annotated_types import Ge, Gt, Interval, MinLen

from scenarios.document import Document, assignments
from scenarios.errors import ScenarioError
from scenarios.hints import documentation, summary
from scenarios.parts import Parts
from scenarios.yaml12 import dump


class Fading(Protocol):
    """A family."""


class PerUser(Protocol):
    """A family with shorthands."""


@dataclass(frozen=True)
class NoFading:
    """A constant channel."""


@dataclass(frozen=True)
class Rayleigh:
    """Rayleigh block fading.

    More about it.
    """

    coherence_time_s: Annotated[float, Gt(0)] = 0.05
    """Length of a fading block
    in seconds."""


@dataclass(frozen=True)
class Constant:
    """The same for all."""

    value: Annotated[float, Gt(0)]


@dataclass(frozen=True)
class Listed:
    """One for each."""

    values: Annotated[tuple[float, ...], MinLen(1)]


@dataclass(frozen=True)
class Uniform:
    """Between two bounds."""

    low: float = 1.0
    high: float = 2.0

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError("low is above high; exchange them")


@dataclass(frozen=True)
class Absence:
    """From one time to another."""

    from_s: Annotated[float, Ge(0)]
    until_s: float

    def __post_init__(self) -> None:
        if self.until_s <= self.from_s:
            raise ValueError("until_s must come after from_s")


@dataclass(frozen=True)
class Users:
    """Users."""

    count: Annotated[int, Ge(1)] = 10
    share: Annotated[float, Interval(gt=0, le=1)] = 0.5
    speed: PerUser = Constant(1e9)
    fading: Fading | None = field(default_factory=Rayleigh)
    corners: tuple[tuple[float, float], ...] = ()
    limit: Annotated[int, Ge(1)] | None = None
    note: str = "plain"
    mode: Literal["up", "down"] = "up"
    moving: bool = True
    absences: tuple[Absence, ...] = ()
    pairs: tuple[tuple[Absence, Absence], ...] = ()
    holiday: Absence | None = None
    by_day: dict[str, Absence] = field(default_factory=dict)
    by_week: dict[str, Annotated[tuple[Absence, ...], MinLen(2)]] | None = None
    speeds: Annotated[tuple[PerUser, ...], MinLen(1)] | None = None
    quotas: Annotated[tuple[Annotated[int, Ge(1)], ...], MinLen(2)] | None = None


@dataclass(frozen=True)
class Root:
    """A document."""

    name: str
    users: Users = Users()
    others: Users | None = None


PARTS = Parts(
    {
        Fading: {"none": NoFading, "rayleigh": Rayleigh},
        PerUser: {"constant": Constant, "list": Listed, "uniform": Uniform},
    }
)


def read(tmp_path: Path, text: str, *settings: str) -> Root:
    file = tmp_path / "case.yaml"
    file.write_text(text)
    document = Document.read(file)
    document.override(assignments(list(settings)))
    return PARTS.read(Root, document)


def users(tmp_path: Path, text: str, *settings: str) -> Users:
    return read(tmp_path, f"name: a\nusers: {text}\n", *settings).users


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{}", Users()),
        ("{count: 3, share: 1}", Users(count=3, share=1.0)),
        ("{fading: none}", Users(fading=NoFading())),
        ("{fading: null}", Users(fading=None)),
        ("{fading: rayleigh}", Users(fading=Rayleigh())),
        ("{fading: {name: rayleigh, coherence_time_s: 1}}", Users(fading=Rayleigh(1.0))),
        ("{fading: {coherence_time_s: 1}}", Users(fading=Rayleigh(1.0))),
        ("{speed: 5}", Users(speed=Constant(5.0))),
        ("{speed: [1, 2.5]}", Users(speed=Listed((1.0, 2.5)))),
        ("{speed: uniform}", Users(speed=Uniform())),
        ("{corners: [[0, 0], [1, 2]]}", Users(corners=((0.0, 0.0), (1.0, 2.0)))),
        ("{limit: 4, mode: down, moving: false}", Users(limit=4, mode="down", moving=False)),
    ],
)
def test_what_is_written_becomes_the_part(tmp_path: Path, text: str, expected: Users) -> None:
    part = users(tmp_path, text)
    assert part == expected
    again = read(tmp_path, dump(PARTS.plain(Root("a", part), Root)))
    assert again == Root("a", part)


def test_a_whole_number_becomes_a_float_where_one_is_expected(tmp_path: Path) -> None:
    assert type(users(tmp_path, "{share: 1}").share) is float


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{count: twelve}", 'users.count: found "twelve"; a whole number >= 1 is allowed'),
        ("{count: '12'}", 'users.count: found "12"; a whole number >= 1 is allowed'),
        ("{count: 0}", "users.count: found 0; a whole number >= 1 is allowed"),
        ("{count: true}", "users.count: found true; a whole number >= 1 is allowed"),
        ("{count: 1e3}", "users.count: found 1000.0; a whole number >= 1 is allowed; write it without a point"),
        ("{count: }", "users.count: found nothing; a whole number >= 1 is allowed"),
        ("{share: 1.5}", "users.share: found 1.5; a number > 0 and <= 1 is allowed"),
        ("{share: .nan}", "users.share: found not-a-number; a number > 0"),
        ("{share: 10 %}", 'users.share: found "10 %"; a number > 0'),
        ("{share: 10 MHz}", 'users.share: found "10 MHz"; a number > 0 and <= 1 is allowed; write the number alone'),
        ("{share: [1]}", "users.share: found a list of 1; a number"),
        ("{share: {a: 1}}", "users.share: found a section; a number"),
        ("{limit: 0}", "users.limit: found 0; a whole number >= 1, or null is allowed"),
        ("{note: 3}", "users.note: found 3; text is allowed; put it in quotes"),
        ("{moving: on}", 'users.moving: found "on"; true or false is allowed'),
        ("{mode: sideways}", 'users.mode: found "sideways"; one of up, down is allowed'),
        ("{mode: upp}", 'users.mode: found "upp"; one of up, down is allowed; nearest is up'),
        ("{counts: 3}", 'users: unknown field "counts"; nearest is "count"; allowed: count, share'),
        ("{fading: raylei}", 'users.fading: unknown fading "raylei"; nearest is "rayleigh"; allowed: none, rayleigh'),
        ("{fading: 3}", "users.fading: found 3; one of none, rayleigh is allowed"),
        ("{fading: {name: 3}}", "users.fading: found 3; one of none, rayleigh is allowed"),
        ("{fading: {name: none, k: 3}}", 'users.fading: unknown field "k"; allowed: name'),
        ("{speed: -1}", "users.speed: found -1; a number > 0 is allowed"),
        ("{speed: [1, x]}", 'users.speed[1]: found "x"; a number is allowed'),
        ("{speed: []}", "users.speed: found an empty list; a list of at least 1, each item a number is allowed"),
        ("{speed: {name: constant}}", "users.speed: the field value is missing; a number > 0 is needed"),
        ("{speed: {low: 0}}", "users.speed: the field low belongs to uniform; add name: uniform"),
        ("{speed: {name: uniform, low: 3}}", "users.speed: low is above high; exchange them"),
        ("{corners: [[0, 0], [1]]}", "users.corners[1]: found a list of 1; a list of 2: a number, a number is allowed"),
        ("{corners: [[0, 0], [1, x]]}", 'users.corners[1][1]: found "x"; a number is allowed'),
        *[
            (f"{{{written}}}", f"users.{place}: until_s must come after from_s")
            for written, place in [
                ("absences: [{from_s: 0, until_s: 1}, {from_s: 8, until_s: 5}]", "absences[1]"),
                ("pairs: [[{from_s: 0, until_s: 1}, {from_s: 8, until_s: 5}]]", "pairs[0][1]"),
                ("holiday: {from_s: 8, until_s: 5}", "holiday"),
                ("by_day: {monday: {from_s: 8, until_s: 5}}", "by_day.monday"),
                ("by_week: {first: [{from_s: 0, until_s: 1}, {from_s: 8, until_s: 5}]}", "by_week.first[1]"),
            ]
        ],
        ("{absences: [{from_s: 8, until_s: 5}, 3]}", "users.absences[0]: until_s must come after from_s\n"),
        ("{absences: [3]}", "users.absences[0]: found 3; a section with from_s, until_s is allowed"),
        ("{absences: 3}", "users.absences: found 3; a list, each item a section with from_s, until_s is allowed"),
        (
            "{by_day: {monday: {from_s: -1, until_s: 5}}}",
            "users.by_day.monday.from_s: found -1; a number >= 0 is allow",
        ),
        ("{by_week: {first: []}}", "users.by_week.first: found an empty list; a list of at least 2, each item a sect"),
        ("{speeds: [3, {name: uniform, low: 3}]}", "users.speeds[1]: low is above high; exchange them"),
        ("{speeds: []}", "users.speeds: found an empty list; a list of at least 1, each item"),
        ("{quotas: [1, 0]}", "users.quotas[1]: found 0; a whole number >= 1 is allowed"),
        ("{quotas: [0, x]}", "users.quotas[0]: found 0; a whole number >= 1 is allowed\n"),
        ("{quotas: 2}", "users.quotas: found 2; a list of at least 2, each item a whole number >= 1, or null is allo"),
        ("5", "users: found 5; a section with count, share"),
        ("", "users: found nothing; a section with count, share"),
        ("{count: 0, share: 0, note: 1}", "users.count: found 0; a whole number >= 1 is allowed\n"),
    ],
)
def test_one_sentence_says_what_is_wrong(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        users(tmp_path, text)
    assert str(caught.value).startswith(f"{tmp_path}/case.yaml:2: {message}")


def test_a_missing_field_is_named(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"case\.yaml:1: the field name is missing; text is needed"):
        read(tmp_path, "users: {}\n")


def test_an_error_of_an_override_names_the_override(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError) as caught:
        users(tmp_path, "{count: 3}", "users.count=0")
    assert str(caught.value) == "--set users.count=0: found 0; a whole number >= 1 is allowed"
    with pytest.raises(ScenarioError) as caught:
        users(tmp_path, "{fading: none}", "users.fadin.name=none")
    assert str(caught.value).startswith(
        '--set users.fadin.name=none: users: unknown field "fadin"; nearest is "fading"'
    )


def test_all_errors_are_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError) as caught:
        read(tmp_path, "name: a\nusers:\n  count: 0\n  share: 0\n  note: 1\n")
    place = f"{tmp_path}/case.yaml"
    lines = str(caught.value).splitlines()
    assert [line.partition(": found")[0] for line in lines] == [
        f"{place}:3: users.count",
        f"{place}:4: users.share",
        f"{place}:5: users.note",
    ]


def test_an_unknown_field_hides_nothing_else_of_its_section(tmp_path: Path) -> None:
    """Nor does a renamed or missing one; a missing one goes without saying where an unknown one is meant for it."""
    with pytest.raises(ScenarioError) as caught:
        read(tmp_path, "nme: a\nusers:\n  cuont: 3\n  share: 0\n  holiday: {until_s: x, to_s: 3}\nother: {}\n")
    place = f"{tmp_path}/case.yaml"
    assert [
        re.sub('(found|unknown field "[a-z_]*"|missing).*', r"\1", line) for line in str(caught.value).splitlines()
    ] == [
        f'{place}:1: unknown field "nme"',
        f'{place}:6: unknown field "other"',
        f'{place}:3: users: unknown field "cuont"',
        f"{place}:4: users.share: found",
        f'{place}:5: users.holiday: unknown field "to_s"',
        "and 1 more error",
    ]
    with pytest.raises(ScenarioError) as caught:
        users(tmp_path, "{holiday: {form_s: -1, until_s: 0}, fading: {name: rayleigh, x: 1, coherence_time_s: 0}}")
    assert [line.partition("; ")[0] for line in str(caught.value).splitlines()] == [
        f'{place}:2: users.fading: unknown field "x"',
        f"{place}:2: users.fading.coherence_time_s: found 0",
        f'{place}:2: users.holiday: unknown field "form_s"',
    ]


def test_a_part_whose_fields_do_not_fit_is_named_beside_an_unknown_field(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError) as caught:
        users(tmp_path, "{cuont: 1, holiday: {from_s: 2, until_s: 1}, speed: {name: uniform, low: 3}}")
    assert [line.rpartition(": ")[2].partition(";")[0] for line in str(caught.value).splitlines()[1:]] == [
        "low is above high",
        "until_s must come after from_s",
    ]


def test_of_many_errors_the_first_are_named_and_the_others_counted(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError) as caught:
        users(tmp_path, f"{{quotas: {[0] * 9}}}")
    *named, last = str(caught.value).splitlines()
    assert [f"users.quotas[{number}]: " in line for number, line in enumerate(named)] == [True] * 5
    assert last == "and 4 more errors"


def test_another_name_resets_the_section(tmp_path: Path) -> None:
    text = "{fading: {name: rayleigh, coherence_time_s: 1}}"
    assert users(tmp_path, text, "users.fading.name=none").fading == NoFading()
    assert users(tmp_path, text, "users.fading=none").fading == NoFading()
    assert users(tmp_path, "{fading: none}", "users.fading.name=rayleigh").fading == Rayleigh()
    assert users(tmp_path, "{speed: 3}", "users.speed.name=uniform", "users.speed.high=9").speed == Uniform(high=9.0)


def test_documentation_is_what_stands_under_the_fields() -> None:
    assert documentation(Rayleigh) == {"coherence_time_s": "Length of a fading block in seconds."}
    assert summary(Rayleigh) == "Rayleigh block fading."


def test_the_json_schema_says_the_same() -> None:
    schema: dict[str, Any] = Parts(PARTS.families, describing=True).adapter(Root).json_schema()
    definitions = schema["$defs"]
    assert schema["required"] == ["name"]
    assert definitions["Users"]["properties"]["count"] == {
        "default": 10,
        "minimum": 1,
        "title": "Count",
        "type": "integer",
    }
    assert definitions["Users"]["properties"]["fading"]["default"] == {"name": "rayleigh", "coherence_time_s": 0.05}
    assert definitions["Rayleigh"]["properties"]["coherence_time_s"]["exclusiveMinimum"] == 0
    assert not definitions["Rayleigh"]["additionalProperties"]
