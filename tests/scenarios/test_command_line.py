"""Commands: what they print, and how fast they start."""

import gc
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from rich.console import Console

import scenarios.__main__
import scenarios.cli
import scenarios.progress
from learning.schemes import SCHEMES
from netsim.tables import TABLES
from scenarios import load, simulate
from scenarios.kinds import GROUPS
from scenarios.progress import Display, RunningTotals, to_go
from scenarios.schema import parts

ROOT = Path(__file__).parents[2]


def test_run_prints_a_summary_and_where_the_traces_are(
    small: Path, tmp_path: Path, netsim, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = netsim("run", small, "--seed", 5)
    assert (code, err) == (0, "")
    lines = {line.split("  ")[0].strip(): line.split("  ", 1)[1].strip() for line in out.splitlines() if "  " in line}
    assert lines["rounds"] == "2"
    assert lines["traces"] == os.path.join("runs", "small", "traces")
    assert {"simulated time", "final accuracy", "energy of users", "wall time"} <= set(lines)
    assert json.loads(Path("runs/small/run.json").read_text())["seed"] == 5


def test_quiet_prints_nothing(small: Path, tmp_path: Path, netsim) -> None:
    assert netsim("run", small, "-o", tmp_path / "run", "--quiet") == (0, "", "")


@pytest.mark.parametrize("command", ["run", "sweep"])
def test_a_signal_before_anything_has_begun_is_answered_in_one_word(
    command: str, study: Path, small: Path, netsim, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("scenarios.document._contents", interrupted)
    assert netsim(command, small if command == "run" else study) == (130, "", "interrupted\n")


def test_check_prints_the_resolved_scenario_and_its_cost(small: Path, tmp_path: Path, netsim) -> None:
    """Two rounds are the whole run here, so the extrapolation is exact but for rounding."""
    code, out, err = netsim("check", small)
    assert (code, err) == (0, "")
    resolved, _, cost = out.partition("\n\n")
    (tmp_path / "resolved.yaml").write_text(resolved)
    assert load(tmp_path / "resolved.yaml") == load(small)
    reached = simulate(load(small)).reached
    assert cost.startswith("granularity\n")
    assert "at most 2" in cost
    assert f"about {reached.time_s:.3g} s" in cost
    assert f"about {reached.uplink_bits:.3g} bits" in cost
    assert f"about {reached.downlink_bits:.3g} bits" in cost
    assert not (tmp_path / "runs").exists()


def test_check_says_when_the_number_of_rounds_is_unknown(small: Path, netsim) -> None:
    code, out, _ = netsim("check", small, "--set", "learning.stop={accuracy: 0.9}")
    assert code == 0
    assert [line.split()[-1] for line in out.splitlines() if line.strip().startswith("rounds ")] == ["unknown"]


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("schemes", set(SCHEMES)),
        ("models", {"mlp", "lenet", "vit"}),
        ("datasets", {"digits", "fashion_mnist", "cifar10"}),
        ("channels", {"free_space", "umi", "uma", "rayleigh", "rician", "none"}),
        ("stragglers", {"none", "shifted_exponential", "pareto", "wait_for_all", "deadline", "first_k"}),
        ("schedulers", {"equal", "fixed"}),
        ("scenarios", {str(Path("scenarios", "quickstart.yaml")), str(Path("scenarios", "heavy_tails.yaml"))}),
        (
            "studies",
            {
                str(Path("scenarios", "studies", f"{name}.yaml"))
                for name in ("bandwidth", "recorded_drive", "stragglers")
            },
        ),
    ],
)
def test_list_has_a_line_for_each_name(kind: str, names: set[str], netsim, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    code, out, _ = netsim("list", kind)
    assert code == 0
    rows = [line.split() for line in out.splitlines()]
    assert all(len(row) >= 4 and row[0] == kind for row in rows)
    assert names <= {row[1] for row in rows}
    everything = [line.split() for line in netsim("list").out.splitlines()]
    assert [row for row in everything if row[0] == kind] == rows


def test_list_refuses_what_there_is_not(netsim) -> None:
    code, _, err = netsim("list", "modles")
    assert code == 2
    assert err.startswith('netsim list: unknown kind "modles"; nearest is "models"; allowed: schemes, models')
    assert err.count("\n") == 1


def test_schema_is_json(netsim) -> None:
    code, out, _ = netsim("schema")
    assert code == 0
    sections = {"network", "compute", "energy", "learning", "traffic", "trace", "limits"}
    assert set(json.loads(out)["properties"]) == {"name", "seed", "seeds", *sections}


def test_describe_shows_units_and_meanings(small: Path, tmp_path: Path, netsim) -> None:
    simulate(load(small), tmp_path / "run")
    code, out, _ = netsim("describe", tmp_path / "run")
    assert code == 0
    for table, schema in TABLES.items():
        assert f"\n{table}: " in f"\n{out}"
        assert all(f" {field.name} " in out for field in schema)
    assert "rounds: 2 rows" in out
    assert ["latency_s", "double", "s", "end", "minus", "start"] in [line.split() for line in out.splitlines()]


@pytest.mark.parametrize("command", ["describe", "report", "compare"])
def test_a_folder_without_a_run_is_refused(command: str, tmp_path: Path, netsim) -> None:
    code, out, err = netsim(command, tmp_path)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"{tmp_path} is ")


