"""A multimodal model that is trained beside its answers, by one server: what each waits for, beside queueing theory."""

from functools import cache

import numpy as np
import pandas as pd
import pytest
import yaml

from scenarios import load, simulate

FIFO = "compute.servers.discipline=fifo"
FIRST = "compute.servers.discipline={name: priority, kinds: [fusion]}"
SHARED = "compute.servers.discipline=processor_sharing"
SHORT = "learning.batch_size=16", "learning.scheme.steps_per_period=400"
DURATION_S = 8 * 20
ANSWER_S = 4.5e-4
"""What an answer takes at most."""


@cache
def jobs(*changes: str) -> pd.DataFrame:
    """The server's jobs in a dry run of the scenario, by kind and in order of arrival."""
    settings = {name: yaml.safe_load(value) for name, value in (each.split("=") for each in changes)}
    ran = simulate(load("multimodal_serving", {"learning.executor": "dry", **settings}))
    found = ran.table("computations").to_pandas()
    return found[found.node == "server"].set_index("kind")


def served_s(kind: str, *changes: str) -> pd.Series:
    """What the jobs of a kind take from their begin on."""
    done = jobs(*changes).loc[kind]
    return done.end_s - done.start_s


@pytest.mark.parametrize("changes", [(FIFO,), SHORT])
def test_an_answer_waits_for_the_rest_of_the_step_that_is_under_way(changes: tuple[str, ...]) -> None:
    """Requests come at random: with the share r of time in steps of s seconds an answer waits r s / 2 on average, and
    for the answers before it, which are short."""
    waits, steps = jobs(*changes).loc["fusion"].wait_s, served_s("server_training", *changes)
    share, error = steps.sum() / DURATION_S, 4 * waits.std() / np.sqrt(len(waits))
    assert waits.mean() == pytest.approx(share * steps.mean() / 2, abs=error + ANSWER_S)
    assert waits.max() < steps.max() + 10 * ANSWER_S


def test_steps_on_a_quarter_of_the_samples_take_as_long_together_and_delay_answers_by_a_quarter() -> None:
    long, short = served_s("server_training", FIFO), served_s("server_training", *SHORT)
    assert len(short) == 4 * len(long) == 4 * 800
    assert short.sum() == pytest.approx(long.sum(), rel=0.02)
    ratio = jobs(*SHORT).loc["fusion"].wait_s.mean() / jobs(FIFO).loc["fusion"].wait_s.mean()
    assert ratio == pytest.approx(0.25, abs=0.05)


def test_priority_helps_only_answers_that_come_while_another_is_computed() -> None:
    """One step waits at a time: an answer that arrives behind it waits for it, if it has no priority."""
    first, in_turn = (jobs(each).loc["fusion"].end_s.to_numpy() for each in (FIRST, FIFO))
    earlier = (in_turn - first)[abs(in_turn - first) > 1e-9]
    assert 0 < len(earlier) < 0.01 * len(first)
    step_s = served_s("server_training", FIFO).median()
    assert ((step_s - 2 * ANSWER_S < earlier) & (earlier < step_s)).all()


def test_a_shared_server_answers_at_once_and_steps_are_longer_by_what_answers_take() -> None:
    """Under processor sharing a wait is what a job takes longer than alone."""
    assert jobs(SHARED).loc["fusion"].wait_s.max() <= 10 * ANSWER_S
    assert jobs(SHARED).loc["fusion"].wait_s.mean() < ANSWER_S < 0.02 * jobs(FIFO).loc["fusion"].wait_s.mean()
    longer = served_s("server_training", SHARED).sum() - served_s("server_training", FIFO).sum()
    assert 0 < longer < ANSWER_S * len(jobs(SHARED).loc["fusion"])


def test_answers_alone_have_the_server_for_themselves() -> None:
    done = jobs("learning.scheme.steps_per_period=0")
    assert set(done.index) == {"fusion"}
    assert done.wait_s.mean() < 0.1 * ANSWER_S
