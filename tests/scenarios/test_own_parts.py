"""Parts that a user brings along: registered, named by import path, imported by the command line, from packages."""

import json
import os
import pickle
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._pytree import tree_leaves

from learning.codecs import CODECS, Identity, Lossless, Uniform
from runs import frame
from scenarios import ScenarioError, load, register, simulate
from scenarios.engines import Task
from scenarios.families import families, registered
from scenarios.hints import hints, members, unwrap
from scenarios.own_parts import word
from scenarios.schema import Scenario, parts, resolved

ROOT = Path(__file__).parents[2]
OWN = '''\
from dataclasses import dataclass
from pathlib import Path

from torch.utils._pytree import tree_leaves

from learning.codecs import Lossless

Path("imported").touch()


@dataclass(frozen=True)
class Narrow(Lossless):
    """So many bits an element."""

    width: int = 5
    """Bits of one element."""

    def bits(self, tree):
        return self.width * sum(leaf.numel() for leaf in tree_leaves(tree))
'''
REGISTERS = """\
from narrow import Narrow
from scenarios import register


def parts():
    register("codec", "narrow", Narrow)
"""
ACTIVATIONS = "learning.scheme.link.activations"
WIDTH = 64  # of the hidden layer that is cut, in the model that is the default


@dataclass(frozen=True)
class Narrow(Lossless):
    """Three bits an element."""

    def bits(self, tree: Any) -> int:
        return 3 * sum(leaf.numel() for leaf in tree_leaves(tree))


@dataclass
class Melting(Lossless):
    def bits(self, tree: Any) -> int:
        return 0


@dataclass(frozen=True)
class Empty:
    pass


@dataclass(frozen=True)
class HoldsATensor(Lossless):
    mask: torch.Tensor | None = None

    def bits(self, tree: Any) -> int:
        return 0


def with_codec(scenario: Scenario, codec: Any) -> Scenario:
    assert scenario.learning is not None
    scheme: Any = scenario.learning.scheme
    link = replace(scheme.link, activations=codec)
    return replace(scenario, learning=replace(scenario.learning, scheme=replace(scheme, link=link)))


