"""The users of a round as strategies of Flower see them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

from flwr.app import Message, RecordDict
from flwr.server import SimpleClientManager
from flwr.server.client_proxy import ClientProxy
from flwr.serverapp import Grid

MAX_ASKED = 8
"""How often a strategy may ask for the users of an exchange: one that waits for more asks again every second."""


def too_few(users: int, wanted: int | None = None) -> NoReturn:
    """Raise the error of a strategy that waits for more users than a round has."""
    needed = "more" if wanted is None else str(wanted)
    raise ValueError(
        f"the strategy waits for {needed} users, and a round has {users}; "
        "lower its min_available_nodes (min_available_clients), or let more users take part"
    )


class CellGrid(Grid):
    """The users that take part in a round. Their messages are sent by the simulation, so that strategies send none."""

    def __init__(self, nodes: Sequence[int] = ()) -> None:
        self._nodes, self._asked = nodes, 0

    def get_node_ids(self) -> Iterable[int]:
        """Numbers of the users of the round."""
        self._asked += 1
        if self._asked > MAX_ASKED:
            too_few(len(self._nodes))
        return list(self._nodes)

    def create_message(
        self, content: RecordDict, message_type: str, dst_node_id: int, group_id: str, ttl: float | None = None
    ) -> Message:
        """A message to a user."""
        return Message(content, dst_node_id=dst_node_id, message_type=message_type, group_id=group_id, ttl=ttl)

    def set_run(self, run: Any) -> None:
        """Part of the interface; there is no run of a Flower server here."""

    @property
    def run(self) -> NoReturn:
        """Part of the interface; there is no run of a Flower server here."""
        raise ValueError("the app asks for its run on a Flower server, and there is none in a simulated cell")

    def _refuse(self) -> NoReturn:
        raise ValueError(
            "the server app sends messages by itself, and the simulation needs to send them; "
            "allowed are a strategy, and a ServerApp whose main function calls Strategy.start"
        )

    def push_messages(self, messages: Iterable[Message]) -> NoReturn:
        """Raises ValueError."""
        self._refuse()

    def pull_messages(self, message_ids: Iterable[str]) -> NoReturn:
        """Raises ValueError."""
        self._refuse()

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> NoReturn:
        """Raises ValueError."""
        self._refuse()


class CellClients(SimpleClientManager):
    """The same for strategies of `flwr.server`."""

    def __init__(self, nodes: Sequence[int]) -> None:
        super().__init__()
        for node in nodes:
            self.register(CellClient(node))

    def wait_for(self, num_clients: int, timeout: int = 86400) -> bool:
        """True if there are so many users; raises ValueError if not, as no further ones will come."""
        if num_clients > len(self):
            too_few(len(self), num_clients)
        return True


class CellClient(ClientProxy):
    """A user. It is told what to do by messages that the simulation sends, so that its methods are not called."""

    def __init__(self, node: int) -> None:
        super().__init__(str(node))
        self.node_id = node

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise ValueError("the strategy calls a client by itself, and the simulation needs to send its messages")

    get_properties = get_parameters = fit = evaluate = reconnect = _refuse
