"""Parallel split learning beside a loop over the users: device parts of their own, one server part for all."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from benchmarks.training import Prototypes, Yardstick, compare
from learning.description import LearningDescription
from learning.models import Vit, whole
from learning.optimisers import Sgd
from learning.schemes import PSL
from learning.stop import Stop
from netsim.streams import Streams

USERS, CUT = 10, 2


def main() -> None:
    print(f"psl: {USERS} users, width 64, 4 layers of which 1 on the device; time per step of a user")
    for batch in (4, 10):
        learning = LearningDescription(
            scheme=PSL(),
            stop=Stop(rounds=1),
            data=Prototypes(USERS * 50),
            model=Vit(patch=7),
            cut=CUT,
            batch_size=batch,
            optimiser=Sgd(0.05),
        )
        compare(f"batch {batch}", Yardstick(learning, users=USERS, rounds=30, steps=USERS), loop)


def loop(task: Yardstick, rounds: int) -> None:
    """Each user in turn: forward to the cut, the server's pass, backward; the server steps on the mean gradient."""
    users = task.batches()
    model = whole(task.learning.model, users[0].dataset)
    front, back = model.cut(CUT)
    server = {name: value.requires_grad_() for name, value in back.initial(Streams(0)).items()}
    devices = [{n: v.clone().requires_grad_() for n, v in front.initial(Streams(0)).items()} for _ in users]
    optimisers = [torch.optim.SGD(each.values(), lr=0.05) for each in (*devices, server)]
    for number in range(rounds):
        optimisers[-1].zero_grad()
        for user, device, optimiser in zip(users, devices, optimisers, strict=False):
            x, y = user.at(number)
            smashed = front(device, x.tensor())
            received = smashed.detach().requires_grad_()
            F.cross_entropy(back(server, received), y.tensor()).backward()
            optimiser.zero_grad()
            smashed.backward(received.grad)
            optimiser.step()
        for value in server.values():
            value.grad /= len(users)
        optimisers[-1].step()