def run_netsim(folder: Path, *arguments: str, path: str = "") -> subprocess.CompletedProcess[str]:
    """`netsim ARGUMENTS` as a process of its own, started in a folder that is not on Python's path."""
    search = os.pathsep.join([str(ROOT), *([path] if path else [])])
    command = [sys.executable, "-c", "from scenarios.cli import main; main()", *arguments]
    environment = {**os.environ, "PYTHONPATH": search, "PYTHONSAFEPATH": "1"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def own(tmp_path: Path, small: Path) -> Path:
    """A folder with a module of one's own, and a scenario that names its class by import path."""
    text = small.read_text()
    (tmp_path / "narrow.py").write_text(OWN)
    (tmp_path / "names.py").write_text(REGISTERS + "\n\nparts()\n")
    (tmp_path / "path.yaml").write_text(
        text.replace("local_steps: 1", "local_steps: 1, link: {activations: narrow:Narrow}")
    )
    (tmp_path / "word.yaml").write_text(text.replace("local_steps: 1", "local_steps: 1, link: {activations: narrow}"))
    return tmp_path


@pytest.mark.usefixtures("own_parts")
def test_a_registered_part_is_a_word_for_scenarios_and_charged_by_its_own_rule(small: Path, tmp_path: Path) -> None:
    register("codec", "narrow", Narrow)
    scenario = load(small, {ACTIVATIONS: "narrow"})
    assert scenario == with_codec(load(small), Narrow())
    result = simulate(scenario, out=tmp_path / "run")
    sent = frame(result, "transfers").query("kind == 'activation'")
    assert set(sent.bits) == {16 * (3 * WIDTH + 64)}  # a label of 64 bits beside each sample
    assert "activations: {name: narrow}" in (tmp_path / "run" / "scenario.yaml").read_text()
    assert registered() == (("codec", "narrow", Narrow),)


@pytest.mark.usefixtures("own_parts")
def test_an_unregistered_part_is_written_by_import_path_and_read_back(small: Path, tmp_path: Path) -> None:
    scenario = with_codec(load(small), Narrow())
    simulate(scenario, out=tmp_path / "run")
    file = tmp_path / "run" / "scenario.yaml"
    assert f"{Narrow.__module__}:Narrow" in file.read_text()
    assert load(file) == scenario
    assert resolved(load(file)) == file.read_text()


def derived(part: Any, families: set[type]) -> Any:
    """A section in which a class of one's own takes the place of every part of a family, at any depth."""
    changed = {}
    for field in fields(part):
        value, hint = getattr(part, field.name), hints(type(part))[field.name]
        if is_dataclass(value):
            inner = derived(value, families)
            family = next((bare for each in members(hint) if (bare := unwrap(each)[0]) in parts().families), None)
            if family is not None:
                families.add(family)
                name = f"Own{type(value).__name__}"
                if name not in globals():
                    globals()[name] = dataclass(frozen=True)(type(name, (type(value),), {"__module__": __name__}))
                own = globals()[name]
                inner = own(**{each.name: getattr(inner, each.name) for each in fields(inner)})
            changed[field.name] = inner
    return replace(part, **changed)


def test_a_scenario_of_unregistered_parts_alone_runs_and_is_read_back(small: Path, tmp_path: Path) -> None:
    """Whatever the family; the tables are those of the parts that are shipped, whose subclasses these are."""
    given = {
        "network.mobility": {"model": "random_waypoint"},
        "network.channel.path_loss": "umi",
        "network.faults.availability": {"name": "on_off", "mean_on_s": 5, "mean_off_s": 1},
        "compute.stragglers.slowdown": {"name": "lognormal", "sigma": 0.5},
        "learning.policy": {"name": "asynchronous"},
        f"{ACTIVATIONS}": "uniform",
    }
    shipped = load(small, given)
    families: set[type] = set()
    scenario = derived(shipped, families)
    assert len(families) >= 20
    ran, again = (simulate(each, out=tmp_path / name) for each, name in ((shipped, "shipped"), (scenario, "own")))
    assert {name: table["sha256"] for name, table in ran.tables.items()} == {
        name: table["sha256"] for name, table in again.tables.items()
    }
    assert load(tmp_path / "own" / "scenario.yaml") == scenario


def test_what_a_scenario_cannot_hold_is_said_before_a_folder_is_made(small: Path, tmp_path: Path) -> None:
    scenario = with_codec(load(small), HoldsATensor(torch.ones(2)))
    with pytest.raises(ScenarioError) as refused:
        simulate(scenario, out=tmp_path / "run")
    sentence = "found an object of the class Tensor, which no scenario can hold; plain values and frozen dataclasses"
    assert str(refused.value) == f"{ACTIVATIONS}.mask: {sentence} are allowed"
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("own_parts")
@pytest.mark.parametrize(
    ("family", "name", "part", "sentence"),
    [
        ("codecs", "mine", Narrow, 'unknown family "codecs"; nearest is "codec"; allowed: '),
        ("codec", "uniform", Narrow, "the name is taken by learning.codecs.quantise.Uniform; choose another one"),
        ("codec", "my:codec", Narrow, 'found "my:codec"; a lower-case letter, then letters, digits and _ are allowed'),
        ("codec", 3, Narrow, "found 3; a lower-case letter, then letters, digits and _ are allowed"),
        ("codec", "mine", Melting, "Melting is no frozen dataclass; write @dataclass(frozen=True) above the class"),
        ("codec", "mine", Narrow(), "Narrow() is no frozen dataclass; write"),
        (
            "codec",
            "mine",
            Empty,
            "Empty has no exact and no stochastic and no bits and no roundtrip, which a codec has",
        ),
        ("codec", "mine", HoldsATensor, "a field of HoldsATensor has a type that no scenario can hold: "),
        ("scheme", "mine", Narrow, "Narrow has no "),
    ],
)
def test_a_part_that_does_not_fit_is_refused_in_one_sentence(family: str, name: str, part: Any, sentence: str) -> None:
    before = {protocol: dict(known) for protocol, known in families().items()}
    with pytest.raises(ScenarioError) as refused:
        register(family, name, part)
    assert str(refused.value).startswith(f"register({family!r}, {name!r}): {sentence}")
    assert "\n" not in str(refused.value)
    assert families() == before


@pytest.mark.usefixtures("own_parts")
def test_a_class_that_a_notebook_defines_anew_takes_its_own_place() -> None:
    register("codec", "narrow", Narrow)
    again: type = dataclass(frozen=True)(
        type("Narrow", (Lossless,), {"bits": Narrow.bits, "__module__": Narrow.__module__})
    )
    register("codec", "narrow", again)
    assert CODECS["narrow"] is again


def test_every_family_has_a_word_of_its_own() -> None:
    words = [word(protocol) for protocol in families()]
    assert len(set(words)) == len(words)
    listed = (ROOT / "docs" / "extending.md").read_text().partition("`family` is one word for its kind: ")[2]
    assert sorted(re.findall(r"`(\w+)`", listed.partition(".")[0])) == sorted(words)
    assert {"scheme", "model", "dataset", "partition", "codec", "policy", "slowdown_law", "path_loss"} <= set(words)


@pytest.mark.parametrize(
    ("written", "sentence"),
    [
        ("nowhere:Codec", 'found "nowhere:Codec", a part in code that is not loaded; write netsim --import nowhere '),
        (
            "learning.codecs:Codecs",
            'found "learning.codecs:Codecs", but there is no such class in the module learning.codecs',
        ),
        ("subprocess:Popen", "Popen is no frozen dataclass; "),
        (
            "learning.models.mlp:Mlp",
            "Mlp has no exact and no stochastic and no bits and no roundtrip, which a codec has",
        ),
        (
            "__main__:Codec",
            'found "__main__:Codec", which cannot be imported; define the class at the top of a .py file',
        ),
        ("tests:make.<locals>.Codec", 'found "tests:make.<locals>.Codec", which cannot be imported; define'),
    ],
)
def test_an_import_path_that_leads_to_no_part_is_refused(small: Path, written: str, sentence: str) -> None:
    with pytest.raises(ScenarioError) as refused:
        load(small, {f"{ACTIVATIONS}.name": written})
    assert f"{ACTIVATIONS}.name: {sentence}" in str(refused.value).replace(f"{ACTIVATIONS}: ", f"{ACTIVATIONS}.name: ")


def test_a_shipped_part_may_be_named_by_its_import_path(small: Path) -> None:
    assert load(small, {f"{ACTIVATIONS}.name": "learning.codecs.quantise:Uniform"}) == with_codec(
        load(small), Uniform()
    )
    assert load(small) == with_codec(load(small), Identity())


def test_a_scenario_alone_runs_no_code(own: Path) -> None:
    ended = run_netsim(own, "check", "path.yaml")
    assert (ended.returncode, ended.stderr.count("\n")) == (2, 1)
    assert "write netsim --import narrow (or the path of its .py file)" in ended.stderr
    assert not (own / "imported").exists()


@pytest.mark.slow
def test_the_command_line_imports_runs_repeats_and_sweeps_with_own_parts(own: Path) -> None:
    """By import path, and by a name: in this process and in workers, which find the module where it was found here."""
    (own / "study.yaml").write_text("base: word.yaml\ngrid: {network.users.count: [3]}\nseeds: 2\n")
    (own / "elsewhere").mkdir()
    ran = run_netsim(own, "--import", "narrow", "run", "path.yaml", "-o", "run", "--quiet")
    assert (ran.returncode, ran.stderr) == (0, "")
    repeated = run_netsim(own / "elsewhere", "--import", "../narrow.py", "run", "--check", "../run", "--quiet")
    assert (repeated.returncode, repeated.stdout) == (0, "identical\n")
    sweep = ("--import", "../names.py", "sweep", "../study.yaml", "-o", "sweep", "--jobs", "2")
    swept = run_netsim(own / "elsewhere", *sweep)
    assert swept.returncode == 0, swept.stderr
    written = sorted(own.glob("elsewhere/sweep/points/*/*/scenario.yaml"))
    assert len(written) == 2
    assert all("activations: {name: narrow, width: 5}" in file.read_text() for file in written)


SCRIPT = """
from dataclasses import dataclass, replace

from narrow import Narrow

from scenarios import load, simulate


@dataclass(frozen=True)
class Mine(Narrow):
    pass


if __name__ == "__main__":
    base = load("path.yaml")
    scheme = replace(base.learning.scheme, link=replace(base.learning.scheme.link, activations=Mine()))
    scenario = replace(base, learning=replace(base.learning, scheme=scheme))
    simulate(scenario, out="run")
    assert load("run/scenario.yaml") == scenario
"""


@pytest.mark.parametrize("arguments", [["mine.py"], ["-"]])
def test_a_class_of_a_script_is_named_by_its_file_and_one_of_a_shell_cannot_be_read_elsewhere(
    own: Path, arguments: list[str]
) -> None:
    (own / "mine.py").write_text(SCRIPT)
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{own}"}
    subprocess.run([sys.executable, *arguments], cwd=own, env=environment, input=SCRIPT, text=True, check=True)
    repeated = run_netsim(own, "--import", "mine.py", "run", "--check", "run", "--quiet")
    if arguments == ["mine.py"]:
        assert (repeated.returncode, repeated.stdout) == (0, "identical\n")
    else:
        assert repeated.returncode == 2
        assert (
            'found "__main__:Mine", which cannot be imported; define the class at the top of a .py file'
            in repeated.stderr
        )


def test_a_process_elsewhere_gets_modules_and_names_with_its_task(own: Path) -> None:
    """As a worker of Ray does: it is given the folders and the pickled task, and has imported nothing of ours."""
    make = (
        "import sys, pickle; sys.path.append(sys.argv[1]); import names; from scenarios import load\n"
        "from scenarios.engines import Task; from scenarios.families import registered; from pathlib import Path\n"
        "task = Task(0, load(sys.argv[1] + '/word.yaml'), Path(sys.argv[1], 'run'), None, registered())\n"
        "sys.stdout.buffer.write(pickle.dumps((sys.path, pickle.dumps(task))))"
    )
    perform = (
        "import sys, pickle; from scenarios.engines import perform_packed\n"
        "print(perform_packed(*pickle.loads(sys.stdin.buffer.read())).status)"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONSAFEPATH": "1"}
    command = [sys.executable, "-c"]
    made = subprocess.run([*command, make, str(own)], cwd="/", env=environment, capture_output=True, check=True)
    ended = subprocess.run(
        [*command, perform], cwd="/", env=environment, input=made.stdout, capture_output=True, check=True
    )
    assert ended.stdout == b"complete\n"
    assert "activations: {name: narrow, width: 5}" in (own / "run" / "scenario.yaml").read_text()


def test_what_cannot_be_imported_is_one_sentence(own: Path, netsim: Callable[..., Any], monkeypatch: Any) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    (own / "json.py").write_text("")
    (own / "fails_here.py").write_text("\n\n1 / 0\n")
    (own / "ends_here.py").write_text("import sys\n\nsys.exit(0)\n")
    sentences = {
        "no_such_module": "ModuleNotFoundError: No module named 'no_such_module'",
        f"{own}/absent.py": "there is no such file",
        f"{own}/json.py": f"{json.__file__} has a module of the same name, which comes first; rename the file",
        f"{own}/fails_here.py": f"ZeroDivisionError: division by zero ({own}/fails_here.py:3)",
        f"{own}/ends_here.py": f"SystemExit: 0 ({own}/ends_here.py:3)",
    }
    for module, sentence in sentences.items():
        ended = netsim("--import", module, "list", "codecs")
        assert (ended.code, ended.err) == (2, f"netsim --import {module}: {sentence}\n")


@pytest.mark.parametrize("name", ["", ".", "..", ".relative", "two words", "/a/folder", "a//b"])
def test_what_is_no_name_of_a_module_is_refused(own: Path, netsim: Callable[..., Any], name: str) -> None:
    ended = netsim("--import", name, "list", "codecs")
    sentence = f'found "{name}"; the name of a module or of a .py file is allowed'
    assert (ended.code, ended.err) == (2, f"netsim --import: {sentence}\n")


def test_installed_packages_bring_parts_and_a_broken_one_is_a_warning(own: Path) -> None:
    """Metadata of a package, as pip would write them, in a folder of Python's path."""
    (own / "own_package.py").write_text(REGISTERS)
    about = own / "own_package-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: own-package\nVersion: 1.0\n")
    points = ["all = own_package:parts", "codec.thin = narrow:Narrow", "broken = own_package:nothing"]
    (about / "entry_points.txt").write_text("\n".join(["[netsim.parts]", *points]) + "\n")
    ended = run_netsim(own, "list", "codecs", path=str(own))
    assert ended.returncode == 0
    listed = {line.split()[1] for line in ended.stdout.splitlines()}
    assert listed == {"identity", "uniform", "cast", "analogue", "narrow", "thin"}
    (warning,) = ended.stderr.splitlines()
    assert warning.startswith(
        "warning: the parts of own-package are left out (broken = own_package:nothing): AttributeError: "
    )


def test_a_task_travels_with_what_was_registered(own_parts: None, small: Path, tmp_path: Path) -> None:
    register("codec", "narrow", Narrow)
    task = Task(0, load(small, {ACTIVATIONS: "narrow"}), tmp_path, None, registered())
    assert pickle.loads(pickle.dumps(task)) == task
