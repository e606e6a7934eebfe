"""Every number of the shipped scenarios over the whole range of floating point: the run ends, or is refused."""

from copy import deepcopy
from functools import cache, reduce
from typing import Any

import pytest

from learning.data.digits import Digits
from scenarios import ScenarioError, simulate
from scenarios.document import Document
from scenarios.schema import interpret
from test_extreme_numbers import FILES, fields_first_met_in, plain

EXTREMES: dict[type, tuple[float, ...]] = {
    int: (1, 2**16, 2**31, 2**63),
    float: (5e-324, 1e-39, 1e-12, 1e12, 1e29, 1.7e308),
}


@pytest.mark.slow
@pytest.mark.parametrize("file", FILES)
def test_a_run_with_an_extreme_number_ends_or_is_refused_in_one_sentence(
    file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Digits, "load", cache(Digits.load))
    content, fields = plain(file), fields_first_met_in()[file]
    content["limits"] = {
        **(content.get("limits") or {}),
        "events": 1e6,
    }  # of 65,536 rounds it says at once that they are too many
    if "learning" in content:
        content["learning"] |= {"executor": "dry", "stop": {"rounds": 1}}
        if content.get("traffic"):
            content["traffic"]["duration_s"] = 10.0  # else requests go on until a round ends that takes 1e40 s
    wrong = {}
    for path, kind in fields:
        for value in EXTREMES[kind]:
            changed: dict[str, Any] = deepcopy(content)
            reduce(lambda section, step: section[step], path[:-1], changed)[path[-1]] = value
            if (fault := fault_of(Document(file, changed, {(): file}))) is not None:
                wrong[path, value] = fault
    assert not wrong


def fault_of(document: Document) -> str | None:
    """What is wrong with the end of a run: an exception that is no refusal, or a refusal of several lines."""
    try:
        simulate(interpret(document))
    except ScenarioError as refused:
        return str(refused) if "\n" in str(refused) else None
    except Exception as error:  # whatever it is, a user would see a traceback or Python's words
        return f"{type(error).__name__}: {error}"
    return None
