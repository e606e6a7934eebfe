"""Studies: which points they mean, what those are called, and one sentence for each way to get a study wrong."""

import re
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from sweeps import BANDS, index

from scenarios import load
from scenarios.labels import LABEL, labels
from scenarios.plan import SweepPlan, plan
from scenarios.shipped import shipped

UPLINK, DOWNLINK = (f"network.sharing.{way}.bandwidth_mhz" for way in ("uplink", "downlink"))


def planned(small: Path, **study: Any) -> SweepPlan:
    file = small.parent / "study.yaml"
    file.write_text(yaml.safe_dump({"base": "small.yaml", **study}, sort_keys=False))
    return plan(file)


def test_a_grid_is_every_combination(small: Path) -> None:
    made = planned(small, grid={UPLINK: [1, 2], "learning.scheme.name": ["sl", "fedavg", "psl"]}, seeds=2)
    expected = [
        (f"bandwidth_mhz={band},scheme={scheme}", seed)
        for band, scheme, seed in product([1, 2], ["sl", "fedavg", "psl"], [3, 4])
    ]
    assert [(point.label, point.scenario.seed) for point in made.points] == expected
    assert made.study.name == "study"
    for point in made.points:
        assert point.scenario == load(small, {**point.overrides, "seed": point.scenario.seed})


def test_a_zip_takes_values_side_by_side(small: Path) -> None:
    made = planned(small, zip={UPLINK: [1, 2], DOWNLINK: [5, 6]})
    assert [dict(point.overrides) for point in made.points] == [{UPLINK: 1, DOWNLINK: 5}, {UPLINK: 2, DOWNLINK: 6}]
    assert [point.label for point in made.points] == [
        "uplink.bandwidth_mhz=1,downlink.bandwidth_mhz=5",
        "uplink.bandwidth_mhz=2,downlink.bandwidth_mhz=6",
    ]


def test_a_list_names_its_settings_or_not(small: Path) -> None:
    made = planned(
        small,
        list=[
            {},
            {"label": "Two seconds", "learning.policy": {"name": "deadline", "deadline_s": 2}},
            {"learning.policy": {"name": "deadline", "deadline_s": 0.5}},
        ],
        seeds=[8, 2],
    )
    assert [point.path for point in made.points] == [
        "points/base/seed-8",
        "points/base/seed-2",
        "points/Two seconds/seed-8",
        "points/Two seconds/seed-2",
        "points/policy=deadline-deadline_s=0.5/seed-8",
        "points/policy=deadline-deadline_s=0.5/seed-2",
    ]


def test_values_of_every_setting_give_way_to_its_own(small: Path) -> None:
    """They name no setting; a setting's own field, or the part around it, comes before them."""
    deadline = {"name": "deadline", "deadline_s": 2}
    every = {UPLINK: 7, "learning.policy.deadline_s": 1}
    made = planned(small, every=every, list=[{"learning.policy": deadline}, {"learning.policy.name": "deadline"}])
    assert [dict(point.overrides) for point in made.points] == [
        {UPLINK: 7, "learning.policy": deadline},
        {**every, "learning.policy.name": "deadline"},
    ]
    assert [point.scenario.learning.policy.deadline_s for point in made.points] == [2, 1]
    assert {point.scenario.network.sharing.uplink.bandwidth_mhz for point in made.points} == {7}
    made = planned(small, every={UPLINK: 7}, grid={DOWNLINK: [1, 2]})
    assert [point.label for point in made.points] == ["bandwidth_mhz=1", "bandwidth_mhz=2"]
    assert [point.overrides[UPLINK] for point in made.points] == [7, 7]


def test_labels_name_only_what_differs() -> None:
    assert labels([{"stop.rounds": 5, "a.b": 1}, {"stop.rounds": 5, "a.b": 2.5}]) == ["b=1", "b=2.5"]
    assert labels([{"a.hidden": [64, 32]}, {"a.hidden": []}]) == ["hidden=64-32", "hidden="]
    assert labels([{"x.file": "../a b/c.csv"}]) == ["file=..-a-b-c.csv"]
    assert labels([{"x.on": True, "y.on": None}]) == ["x.on=true,y.on=null"]


