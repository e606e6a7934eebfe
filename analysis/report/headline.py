"""Headline numbers and table of users in the report of a run."""

from __future__ import annotations

from math import isnan, nan
from typing import Any, NamedTuple

import pandas as pd

from analysis.measures import ANSWERS
from analysis.report.learning import values_on_test
from analysis.run import Run
from analysis.style import number, quantity, scale
from analysis.totals import total


class Tile(NamedTuple):
    """One headline number."""

    label: str
    value: str
    detail: str = ""


def facts(run: Run) -> str:
    """Return scheme, policy, data, partition, model, users, executor and seed of a run in one line."""
    learning, network = (_section(run.scenario.get(name)) for name in ("learning", "network"))
    users, seed = _section(network.get("users")).get("count"), run.info.get("seed")
    named = {
        "Scheme {}": learning.get("scheme"),
        "policy {}": learning.get("policy"),
        "data {}": learning.get("data"),
        "partition {}": learning.get("partition"),
        "model {}": None if learning.get("towers") else learning.get("model"),
    }
    return " · ".join(
        [
            *(text.format(_section(part)["name"]) for text, part in named.items() if "name" in _section(part)),
            *([f"towers {', '.join(learning['towers'])}"] if learning.get("towers") else []),
            *([_count(users, "user")] if isinstance(users, int) else []),
            *([f"{learning['executor']} executor"] if "executor" in learning else []),
            *([f"seed {seed}"] if seed is not None else []),
        ]
    )


def _section(value: Any) -> dict[str, Any]:
    """A section of a scenario; empty where there is none, or where another program wrote something else."""
    return value if isinstance(value, dict) else {}


def tiles(run: Run) -> list[Tile]:
    """Return the headline numbers of a run in which at least one round has ended."""
    rounds, latency, part = run.rounds, run.round_latency(), run.participation()
    p95_s, dropped_share = quantity(latency["p95_s"], "s"), part["dropped_share"]
    return [
        *_best(values_on_test(run)),
        *_diverged(run.diverged_from()),
        Tile("Simulated time", quantity(rounds["end_s"].max(), "s"), _count(len(rounds), "round")),
        Tile("Round latency", quantity(latency["mean_s"], "s"), f"mean; 95% within {p95_s}"),
        _energy(run),
        _traffic("Uplink", rounds["uplink_bits"]),
        _traffic("Downlink", rounds["downlink_bits"]),
        Tile(
            "Participants",
            number(part["participants"]),
            f"mean of {_count(len(run.users), 'user')}; {dropped_share:.1%} dropped",
        ),
    ]


def without_rounds(run: Run) -> list[Tile]:
    """Return time and energy of a run without rounds that end, such as one that answers requests, and its accuracy."""
    time = Tile("Simulated time", quantity(run.energy["end_s"].max(), "s"))
    return [*_best(values_on_test(run)), time, _energy(run)]


def of_requests(requests: pd.DataFrame) -> list[Tile]:
    """Return number and latency of requests, from the table `requests`, with at least one row."""
    latency_s = requests.loc[requests["outcome"] == "served", "latency_s"]
    tiles = [Tile("Requests", f"{len(requests):,}", f"{len(latency_s) / len(requests):.1%} served")]
    if len(latency_s):
        p95_s = quantity(float(latency_s.quantile(0.95)), "s")
        tiles.append(Tile("Request latency", quantity(latency_s.mean(), "s"), f"mean; 95% within {p95_s}"))
    return tiles


def of_answers(run: Run) -> list[Tile]:
    """Return the share of correct answers to requests, if the run evaluated them."""
    share = total(run, "answer_accuracy") if len(values_on_test(run, ANSWERS)) else nan
    return [] if isnan(share) else [Tile("Correct answers", f"{share:.1%}", "of the requests that a model answered")]


def _energy(run: Run) -> Tile:
    energy = run.energy_by_user()["total_j"]
    return Tile("Energy", quantity(energy.sum(), "J"), f"{quantity(energy.mean(), 'J')} per user")


def _traffic(label: str, bits: pd.Series[float]) -> Tile:
    return Tile(label, quantity(bits.sum(), "bit"), f"{quantity(bits.mean(), 'bit')} per round")


def _count(many: int, noun: str) -> str:
    return f"{many:,} {noun}" + ("s" if many != 1 else "")


def _best(values: pd.DataFrame) -> list[Tile]:
    accuracy = values[values["metric"] == "accuracy"]
    if accuracy.empty:
        return []
    best, last = accuracy.iloc[accuracy["value"].argmax()], accuracy.iloc[-1]
    detail = f"best {best['value']:.1%} at {quantity(best['time_s'], 's')}"
    return [Tile("Test accuracy", f"{last['value']:.1%}", detail)]


def _diverged(since: int | None) -> list[Tile]:
    return [] if since is None else [Tile("Diverged", f"round {since}", "the loss is not finite from this round on")]


def users(run: Run) -> pd.DataFrame:
    """Return one row per user, as text: position, device, samples, share of time busy, rounds decided, energy."""
    known = run.users.set_index("user")
    on_device = run.computations[run.computations["node_kind"] == "user"]
    end_s = (run.rounds if len(run.rounds) else run.energy)["end_s"].max()
    busy = on_device.groupby("user")["service_s"].sum() / end_s
    energy = run.energy_by_user()["total_j"].reindex(known.index, fill_value=0.0)
    speed_size, speed_unit = scale(known["flops_per_s"].max(), "FLOP/s")
    energy_size, energy_unit = scale(energy.max(), "J")
    return pd.DataFrame(
        {
            "User": known.index,
            "Station": known["station"],
            "Distance (m)": known["distance_m"].map("{:.1f}".format),
            "Path loss (dB)": known["path_loss_db"].map("{:.1f}".format),
            f"Device ({speed_unit})": (known["flops_per_s"] / speed_size).map(number),
            "Samples": known["samples"],
            "Device busy": busy.reindex(known.index, fill_value=0.0).map("{:.1%}".format),
            "Rounds decided": run.time_by_user()["rounds_decided"].reindex(known.index, fill_value=0),
            f"Energy ({energy_unit})": (energy / energy_size).map(number),
        }
    )
