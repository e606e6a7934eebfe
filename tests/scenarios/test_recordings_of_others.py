"""docs/recordings.md: its snippets turn files of other programs into tables, and its scenarios play them.

Oracle: tiny files in the formats of those programs, whose content is read off by hand.
"""

import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from netsim.mobility import Walk
from scenarios import load, simulate
from scenarios.run import Result

PAGE = Path(__file__).parents[2] / "docs" / "recordings.md"
SECTION = re.compile(r"^### (.+?)\n(.*?)^```python\n(.*?)^```\n+^```yaml\n(.*?)^```", re.DOTALL | re.MULTILINE)
SECTIONS = {heading: (code, scenario) for heading, _, code, scenario in SECTION.findall(PAGE.read_text())}

FILES = {
    "SUMO: floating car data": (
        "fcd.xml",
        """<fcd-export>
    <timestep time="25200.00">
        <vehicle id="veh7" x="10.0" y="20.0" angle="90" type="car" speed="10" pos="5" lane="a_0" slope="0"/>
    </timestep>
    <timestep time="25201.00">
        <vehicle id="veh7" x="20.0" y="20.0" angle="90" type="car" speed="10" pos="15" lane="a_0" slope="0"/>
        <vehicle id="veh2" x="-5.0" y="3.0" angle="0" type="car" speed="0" pos="0" lane="b_0" slope="0"/>
        <person id="p" x="0" y="0" angle="0" speed="0" pos="0" edge="b" slope="0"/>
    </timestep>
    <timestep time="25202.00"/>
</fcd-export>
""",
    ),
    "ns-2: movements": (
        "movements.tcl",
        """$node_(0) set X_ 0.0
$node_(0) set Y_ 0.0
$node_(0) set Z_ 0.0
$node_(1) set X_ 50.0
$node_(1) set Y_ 60.0
$node_(1) set Z_ 0.0
$ns_ at 1.0 "$node_(0) setdest 30.0 40.0 10.0"
$ns_ at 10.0 "$node_(0) setdest 30.0 140.0 10.0"
$ns_ at 12.0 "$node_(0) setdest 10.0 60.0 5.0"
""",
    ),
    "Pensieve: cooked traces": ("norway_bus_10", "0.0\t2.5\n0.8\t2.0\n1.2\t3.0\n2.0\t4.0\n"),
    "Azure: LLM inference": (
        "AzureLLMInferenceTrace_conv.csv",
        "TIMESTAMP,ContextTokens,GeneratedTokens\n"
        "2023-11-16 18:17:03.9799600,374,44\n2023-11-16 18:17:04.0319600,396,109\n",
    ),
    "Azure: functions, 2021": (
        "AzureFunctionsInvocationTraceForTwoWeeksJan2021.txt",
        "app,func,end_timestamp,duration\na,f,12.5,0.5\na,g,11.0,1.0\nb,f,13.0,0.25\n",
    ),
    "Azure: functions, 2019": (
        "invocations_per_function_md.anon.d01.csv",
        "HashOwner,HashApp,HashFunction,Trigger,1,2,3\no,a,f,http,2,0,1\no,a,g,timer,0,3,0\n",
    ),
}


def played(folder: Path, monkeypatch: pytest.MonkeyPatch, heading: str) -> Path:
    """Run the snippet beside the file of that program; the page's scenario beside its result."""
    name, content = FILES[heading]
    code, scenario = SECTIONS[heading]
    monkeypatch.chdir(folder)
    (folder / name).write_text(content)
    exec(compile(code, str(PAGE), "exec"), {})
    (folder / "x.yaml").write_text(scenario)
    return folder / "x.yaml"


def places(scenario: Path, *instants_s: float) -> list[list[tuple[float, float]]]:
    """Of two users, who were put at (9, 9)."""
    network: Any = load(scenario, {"network.users.count": 2}).network
    network.mobility.model.check(2)
    walks = [Walk(network.mobility.model.legs(user, (9.0, 9.0), None), (9.0, 9.0)) for user in range(2)]
    return [[walk.at(instant_s) for instant_s in instants_s] for walk in walks]


def requests(scenario: Path) -> pd.DataFrame:
    result: Result = simulate(load(scenario, {"network.users.count": 1}))
    rows: pd.DataFrame = result.table("requests").to_pandas()
    return rows.sort_values("arrival_s")


def test_every_snippet_of_the_page_is_run() -> None:
    assert set(SECTIONS) == set(FILES)
    assert PAGE.read_text().count("```") == 4 * len(FILES)


def test_sumo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = places(played(tmp_path, monkeypatch, "SUMO: floating car data"), 0.0, 0.5, 1.0, 9.0)
    assert first == [(10, 20), (15, 20), (20, 20), (20, 20)]
    assert second == [(9, 9), (2, 6), (-5, 3), (-5, 3)]


def test_ns2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """50 m at 10 m/s from 1 s on; 20 of 100 m from 10 s on; then from (30, 60) 20 m back at 5 m/s."""
    scenario = played(tmp_path, monkeypatch, "ns-2: movements")
    first, second = places(scenario, 0.5, 2.0, 6.0, 9.0, 11.0, 12.0, 14.0, 16.0, 99.0)
    expected = [(0, 0), (6, 8), (30, 40), (30, 40), (30, 50), (30, 60), (20, 60), (10, 60), (10, 60)]
    assert first == [pytest.approx(place) for place in expected]
    assert second == [(50, 60)] * 9


def test_pensieve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """2 Mbit/s until 0.8 s, 3 until 1.2 s, 4 for the median of 0.8 and 0.4 s; then from the beginning."""
    scenario = load(played(tmp_path, monkeypatch, "Pensieve: cooked traces"))
    recording = scenario.network.channel.downlink_recording
    assert recording is not None
    rates = recording.playback(0, None).at(pd.RangeIndex(18).to_numpy())  # type: ignore[arg-type]  # nothing is drawn
    assert rates.tolist() == pytest.approx([2e6] * 8 + [3e6] * 4 + [4e6] * 6)


def test_azure_llm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = requests(played(tmp_path, monkeypatch, "Azure: LLM inference"))
    assert rows.arrival_s.tolist() == pytest.approx([0.0, 0.052], abs=1e-9)
    assert rows.bits.tolist() == [32 * (374 + 44), 32 * (396 + 109)]
    assert rows.flops.tolist() == [1.4e10 * (374 + 44), 1.4e10 * (396 + 109)]


def test_azure_functions_of_2021(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = requests(played(tmp_path, monkeypatch, "Azure: functions, 2021"))
    assert rows.arrival_s.tolist() == [0.0, 2.0, 2.75]
    assert rows.flops.tolist() == [1e10, 5e9, 2.5e9]


def test_azure_functions_of_2019(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = requests(played(tmp_path, monkeypatch, "Azure: functions, 2019"))
    assert rows.arrival_s.tolist() == pytest.approx([15.0, 45.0, 70.0, 90.0, 110.0, 150.0])
