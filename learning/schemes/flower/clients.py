"""The clients of a Flower app: the app's code for each user, and the state that it keeps there."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from flwr.app import Context, Message, RecordDict

from learning.parties import User
from learning.ports import Process
from learning.schemes.flower.context import ROUND, USER
from learning.schemes.flower.records import payload
from learning.schemes.flower.seeds import seeded
from learning.schemes.flower.server_side import RUN_ID
from learning.world import World


class Clients:
    """The clients of an app, one at each user."""

    def __init__(self, world: World, app: Any, run_config: dict[str, Any]) -> None:
        self.world, self.app, self.run_config = world, app, run_config
        self.states: dict[User, RecordDict] = {}
        """`context.state` of each user. What a message changes is kept if the reply to it arrives."""

    def answer(self, message: Message, kind: str, job: str) -> Process[Message]:
        """The process of one message to a user: download, work, upload; returns the reply as the server receives it.

        Args:
            message: the message.
            kind: what it and the reply are called in the table `transfers`.
            job: what the work is called in the table `computations`.
        """
        user, server = self.world.users[message.metadata.dst_node_id], self.world.server
        yield from server.send(user, payload(message.content), kind)
        reply, state = yield from user.run(self._work, user, message, kind=job)
        yield from user.send(server, payload(reply.content), kind)
        self.states[user] = state
        return reply

    def _work(self, user: User, message: Message) -> tuple[Message, Any]:
        """Run the app on copies of a message and of the user's state; returns the reply and the state after it."""
        number, what = self.world.journal.round, message.metadata.message_type
        context = Context(
            run_id=RUN_ID,
            node_id=user.number,
            node_config={"partition-id": user.number, "num-partitions": len(self.world.users)},
            state=deepcopy(self.states.get(user, RecordDict())),
            run_config=dict(self.run_config),
        )
        setattr(context, USER, user)
        setattr(context, ROUND, number)
        with seeded(self.world.streams.key("flower client", user.number, number, what)):
            reply = self.app(deepcopy(message), context)
        return reply, context.state