names = st.lists(st.sampled_from("abc"), min_size=1, max_size=3).map(".".join)
values = st.none() | st.booleans() | st.integers(-99, 99) | st.text(max_size=8)


@given(st.lists(st.dictionaries(names, values, max_size=3), min_size=1, max_size=5))
def test_labels_can_name_folders(settings: list[dict[str, Any]]) -> None:
    for label in labels(settings):
        assert LABEL.fullmatch(label)
        assert label.isprintable()
        assert label.split("/") == [label]
        assert not label.startswith(".")


POINTS = {
    "answers_beside_training": 15,
    "asynchrony": 40,
    "availability": 27,
    "bandwidth": 36,
    "batteries": 24,
    "fedsl_pq_steps": 6,
    "gapsl_frozen": 5,
    "gapsl_steps": 45,
    "handover": 15,
    "hasfl_steps": 27,
    "hierarchy": 18,
    "ho_sfl_steps": 16,
    "hsplitlora_steps": 20,
    "moe_large": 2,
    "moe_serving": 27,
    "recorded_drive": 25,
    "reuse": 15,
    "serving": 15,
    "sflam_steps": 18,
    "stragglers": 30,
    "token_budgets": 144,
}


@pytest.mark.parametrize("file", shipped("studies"), ids=lambda file: file.stem)
def test_shipped_studies_are_planned(file: Path, tmp_path: Path) -> None:
    made = plan(file)
    assert POINTS[made.study.name] == len(made.points)
    assert len({point.path for point in made.points}) == len(made.points)
    copy = tmp_path / "study.yaml"  # as it lies in the folder of a sweep
    copy.write_text(made.text(tmp_path))
    assert [(point.path, point.scenario) for point in plan(copy).points] == [
        (point.path, point.scenario) for point in made.points
    ]


BASE = "base: small.yaml\n"
GRID = BASE + "grid:\n  network.users.count: [2, 3]\n"