def test_help_comes_without_arguments_and_usage_errors_are_one_sentence(netsim) -> None:
    assert "Commands:" in netsim().out
    for arguments in (["rnu"], ["run"], ["run", "a", "b"], ["check", "--nothing"]):
        code, out, err = netsim(*arguments)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert err.startswith("netsim: ")


def test_the_nearest_value_of_an_option_is_named(netsim) -> None:
    code, _, err = netsim("figure", "run", "gannt", "-o", "gantt.pdf")
    assert (code, err.count("\n")) == (2, 1)
    assert err.startswith("netsim: Invalid value for 'kind': 'gannt' is not one of 'metric-over-time', ")
    assert err.endswith(" Did you mean 'gantt'?\n")


COMPILER = {"torch._dynamo", "torch._inductor"}
FOR_STUDIES = {
    "matplotlib",
    "plotly",
    "joblib",
    "ray",
    "sklearn",
    "scipy.stats",
    "scipy.optimize",
    "transformers",
    "diffusers",
}
HEAVY = {"torch", "numpy", "scipy", "pandas", "pyarrow", "simpy", *COMPILER, *FOR_STUDIES}
"""Packages whose import takes a considerable part of a second."""
NOT_IMPORTED = {
    "--help": HEAVY,
    "rnu": HEAVY,
    "run missing.yaml": HEAVY,
    "check missing.yaml": HEAVY,
    "list": COMPILER | FOR_STUDIES | {"pandas", "sympy"},
    "check tests/tiny.yaml --set learning.stop.rounds=1": COMPILER | FOR_STUDIES | {"sympy"},
}
"""What a command must not import, as that would dominate its start."""


