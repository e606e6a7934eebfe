"""A Flower app in the cell: its code as it is, on devices and radio links that take time. [Flower: flower.ai]

server -> user   model and configuration              per round, to the users that the strategy samples
user             ClientApp: train (fit)
user -> server   model and metrics
server           strategy: aggregate_train (aggregate_fit)
server -> user   model and configuration              to the users that the strategy samples for evaluation
user             ClientApp: evaluate
user -> server   metrics
server           strategy: aggregate_evaluate
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING, Any

from learning.ports import Process
from learning.protocols.rounds import gather
from learning.scheme import Scheme
from learning.schemes.flower.loading import client_app, server_side
from learning.schemes.flower.mapping import Mapping
from learning.world import World

if TYPE_CHECKING:
    from learning.schemes.flower.clients import Clients
    from learning.schemes.flower.server_side import ServerSide

Scalar = bool | int | float | str


@dataclass(frozen=True)
class Flower(Scheme):
    """A Flower app: its clients on the devices, its strategy at the server; needs the extra netsim-learning[flower].

    The code runs as it is, at its simulated times. FLOPs are counted while torch computes, and nothing is kept in the
    result cache; a message has the bits of the arrays and numbers in it.
    """

    app: str
    """The client as `module:name`: a `ClientApp`, or a `client_fn` of a context that returns a client or a
    `NumPyClient`. The module is imported by `netsim --import`, or by the program that runs the scenario."""

    server: str
    """The server as `module:name`: a strategy of `flwr.serverapp` or `flwr.server`, a function that makes one of the
    context or of nothing, a `server_fn`, or a `ServerApp` whose main function calls `Strategy.start`."""

    run_config: dict[str, Scalar] = field(default_factory=dict, hash=False)
    """`context.run_config` of the clients and the server, as in `[tool.flwr.app.config]` of a `pyproject.toml`."""

    evaluated: bool = True
    """Whether the strategy's model is evaluated on the test set as other schemes' are. Its arrays must then be the
    parameters of `learning.model`, in order; if not, the only evaluations are those of the app itself."""

    whole_model = True
    one_chain = True

    def check(self, world: World) -> None:
        """Raises ValueError if the app cannot be loaded, or its arrays are not the parameters of the model."""
        if world.executor.charge is not None:
            raise ValueError("the FLOPs of a Flower app are counted while it computes; leave out learning.charge_as")
        client_app(self.app)
        mapping = Mapping.of(world)
        strategy = server_side(self.server, dict(self.run_config), mapping, world.streams)
        if self.evaluated:
            mapping.weights(strategy.arrays())

    def run(self, world: World) -> Process[None]:
        from learning.schemes.flower.clients import Clients

        mapping = Mapping.of(world)
        clients = Clients(world, client_app(self.app), dict(self.run_config))
        strategy = server_side(self.server, dict(self.run_config), mapping, world.streams)
        for number in world.rounds():
            nodes = [user.number for user in world.selected(number)]
            messages = strategy.train(number, nodes)
            replies = yield from _exchange(world, clients, messages, "model", "client_training")
            if replies:
                yield from world.server.run(strategy.aggregate, number, replies, kind="aggregation")
            else:
                strategy.aggregate(number, replies)
            yield from self._evaluate(world, clients, strategy, number, nodes)
            if self.evaluated:
                world.models(mapping.weights(strategy.arrays()))
            world.measures(strategy.metrics(number))

    def _evaluate(
        self, world: World, clients: Clients, strategy: ServerSide, number: int, nodes: Sequence[int]
    ) -> Process[None]:
        """The evaluation by users: an exchange of its own, whose deadline is counted anew."""
        messages = strategy.evaluation(number, nodes)
        if not messages:
            return
        presence, world.closes_s = world.presence, inf
        replies = yield from _exchange(world, clients, messages, "evaluation", "client_evaluation")
        world.report_participation(*presence)
        strategy.aggregate_evaluation(number, replies)


def _exchange(world: World, clients: Clients, messages: Sequence[Any], kind: str, job: str) -> Process[list[Any]]:
    """Send messages to users and wait for their replies, as the policy says; returns those that arrive."""
    work = {world.users[each.metadata.dst_node_id]: clients.answer(each, kind, job) for each in messages}
    if len(work) < len(messages):
        raise ValueError("the strategy sends a user two messages at once; one in a round's training is allowed")
    if not work:
        return []
    done = yield from gather(world, work)
    return list(done.values())