# What the study says -> line (0: none) and beginning of the sentence behind `file:line: `.
CASES: dict[str, tuple[str, int, str]] = {
    "nothing": ("", 0, "the file is empty; a study is lines of `field: value`"),
    "a list": ("- 1\n", 1, "found a list of 1; a study is lines of"),
    "no base": ("grid: {seed: [1]}\n", 1, "the field base is missing; text is needed"),
    "a scenario": ("seed: 3\nnetwork: {}\n", 0, "this is a scenario; `netsim run` runs it"),
    "base is a number": ("base: 3\ngrid: {x: [1]}\n", 1, "base: found 3; text is allowed"),
    "base is not there": (
        "grid: {x: [1]}\nbase: smal.yaml\n",
        2,
        "base: DIR/smal.yaml: there is no such file; did you",
    ),
    "base is a study": ("base: study.yaml\nlist: [{}]\n", 1, "base: DIR/study.yaml: this is a study; `netsim sweep`"),
    "base is wrong": ("base: wrong.yaml\nlist: [{}]\n", 1, "base: DIR/wrong.yaml:1: seed: found -1; a whole number"),
    "unknown field": (
        GRID + "gird: {}\n",
        4,
        'unknown field "gird"; nearest is "grid"; allowed: base, name, grid, zip',
    ),
    "unknown field of every setting": (
        GRID + "every:\n  learning.batchsize: 4\n",
        5,
        'learning: unknown field "batchsize"; nearest is "batch_size"',
    ),
    "nothing changes": (BASE, 1, "found none of grid, zip and list; one of them is needed"),
    "two at a time": (
        GRID + "zip: {seed: [1]}\n",
        1,
        "found grid and zip of grid, zip and list; one of them is needed",
    ),
    "no list of values": (
        BASE + "grid:\n  network.users.count: 2\n",
        3,
        "grid.network.users.count: found 2; a list of at",
    ),
    "no values": (
        BASE + "grid: {network.users.count: []}\n",
        2,
        "grid.network.users.count: found an empty list; a list",
    ),
    "sections for a path": (
        BASE + "grid: {network: {users: {count: [1]}}}\n",
        2,
        "grid.network: found a section; a list",
    ),
    "grid is a list": (BASE + "grid: [1]\n", 2, "grid: found a list of 1; a section, each field a list of at least 1"),
    "list is a section": (BASE + "list: {a: 1}\n", 2, "list: found a section; a list, each item a section"),
    "setting is a number": (BASE + "list:\n- {}\n- 3\n", 4, "list[1]: found 3; a section, each field any value"),
    "lengths differ": (
        BASE + "zip:\n  seed: [1, 2]\n  name: [a]\n",
        2,
        "zip: found lists of 1 and 2 values; their lengths must agree",
    ),
    "bad value": (
        BASE + "grid:\n  network.users.count:\n  - 3\n  - none\n",
        5,
        'network.users.count: found "none"; a whole',
    ),
    "bad path": (BASE + "grid:\n  network.usres.count: [3]\n", 3, 'network: unknown field "usres"; nearest is "users"'),
    "path without steps": (BASE + "grid: {network..count: [3]}\n", 2, "a path is names joined by dots"),
    "unknown part": (
        BASE + "list:\n- learning.scheme: sfl_v9\n",
        3,
        'learning.scheme: unknown scheme "sfl_v9"; nearest',
    ),
    "bad inside": (
        BASE + "list:\n- label: a\n  learning.policy: {name: deadline, deadline_s: -1}\n",
        4,
        "learning.policy.deadline_s: found -1; a number > 0 is allowed",
    ),
    "a cut too deep": (BASE + "grid:\n  learning.cut:\n  - 1\n  - 9\n", 5, "learning.cut: "),
    "does not fit the base": (
        BASE + "grid: {network.users.count: [3, 4]}\n",
        2,
        "setting count=4: DIR/small.yaml:10: compute.devices.flops_per_s: ",
    ),
    "seed as a field": (GRID + "  seed: [1, 2]\n", 4, "found the field seed in a setting; write `seeds:` beside it"),
    "no seeds": (GRID + "seeds: 0\n", 4, "seeds: found 0; a whole number >= 1, or a list of at least 1, each item a"),
    "a seed below zero": (GRID + "seeds: [1, -1]\n", 4, "seeds: found a list of 2; a whole number >= 1, or a list"),
    "a seed twice": (GRID + "seeds: [1, 2, 1]\n", 1, "found a seed twice in seeds; keep one"),
    "the same value twice": (
        BASE + "grid: {network.users.count: [2, 2]}\n",
        2,
        'found the label "count=2" twice, first at',
    ),
    "the same label twice": (
        BASE + "list:\n- {label: A}\n- {label: a}\n",
        4,
        'found the label "a" twice, first at DIR/st',
    ),
    "a label that is a path": (BASE + "list:\n- {label: ../../etc}\n", 3, 'found "../../etc" as a label; up to 100'),
    "a label that is a number": (BASE + "list:\n- {label: 5}\n", 3, "found 5 as a label; up to 100 letters"),
    "an endless label": (BASE + f"list:\n- {{label: {'x' * 101}}}\n", 3, 'found "xxxxxxxxxx'),
    "a name that is a path": (GRID + "name: a/b\n", 1, 'the name "a/b" cannot name a folder'),
    "far too many": (
        BASE + "grid:\n" + "".join(f"  f{n}: [1, 2, 3, 4, 5, 6, 7, 8, 9]\n" for n in range(9)),
        2,
        "grid: found 387420489 settings; at most 10000 are allowed",
    ),
    "too many seeds": (GRID + "seeds: 100000\n", 1, "found 2 settings with 100000 seeds each; at most 10000 runs"),
}


@pytest.mark.parametrize("case", CASES, ids=[name.replace(" ", "_") for name in CASES])
def test_a_malformed_study_is_one_sentence(case: str, small: Path, tmp_path: Path, netsim) -> None:
    text, line, sentence = CASES[case]
    (tmp_path / "wrong.yaml").write_text("seed: -1\n")
    file = tmp_path / "study.yaml"
    file.write_text(text)
    code, out, err = netsim("sweep", file, "-o", tmp_path / "out")
    assert (code, out, err.count("\n")) == (2, "", 1)
    expected = f"{file}{f':{line}' if line else ''}: {sentence.replace('DIR', str(tmp_path))}"
    assert re.sub(r" \(and \d+ more\)", "", err).startswith(expected)
    assert not (tmp_path / "out").exists()


