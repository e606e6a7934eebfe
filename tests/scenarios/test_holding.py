"""Users that hold some modalities: teams hold the same samples, in the same mini-batches, and send what they hold."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

from learning.ports import Process
from learning.scheme import Scheme
from learning.world import World
from runs import TINY, frame
from scenarios import load, simulate
from scenarios.build import build
from scenarios.errors import ScenarioError


@dataclass(frozen=True)
class Observer(Scheme):
    """A scheme that keeps the world that it is to work in."""

    worlds: list[World] = field(default_factory=list)

    def check(self, world: World) -> None:
        self.worlds.append(world)

    def run(self, world: World) -> Process[None]:
        yield from ()


TOWER = {"model": {"name": "mlp", "hidden": []}, "features": 4}
HELD: dict[str, Any] = {
    "learning.data": {"name": "audio_visual_questions", "train_samples": 60, "test_samples": 20},
    "learning.towers": {"image": TOWER, "tone": TOWER},
    "learning.model": {"name": "mlp", "hidden": []},
    "learning.partition": "iid",
    "learning.stop.rounds": 1,
}


def users(samples: str) -> list[Any]:
    holding = {"sets": [["image"], ["tone", "text"]], "samples": samples}
    scenario = load(TINY, HELD | {"learning.holding": holding})
    assert scenario.learning is not None
    observer = Observer()
    build(replace(scenario, learning=replace(scenario.learning, scheme=observer)))
    return list(observer.worlds[0].users)


def test_a_team_has_the_same_mini_batches() -> None:
    team = users("shared")
    assert [user.team for user in team] == [0, 0, 2, 2]
    assert [user.batches.modalities for user in team] == [["image"], ["tone", "text"]] * 2
    for one, other in (team[:2], team[2:]):
        for position in range(6):
            (x, y), (x_other, y_other) = one.batch(position), other.batch(position)
            assert y == y_other
            assert (list(x.values), list(x_other.values)) == (["image"], ["tone", "text"])
            assert np.array_equal(x.values["image"].indices, x_other.values["tone"].indices)
    rows = [set(user.batches.indices.tolist()) for user in team]
    assert rows[0] == rows[1]
    assert rows[2] == rows[3]
    assert rows[0] | rows[2] == set(range(60))
    assert not rows[0] & rows[2]


def test_the_test_samples_of_a_user_have_the_modalities_that_it_holds() -> None:
    for user in users("own"):
        x, _ = user.held_out.at(0)
        assert list(x.values) == user.batches.modalities == user.held_out.modalities


def test_users_with_samples_of_their_own_lack_modalities() -> None:
    each = users("own")
    assert [user.team for user in each] == [0, 1, 2, 3]
    rows = [set(user.batches.indices.tolist()) for user in each]
    assert sum(map(len, rows)) == len(set.union(*rows)) == 60


def test_only_held_modalities_are_computed_and_sent() -> None:
    """Towers are dense layers of 64 and 256 inputs: FLOPs of a forward pass tell which ones ran."""
    result = simulate(load(TINY, HELD | {"learning.holding": {"sets": [["image"], ["tone"]]}}))
    jobs = frame(result, "computations").query("kind == 'client_forward'")
    for user, own in jobs.groupby("user"):
        assert (own.flops / (2 * 4) % (64, 256)[int(user) % 2] == 0).all()
    bits = frame(result, "transfers").query("kind == 'activation'").groupby("user").bits.max()
    assert bits.nunique() == 1


@pytest.mark.parametrize(
    ("holding", "message"),
    [
        ({"sets": [["image"], ["smell"]]}, "users are to hold smell, but audio_visual_questions has the modalities"),
        ({"sets": [["image"], ["tone"], ["text"]]}, "4 users do not make teams of 3"),
        ({"sets": [["image"], ["text"]]}, "user 1 has no samples of image or tone"),
    ],
)
def test_what_cannot_be_held_is_said(holding: dict[str, Any], message: str) -> None:
    with pytest.raises(ScenarioError, match=message):
        simulate(load(TINY, HELD | {"learning.holding": holding}))
