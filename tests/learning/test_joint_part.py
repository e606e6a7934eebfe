"""The server part on which the gradients of a round meet, against plain torch."""

from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import pytest
import torch

from fakes import one_thread, world
from learning.models.segment import modules
from learning.optimisers import Sgd
from learning.protocols.split import JointPart
from learning.scheme import Scheme

SHARES = (0.25, 0.75)


@dataclass(frozen=True)
class ThreeServed(Scheme):
    """Serves smashed data of three users, drawn here, and steps on the gradients of some."""

    stepped: tuple[int, ...]
    """Users whose gradients make the step of the first round."""

    def run(self, world: Any) -> Any:
        start = world.initial(world.back)
        joint = JointPart(world, start, world.server_optimiser.init(start))
        users = [world.users[number] for number in self.stepped]
        for _ in world.rounds():
            for user in world.users:
                dz = yield from joint.serve(user, smashed(user.number), user.batch(0)[1])
                assert torch.equal(world.executor.value(dz), reference(world, start, user)[1])
            world.report_participation(3, 3)
            joint.step(users, SHARES)
            world.models((world.initial(world.front), joint.weights))
        joint.step([], ())
        assert joint.weights is world.reported[0][1]
        with pytest.raises(KeyError):
            joint.step(world.users[1:2], (1.0,))


def smashed(user: int) -> torch.Tensor:
    return torch.randn(8, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(user))


def reference(ran: Any, weights: dict[str, torch.Tensor], user: Any) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """Gradients of a user's mean loss by autograd: of the weights, and of its smashed data."""
    back = deepcopy(modules(ran.back)).to_empty(device="cpu").to(torch.float64)
    back.load_state_dict(weights)
    z = smashed(user.number).requires_grad_()
    torch.nn.functional.cross_entropy(back(z), user.batch(0)[1].tensor()).backward()
    assert z.grad is not None
    return {name: p.grad for name, p in back.named_parameters() if p.grad is not None}, z.grad


@pytest.mark.parametrize("stepped", [(0, 2), (2, 1)])
def test_a_step_goes_along_the_weighted_mean_of_the_users_named(stepped: tuple[int, int]) -> None:
    ran = world(ThreeServed(stepped), rounds=1, optimiser=Sgd(0.1))
    start = ran.initial(ran.back)
    with one_thread():
        (first, _), (second, _) = (reference(ran, start, ran.users[number]) for number in stepped)
    for name, weight in start.items():
        expected = weight - 0.1 * (SHARES[0] * first[name] + SHARES[1] * second[name])
        torch.testing.assert_close(ran.model[name], expected, rtol=0, atol=1e-14)
        assert (ran.model[name] - weight).abs().max() > 1e-5