def test_errors_of_the_base_and_of_settings_are_named_at_once(small: Path, tmp_path: Path, netsim) -> None:
    """Each once: those of the base are not repeated for each setting; at most five, and the number of the others."""
    wrong = small.read_text().replace("batch_size: 16", "batch_size: none")
    assert wrong != small.read_text()
    (tmp_path / "wrong.yaml").write_text(wrong)
    file = tmp_path / "study.yaml"
    file.write_text("base: wrong.yaml\ngrid:\n  network.users.count:\n  - 3\n  - none\n  - 0\n")
    code, out, err = netsim("sweep", file, "-o", tmp_path / "out")
    assert (code, out) == (2, "")
    base, none, zero = err.splitlines()
    assert base.startswith(f"{file}:1: base: {tmp_path / 'wrong.yaml'}:")
    assert 'learning.batch_size: found "none"; ' in base
    assert none.startswith(f'{file}:5: network.users.count: found "none"; ')
    assert zero.startswith(f"{file}:6: network.users.count: found 0; ")
    file.write_text("base: nowhere.yaml\nlist: [{seed: 1}]\n")
    assert [line.partition(": ")[0] for line in netsim("sweep", file).err.splitlines()] == [f"{file}:1", f"{file}:2"]
    file.write_text("base: small.yaml\ngrid: {network.users.count: [0, -1, -2, -3, -4, -5, -6]}\n")
    lines = netsim("sweep", file).err.splitlines()
    assert (len(lines), lines[-1]) == (6, "and 2 more errors")


@pytest.mark.parametrize("command", ["run", "check"])
def test_a_study_is_no_scenario(command: str, small: Path, netsim) -> None:
    file = small.parent / "study.yaml"
    file.write_text(GRID)
    assert netsim(command, file) == (2, "", f"{file}: this is a study; `netsim sweep` runs it\n")


def test_an_override_changes_the_base_of_all_settings(study: Path) -> None:
    planned = plan(study, {"learning.stop.rounds": 1})
    assert {point.scenario.learning.stop.rounds for point in planned.points} == {1}  # type: ignore[union-attr]
    assert {point.label for point in planned.points} == {point.label for point in plan(study).points}
    assert planned.overrides == {"learning.stop.rounds": 1}


@pytest.mark.parametrize(
    ("setting", "field"),
    [
        (f"{BANDS}=3", BANDS),
        ("network.sharing.uplink={bandwidth_mhz: 3}", BANDS),
        ("seed=3", "seed"),
    ],
)
def test_an_override_of_what_the_study_varies_is_refused(setting: str, field: str, study: Path, netsim) -> None:
    code, out, err = netsim("sweep", study, "--set", setting)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"--set {setting.partition('=')[0]}: ")
    assert err.endswith(f" sets {field}; change it there\n")


def test_an_override_inside_a_section_that_the_study_varies_is_refused(small: Path, netsim) -> None:
    file = small.parent / "fading.yaml"
    file.write_text("base: small.yaml\nlist: [{network.channel.fading: {name: rayleigh, coherence_time_s: 1}}]\n")
    code, _, err = netsim("sweep", file, "--set", "network.channel.fading.coherence_time_s=2")
    assert code == 2
    place = f"{file}:2"
    assert (
        err == f"--set network.channel.fading.coherence_time_s: {place} sets network.channel.fading; change it there\n"
    )


def test_a_sweep_records_what_was_set(study: Path, tmp_path: Path, netsim) -> None:
    short = ("--set", "learning.executor=dry", "--set", "learning.stop.rounds=1")
    assert netsim("sweep", study, "-o", tmp_path / "sweep", "--jobs", 1, *short).code == 0
    assert index(tmp_path / "sweep")["set"] == {"learning.executor": "dry", "learning.stop.rounds": 1}
