"""The interface through which learning reports to the tables of a run; `netsim` implements it without importing it."""

from typing import Protocol


class Journal(Protocol):
    """Where learning reports what the tables of a run say about it."""

    @property
    def round(self) -> int:
        """Number of the present round, from 0; -1 before the first."""
        ...

    def begin_round(self, number: int) -> None:
        """Begin round `number`, which rows belong to from now on."""
        ...

    def local_round(self, user: int) -> int:
        """Number of a user's local round, by which its draws are named; in rounds it is that of the round."""
        ...

    def begin_local_round(self, user: int, number: int) -> None:
        """Begin local round `number` of a user under an asynchronous policy."""
        ...

    def end_round(
        self, participants: int, dropped: int, staleness_mean: float = 0.0, *, critical_path: bool = True
    ) -> None:
        """End the present round; the arguments are columns of `rounds`, and whether its critical path is written."""
        ...

    def evaluation(
        self,
        split: str,
        metric: str,
        value: float | None,
        samples: int,
        *,
        round: int,
        time_s: float,
        user: int | None = None,
    ) -> None:
        """Add a row to the table `evaluations`; the arguments are its columns."""
        ...

    def decision(self, user: int | None, name: str, value: float) -> None:
        """Add a row to the table `decisions`, about one user or about all (None)."""
        ...

    def next_call(self) -> int:
        """A new number for the rows of `expert_calls` that share a message."""
        ...

    def expert_call(
        self,
        *,
        call: int | None,
        user: int,
        request: int | None,
        layer: int,
        expert: int,
        node: str,
        kind: str,
        tokens: int,
        pairs: int,
        bits_up: float,
        bits_down: float,
        round: int,
        start_s: float,
        wait_s: float | None,
        service_s: float | None,
        hit: bool,
        miss_action: str | None,
        energy_j: float | None,
        interrupted: bool,
    ) -> None:
        """Report that a call of an expert has ended or was interrupted; the arguments are columns of `expert_calls`."""
        ...

    def prefetch(
        self,
        *,
        user: int,
        stream: str,
        request: int,
        position: int,
        layer: int,
        expert: int,
        bits: float,
        needed: bool,
        in_time: bool,
    ) -> None:
        """Report an expert that was predicted for a layer that chooses now; arguments are columns of `prefetches`."""
        ...

    def forward_pass(
        self,
        *,
        user: int,
        stream: str,
        request: int,
        position: int,
        tokens: int,
        start_s: float,
        trunk_s: float,
        uplink_s: float,
        queue_s: float,
        expert_s: float,
        downlink_s: float,
        straggle_s: float,
    ) -> None:
        """Report that a forward pass of a request has ended; the arguments are columns of `forward_passes`."""
        ...
