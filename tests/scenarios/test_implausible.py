"""`check` warns of a scenario whose speeds and energies of computing belong to different kinds of devices."""

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from netsim.profiles import DEVICES
from runs import TINY
from scenarios import load
from scenarios.cli import app
from scenarios.sanity import implausible
from scenarios.shipped import shipped

SPEED, ENERGY, IDLE = "compute.devices.flops_per_s", "energy.compute", "energy.idle_power_w"


@pytest.mark.parametrize("name", DEVICES)
@pytest.mark.parametrize("utilisation", [1.0, 0.01])
def test_no_real_device_is_warned_of(name: str, utilisation: float) -> None:
    board = {"name": "profile", "devices": [name], "utilisation": utilisation}
    idle = board if DEVICES[name].idle_power_w is not None else 0.01
    assert implausible(load(TINY, {SPEED: board, ENERGY: board, IDLE: idle})) == []


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (
            {SPEED: 2e7},
            ["user 0 spends 6.2e-16 J per FLOP at 2e+07 FLOP/s", "4 of 4", "1e-13 to 1e-06"],
        ),
        ({ENERGY: {"name": "joules_per_flop", "joules_per_flop": 1e-5}}, ["user 0 spends 1e-05 J per FLOP"]),
        ({SPEED: [2e7, 8e9, 8e9, 8e9]}, ["user 0", "1 of 4 users"]),
    ],
)
def test_a_phones_energy_at_a_microcontrollers_speed(fields: dict[str, Any], words: list[str]) -> None:
    sentence = implausible(load(TINY, fields))[0]
    for word in words:
        assert word in sentence


def test_who_draws_less_at_work_than_at_rest() -> None:
    scenario = load(TINY, {SPEED: [8e9, 8e9, 1e9, 8e9], IDLE: 0.1})
    assert implausible(scenario) == [
        "energy.idle_power_w: user 2 draws 0.0016 W while it computes, and 0.1 W while it does nothing "
        "(1 of 4 users are like that)"
    ]


def test_check_prints_it_and_goes_on() -> None:
    printed = CliRunner().invoke(app, ["check", str(TINY), "--set", f"{SPEED}=2e7"])
    assert printed.exit_code == 0
    assert "warning: energy.compute: user 0 spends 6.2e-16 J per FLOP" in printed.output


@pytest.mark.parametrize("file", [file for file in shipped("scenarios") if file.parent.name != "papers"], ids=str)
def test_shipped_scenarios_are_plausible(file: Path) -> None:
    assert implausible(load(file)) == []
