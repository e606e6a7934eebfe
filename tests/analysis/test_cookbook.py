"""Each question of the cookbook is answered by at most two lines, which run."""

import re
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
from synthetic_run import Synthetic

import analysis
from analysis import plots

PAGE = (Path(__file__).parents[2] / "docs" / "cookbook.md").read_text()
QUESTIONS = re.findall(r"^## ([^\n]*\?)\n\n```python\n(.*?)```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> analysis.Run:
    return analysis.load(Synthetic(rounds=4).write(tmp_path_factory.mktemp("run")))


@pytest.mark.parametrize(("question", "lines"), QUESTIONS)
def test_a_question_is_answered_in_two_lines(question: str, lines: str, run: analysis.Run) -> None:
    assert 1 <= len(lines.splitlines()) <= 2
    exec(compile(lines, question, "exec"), {"run": run, "runs": [run], "plots": plots})
    plt.close("all")


def test_there_are_eight_questions() -> None:
    assert len(QUESTIONS) == 8


@pytest.mark.parametrize("package", ["duckdb", "polars"])
def test_other_programs_read_the_tables(
    package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: analysis.Run
) -> None:
    pytest.importorskip(package, reason=f"{package} is not installed")
    Synthetic(rounds=4).write(tmp_path / "runs" / "quickstart")
    monkeypatch.chdir(tmp_path)
    code = re.findall(rf"^```python\n(import {package}\n.*?)```", PAGE, re.MULTILINE | re.DOTALL)[0]
    *begin, line = code.strip().splitlines()
    names: dict[str, object] = {}
    exec("\n".join(begin), names)
    found = eval(line, names)
    rows = dict(found.fetchall() if package == "duckdb" else found.rows())
    assert rows == pytest.approx(run.transfers.groupby("kind").energy_j.sum().to_dict())
