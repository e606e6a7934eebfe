"""Shipped files by name, the list with the places of parts, the version, and completion."""

import os
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from scenarios import ScenarioError, load
from scenarios.catalogue import entries, places
from scenarios.document import Document
from scenarios.schema import interpret, parts
from scenarios.shipped import SCENARIOS, named, shipped

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("group", ["scenarios", "studies"])
def test_every_shipped_file_has_a_name_of_its_own(group: str) -> None:
    files = shipped(group)
    assert files
    assert [named(file.stem, group) for file in files] == files


def test_a_shipped_scenario_is_run_by_its_name(tmp_path: Path, netsim, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    short = ("--set", "learning.executor=dry", "--set", "learning.stop={rounds: 1}")
    assert netsim("run", "quickstart", *short, "--quiet").code == 0
    assert (tmp_path / "runs" / "quickstart" / "run.json").is_file()
    assert netsim("check", "quickstart", *short).code == 0
    assert load("quickstart") == load(ROOT / "scenarios" / "quickstart.yaml")


def test_a_file_of_ones_own_comes_before_a_shipped_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "quickstart").write_text("seed: 99\n")
    assert load("quickstart").seed == 99


@pytest.mark.parametrize("command", ["run", "check"])
def test_a_name_that_there_is_not_is_refused_with_the_nearest(command: str, netsim) -> None:
    code, out, err = netsim(command, "quickstat")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("quickstat: there is no such file, and no scenarios of that name")
    assert "did you mean quickstart?" in err
    assert "did you mean stragglers?" in netsim("sweep", "straglers").err


def test_a_study_is_not_a_scenario_by_name() -> None:
    with pytest.raises(ScenarioError, match="no scenarios of that name"):
        named("bandwidth")
    assert named("bandwidth", "studies") == SCENARIOS / "studies" / "bandwidth.yaml"


def written(place: str, name: str) -> dict[str, object]:
    """A document whose field at this place has the part of this name."""
    value: object = {"name": name}
    for step in reversed(place.replace("[0]", ".[0]").split(".")):
        value = [value] if step == "[0]" else {"one" if step == "<name>" else step: value}
    assert isinstance(value, dict)
    return value


def refusal(content: dict[str, object]) -> str:
    try:
        interpret(Document("listed", content, {(): "listed"}))
    except ScenarioError as error:
        return str(error)
    return ""


def test_each_part_is_accepted_at_the_place_that_the_list_shows() -> None:
    """A part that a field does not take is refused by its name, before anything else about it is looked at."""
    known = parts()
    for protocol, place in places(known).items():
        for name in known.families[protocol]:
            answer = refusal(written(place, name))
            assert f'"{name}"' not in answer, place
            assert "unknown field" not in answer, place


def test_every_family_has_a_place() -> None:
    known = parts()
    assert set(places(known)) == set(known.families)
    where = {protocol.__name__: place for protocol, place in places(known).items()}
    assert where["Scheme"] == "learning.scheme"
    assert where["Fading"] == "network.channel.fading"
    assert places(known) is places(known), "looked for once for all groups of the list, which takes a second otherwise"


def test_the_list_shows_places_and_commands(netsim) -> None:
    rows = [line.split()[:3] for line in netsim("list", "schemes").out.splitlines()]
    assert ["schemes", "fedavg", "learning.scheme"] in rows
    assert "  netsim run quickstart  " in netsim("list", "scenarios").out
    assert "  netsim sweep bandwidth  " in netsim("list", "studies").out
    assert "  netsim reproduce hasfl  " in netsim("list", "reproductions").out
    assert all(entry.place for entry in entries())


def test_the_version_is_that_of_the_distribution(netsim) -> None:
    assert netsim("--version") == (0, f"netsim {metadata.version('netsim-learning')}\n", "")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("netsim re", "reproduce report"),
        ("netsim run quickstart --en", "--engine"),
        ("netsim check quick", "quickstart"),
        ("netsim sweep stra", "stragglers"),
        ("netsim reproduce has", "hasfl"),
        ("netsim list sche", "schemes schedulers"),
        ("netsim list repro", "reproductions"),
        ("netsim figure runs/a runs/b g", "gantt goodput"),
        ("netsim figure -o a.pdf runs/a last", "last-metric"),
        ("netsim figure ", ""),
    ],
)
def test_shells_complete_commands_options_and_names(words: str, expected: str) -> None:
    """Without a shell, by what its script asks the command; nothing means names of files."""
    found = {}
    asked = {"COMP_WORDS": words, "COMP_CWORD": str(words.count(" ")), "_TYPER_COMPLETE_ARGS": words}
    for shell in ("bash", "zsh"):
        done = subprocess.run(
            [sys.executable, "-c", "from scenarios.cli import main; main()"],
            cwd=ROOT,
            env={**os.environ, **asked, "_NETSIM_COMPLETE": f"complete_{shell}"},
            capture_output=True,
            text=True,
            check=False,
        )
        found[shell] = done.stdout
    assert found["bash"].split() == expected.split()
    assert re.findall(r'(?:\(\(|\n)"(.+?)"', found["zsh"]) == found["bash"].split()
    assert expected or found["zsh"].strip() == "_files"
