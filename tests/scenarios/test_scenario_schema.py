"""The schema as a whole: shipped files, resolved scenarios, JSON Schema, reference, and mutated files."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from scenarios import Scenario, ScenarioError, load
from scenarios.document import Document
from scenarios.errors import MAX_ERRORS
from scenarios.reference import reference
from scenarios.schema import json_schema, parts, resolved
from scenarios.shipped import shipped
from scenarios.yaml12 import Text, dump

ROOT = Path(__file__).parents[2]
SHIPPED = shipped("scenarios")
PARTS = parts()
QUICKSTART = (ROOT / "scenarios" / "quickstart.yaml").read_text()
RESOLVED = resolved(load(ROOT / "scenarios" / "quickstart.yaml"))


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.name)
def test_a_resolved_scenario_loads_as_an_equal_one(file: Path, tmp_path: Path) -> None:
    scenario = load(file)
    again = tmp_path / "resolved.yaml"
    again.write_text(resolved(scenario))
    assert load(again) == scenario
    assert resolved(load(again)) == again.read_text()


def test_a_resolved_scenario_writes_every_default_out(tmp_path: Path) -> None:
    (tmp_path / "bare.yaml").write_text("seed: 4\n")
    content = yaml.safe_load(resolved(load(tmp_path / "bare.yaml")))
    assert list(content) == [
        "name",
        "seed",
        "seeds",
        "network",
        "compute",
        "energy",
        "learning",
        "traffic",
        "trace",
        "limits",
    ]
    assert (content["name"], content["seed"], content["learning"]) == ("bare", 4, None)
    assert content["network"]["users"]["count"] == 10
    assert content["network"]["channel"]["fading"] == {"name": "rayleigh", "coherence_time_s": 0.05}


def test_overrides_from_python(small: Path) -> None:
    scenario = load(small, {"network.users.count": 2, "compute.devices.flops_per_s": [1, 2], "learning.scheme": "sl"})
    assert scenario.network.users.count == 2
    assert scenario == load(
        small, {"learning.scheme": "sl", "compute": {"devices": {"flops_per_s": [1.0, 2.0]}}, "network.users.count": 2}
    )


def test_another_part_by_name_has_its_own_defaults(small: Path, tmp_path: Path) -> None:
    """Nothing of the old part carries over, not even fields that the new one has too."""
    (tmp_path / "plain.yaml").write_text(
        "learning: {scheme: fedavg, stop: {rounds: 1}}\nnetwork: {channel: {fading: rician}}\n"
    )
    plain = load(tmp_path / "plain.yaml")
    scenario = load(small, {"learning.scheme.name": "fedavg", "network.channel.fading": "rician"})
    assert scenario.learning
    assert plain.learning
    assert scenario.learning.scheme == plain.learning.scheme
    assert scenario.network.channel.fading == plain.network.channel.fading


def test_the_name_is_that_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / ".my first: study.yaml"
    file.write_text("seed: 1\n")
    assert load(file).name == "my-first-study"


def test_the_reference_is_up_to_date() -> None:
    """If this fails: python -m scenarios.reference > docs/scenario_reference.md."""
    assert (ROOT / "docs" / "scenario_reference.md").read_text() == reference()


def test_every_field_and_part_is_documented() -> None:
    lines = reference().splitlines()
    rows = [line for line in lines if line.startswith("| `")]
    assert len(rows) > 80
    assert not [row for row in rows if not row.split(" | ")[-1].strip(" |")]
    for protocol, family in PARTS.families.items():
        assert f"## {protocol.__name__}" in lines
        assert {f"### `{name}`" for name in family} <= set(lines)


def fits(value: Any, schema: dict[str, Any], definitions: dict[str, Any]) -> bool:
    """Whether a value is valid, by the rules of JSON Schema that the scenario's schema uses."""
    if "$ref" in schema:
        return fits(value, definitions[schema["$ref"].rpartition("/")[2]], definitions)
    if "anyOf" in schema:
        return any(fits(value, choice, definitions) for choice in schema["anyOf"])
    if "const" in schema or "enum" in schema:
        return value in schema.get("enum", [schema.get("const")])
    number = isinstance(value, int | float) and not isinstance(value, bool)
    match schema.get("type"):
        case "null":
            return value is None
        case "boolean":
            return isinstance(value, bool)
        case "string":
            return isinstance(value, str)
        case "integer" | "number" as kind:
            bounds = {
                "minimum": "__ge__",
                "exclusiveMinimum": "__gt__",
                "maximum": "__le__",
                "exclusiveMaximum": "__lt__",
            }
            within = (
                all(getattr(float(value), bounds[key])(schema[key]) for key in bounds if key in schema)
                if number
                else False
            )
            return within and (kind == "number" or isinstance(value, int))
        case "array":
            if not isinstance(value, list) or not schema.get("minItems", 0) <= len(value) <= schema.get(
                "maxItems", 1e9
            ):
                return False
            items = schema.get("prefixItems") or [schema["items"]] * len(value)
            return all(fits(one, item, definitions) for one, item in zip(value, items, strict=True))
        case "object":
            fields, others = schema.get("properties", {}), schema.get("additionalProperties", False)
            return (
                isinstance(value, dict)
                and set(schema.get("required", [])) <= set(value)
                and (isinstance(others, dict) or set(value) <= set(fields))
                and all(fits(inner, fields.get(name, others), definitions) for name, inner in value.items())
            )
    raise AssertionError(f"a rule that this test does not know: {schema}")