@pytest.mark.parametrize("command", NOT_IMPORTED)
def test_a_command_imports_no_more_than_it_needs(command: str) -> None:
    code = (
        "import sys\nfrom scenarios.cli import main\n"
        f"try: main({command.split()})\nexcept SystemExit: print('imported', *sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    _, _, imported = run.stdout.rpartition("imported ")
    assert NOT_IMPORTED[command] & set(imported.split()) == set()


def test_what_a_command_imports_is_not_searched_for_garbage(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process begins with 700 objects between searches."""
    between: list[int] = []
    monkeypatch.setattr(scenarios.__main__, "ending_on_signals", lambda: None)
    monkeypatch.setattr(scenarios.cli, "main", lambda: between.append(gc.get_threshold()[0]))
    before = gc.get_threshold()
    try:
        scenarios.__main__.main()
    finally:
        gc.set_threshold(*before)
    assert between == [100_000]


def shown(terminal: bool) -> str:
    console = Console(file=io.StringIO(), force_terminal=terminal, width=160)
    with Display(console, "study", rounds=4, time_s=None) as display:
        for number in range(3):
            display.evaluated({"split": "test", "metric": "accuracy", "value": 0.5 + number / 10})
            row = {"uplink_bits": 1.0, "downlink_bits": 1.0, "energy_j": 2.5, "dropped": 0, "participants": 1}
            display.round_ended({"end_s": 10.0 * (number + 1), **row})
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_progress_is_plain_lines_where_there_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scenarios.progress, "BETWEEN_LINES_S", 0.0)
    lines = shown(terminal=False).splitlines()
    assert len(lines) == 3
    assert lines[1].startswith("study: round 2/4, simulated time 20 s, accuracy 0.600, energy 5 J, about ")
    assert lines[1].endswith(" s to go")


def test_the_time_left_is_that_of_the_pace_after_the_first_round(monkeypatch: pytest.MonkeyPatch) -> None:
    """Setting up takes 100 s, the first round 30 s, as operations are captured in it, and the others 2 s each."""
    now = iter([0.0, 130.0, 132.0, 134.0])
    monkeypatch.setattr(scenarios.progress, "BETWEEN_LINES_S", 0.0)
    monkeypatch.setattr(scenarios.progress.time, "monotonic", lambda: next(now))
    first, second, third = shown(terminal=False).splitlines()
    assert "to go" not in first
    assert second.endswith(", about 4 s to go")
    assert third.endswith(", about 2 s to go")


def test_the_time_left_is_written_in_the_unit_of_its_size() -> None:
    times = {None: "", 0.0: "", 119.0: "119 s", 120.0: "2 min", 7199.0: "120 min", 7200.0: "2 h"}
    assert {left_s: to_go(left_s) for left_s in times} == {
        left_s: f", about {words} to go" if words else "" for left_s, words in times.items()
    }


@pytest.mark.parametrize("split", ["pretraining", "pretraining_text", "own", "test_uncompressed", "received"])
def test_metrics_of_other_data_are_not_those_of_the_run(split: str) -> None:
    totals = RunningTotals()
    totals.evaluated({"split": "test", "metric": "accuracy", "value": 0.25, "round": 0})
    totals.evaluated({"split": split, "metric": "accuracy", "value": 0.75, "round": 0})
    assert totals.metrics == {"accuracy": 0.25}
    totals.evaluated({"split": "answers", "metric": "accuracy", "value": 0.5, "round": 0})
    assert totals.metrics == {"accuracy": 0.5}


def test_a_result_is_short_and_has_its_tables_for_pandas(small: Path, tmp_path: Path) -> None:
    result = simulate(load(small, {"learning.executor": "dry"}), tmp_path / "run")
    assert repr(result).startswith("<Result of 'small': complete after 2 rounds, simulated time ")
    assert len(repr(result)) < 200
    assert "<th" in result._repr_html_()
    assert result.frame("rounds").attrs["units"]["latency_s"] == "s"
    assert result.frame("rounds").equals(result.run.rounds)
    with pytest.raises(ValueError, match=r"not recorded; give simulate\(..., out=FOLDER\)"):
        _ = simulate(load(small, {"learning.executor": "dry"})).run


def test_progress_is_live_on_a_terminal() -> None:
    text = shown(terminal=True)
    assert "round 3/4, simulated time 30 s, accuracy 0.700, energy 7.5 J" in text
    assert "ETA" in text
    assert "\x1b[" in text


def test_shipped_yaml_is_plain(netsim) -> None:
    """Other YAML readers understand our files alike."""
    for file in (ROOT / "scenarios").rglob("*.yaml"):
        assert yaml.safe_load(file.read_text())["name"] == file.stem


def test_every_family_of_parts_is_in_one_group_of_the_list() -> None:
    named = [protocol for protocols in GROUPS.values() for protocol in protocols]
    assert sorted(named) == sorted(protocol.__name__ for protocol in parts().families)


def test_all_wrong_settings_are_named_at_once(small: Path, netsim) -> None:
    """A path that cannot be set hides no other; those without a value are named together, before anything is read."""
    wrong = [".c=4", "learning.stop.x=3", "learning.batch_size=0", "network.usres.count=3"]
    code, out, err = netsim("check", small, *(word for setting in wrong for word in ("--set", setting)))
    assert (code, out) == (2, "")
    assert sorted(line.split(": ")[0] for line in err.splitlines()) == sorted(f"--set {setting}" for setting in wrong)
    assert len(netsim("check", small, "--set", "seed", "--set", "name", "--set", "a=[").err.splitlines()) == 3
