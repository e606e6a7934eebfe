"""Documents: what YAML text says, where it says so, and how overrides change it. Oracle: the YAML 1.2 core schema."""

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenarios.document import Document, assignments
from scenarios.errors import ScenarioError
from scenarios.yaml12 import MAX_DEPTH, Text, dump


def document(tmp_path: Path, text: str) -> Document:
    file = tmp_path / "case.yaml"
    file.write_text(text)
    return Document.read(file)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e6", 1e6),
        ("-1.5E-3", -1.5e-3),
        (".5", 0.5),
        ("12", 12),
        ("0o17", 15),
        ("0x1F", 31),
        ("010", 10),
        ("on", "on"),
        ("yes", "yes"),
        ("no", "no"),
        ("true", True),
        ("False", False),
        ("~", None),
        ("", None),
        ("null", None),
        ("2024-01-01", "2024-01-01"),
        ("1:30", "1:30"),
        ("1_000", "1_000"),
        ("'12'", "12"),
        ('"true"', "true"),
        ("-.inf", -math.inf),
        ("10 MHz", "10 MHz"),
        ("[1, 2.0, a]", [1, 2.0, "a"]),
        ("{a: {b: 1}}", {"a": {"b": 1}}),
    ],
)
def test_scalars_are_those_of_yaml_1_2(text: str, value: object) -> None:
    content = Text(text, "here").content
    assert content == value
    assert type(content) is type(value)


def test_not_a_number_is_read_as_one() -> None:
    assert math.isnan(Text(".NaN", "here").content)


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.floats(allow_nan=False) | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=12,
)


@given(plain, st.booleans())
def test_what_is_written_is_read_back(value: object, one_line: bool) -> None:
    assert Text(dump(value, one_line=one_line), "here").content == value


def test_every_field_knows_its_line(tmp_path: Path) -> None:
    case = document(tmp_path, "# comment\nname: a\nusers:\n  count: 3\n  speeds: [1,\n    2]\n")
    lines = {path: case.place(path).rpartition(":")[2] for path in [("name",), ("users", "count"), ("users",)]}
    assert lines == {("name",): "2", ("users", "count"): "4", ("users",): "3"}
    assert case.place(("users", "speeds", 1)).endswith(":6")
    assert case.place(("users", "not written", "at all")).endswith(":3")


def test_an_anchor_may_be_used_again(tmp_path: Path) -> None:
    case = document(tmp_path, "a: &law {low: 1}\nb: *law\n")
    assert case.content == {"a": {"low": 1}, "b": {"low": 1}}


def test_an_override_of_an_alias_leaves_the_original_alone(tmp_path: Path) -> None:
    case = document(tmp_path, "a: &law {low: 1}\nb: *law\n")
    case.override({"b.low": 2})
    assert case.content == {"a": {"low": 1}, "b": {"low": 2}}


@pytest.mark.parametrize(
    ("settings", "content"),
    [
        (["name=b"], {"name": "b", "part": {"name": "old", "x": 1}}),
        (["part.x=2"], {"name": "a", "part": {"name": "old", "x": 2}}),
        (["part.x=[1, {y: 2}]"], {"name": "a", "part": {"name": "old", "x": [1, {"y": 2}]}}),
        (["part.name=old"], {"name": "a", "part": {"name": "old", "x": 1}}),
        (["part.name=new"], {"name": "a", "part": {"name": "new"}}),
        (["part.y=2", "part.name=new"], {"name": "a", "part": {"name": "new", "y": 2}}),
        (["part=new", "part.y=2"], {"name": "a", "part": {"name": "new", "y": 2}}),
        (["other.deep.er=1e3"], {"name": "a", "part": {"name": "old", "x": 1}, "other": {"deep": {"er": 1000.0}}}),
        (["part="], {"name": "a", "part": None}),
    ],
)
def test_overrides(tmp_path: Path, settings: list[str], content: object) -> None:
    """A new name resets its section, whatever the order of the settings; the same name changes nothing."""
    for order in (settings, settings[::-1]):
        case = document(tmp_path, "name: a\npart: {name: old, x: 1}\n")
        case.override(assignments(order))
        assert case.content == content


def test_an_overridden_field_is_placed_on_the_command_line(tmp_path: Path) -> None:
    case = document(tmp_path, "part: {name: old, x: 1}\n")
    case.override(assignments(["part.name=new", "part.y=[1, 2]"]))
    assert case.place(("part", "y", 1)) == "--set part.y=[1, 2]"
    assert case.place(("part", "x")) == "--set part.name=new"


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("part.x", "--set part.x: found no `=`"),
        ("part.=1", "--set part.=1: a path is names joined by dots"),
        ("list.0=1", "--set list.0=1: list is a list; set it as a whole"),
        ("part.x=[1", "--set part.x=[1: expected ',' or ']'"),
        ("part.x=!!python/name:os.system", "--set part.x=!!python/name:os.system: the tag"),
    ],
)
def test_bad_settings_are_refused(tmp_path: Path, setting: str, message: str) -> None:
    case = document(tmp_path, "part: {name: old, x: 1}\nlist: [1]\n")
    with pytest.raises(ScenarioError) as caught:
        case.override(assignments([setting]))
    assert str(caught.value).startswith(message)


def test_nesting_is_bounded_exactly(tmp_path: Path) -> None:
    def nested(levels: int) -> str:
        return "a: " + "[" * (levels - 2) + "1" + "]" * (levels - 2)

    assert document(tmp_path, nested(MAX_DEPTH)).content
    with pytest.raises(ScenarioError, match="nested deeper"):
        document(tmp_path, nested(MAX_DEPTH + 1))