def test_json_schema_accepts_what_is_valid_and_refuses_what_is_not() -> None:
    schema = json.loads(json.dumps(json_schema()))
    definitions = schema["$defs"]
    valid = Text(QUICKSTART, "here").content
    assert fits(valid, schema, definitions)
    for file in SHIPPED:
        assert fits(Text(resolved(load(file)), "here").content, schema, definitions)
    for wrong in (
        {"seed": -1},
        {"seed": 1.5},
        {"netwrok": {}},
        {"learning": {"scheme": "sfl_v3", "stop": {"rounds": 1}}},
        {"learning": {"scheme": "sfl_v1"}},
        {"network": {"channel": {"fading": {"name": "rayleigh", "coherence_time_s": 0}}}},
        {"network": {"users": {"tx_power_dbm": "loud"}}},
    ):
        assert not fits(wrong, schema, definitions), wrong


def refused_or_read(document: Document) -> None:
    """A document is a scenario, or there is one sentence about it."""
    try:
        assert isinstance(PARTS.read(Scenario, document), Scenario)
    except ScenarioError as error:
        assert_sentence(error)


def assert_sentence(error: ScenarioError) -> None:
    lines = str(error).splitlines()
    assert ": " in lines[0]
    assert len(lines) <= MAX_ERRORS + 1
    assert all(line.isprintable() and len(line) < 2000 for line in lines)


junk = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**12), 10**12),
    st.floats(),
    st.text(max_size=6),
    st.sampled_from(["10 MHz", "rayleigh", "sfl_v1", "1e6", "on"]),
    st.lists(st.integers(-2, 2), max_size=3),
    st.dictionaries(st.sampled_from(["name", "count", "value", "low", "x"]), st.integers(-1, 2), max_size=2),
)


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_any_mutation_of_values_is_refused_or_read(data: st.DataObject) -> None:
    """A field anywhere is replaced, removed or added."""
    content = yaml.safe_load(RESOLVED)
    section = content
    while inner := [value for value in section.values() if isinstance(value, dict)]:
        if data.draw(st.booleans()):
            break
        section = data.draw(st.sampled_from(inner))
    key = data.draw(st.sampled_from([*sorted(section), "x"]) | st.text(max_size=5))
    if data.draw(st.booleans()):
        section.pop(key, None)
    else:
        section[key] = data.draw(junk)
    text = Text(dump(content), "case.yaml")
    refused_or_read(Document("case.yaml", text.content, text.places))


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_any_mutation_of_text_is_refused_or_read(data: st.DataObject) -> None:
    """A stretch of the file is replaced by a few characters, among them those that mean something to YAML."""
    start = data.draw(st.integers(0, len(QUICKSTART)))
    end = min(len(QUICKSTART), start + data.draw(st.integers(0, 60)))
    inserted = data.draw(st.text(st.sampled_from("{}[]:,-#&*!|>'\"%@`?<~ \n\t\0aé1.e") | st.characters(), max_size=8))
    try:
        text = Text(QUICKSTART[:start] + inserted + QUICKSTART[end:], "case.yaml")
    except ScenarioError as error:
        assert_sentence(error)
        return
    if isinstance(text.content, dict):
        refused_or_read(Document("case.yaml", text.content, text.places))
