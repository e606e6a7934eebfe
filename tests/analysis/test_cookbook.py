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
