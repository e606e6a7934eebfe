"""The journal: it writes the rows of the trace, rounds as reported by learning and work as reported by the nodes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import count
from typing import Any, Protocol

import simpy

from netsim.critical_path import Activity, critical_path
from netsim.energy import Meter
from netsim.sums import in_order
from netsim.tables import (
    ComputationRow,
    CriticalPathRow,
    DecisionRow,
    EnergyRow,
    EvaluationRow,
    ExpertCallRow,
    ForwardPassRow,
    OutageRow,
    PrefetchRow,
    RequestRow,
    RoundRow,
    TransferRow,
)
from netsim.trace import Trace


class JournalObserver(Protocol):
    """An observer of a run, such as a progress display. Its methods get each new row of a table as a mapping."""

    def round_ended(self, row: Mapping[str, Any]) -> None:
        """Observe a row of `rounds`."""
        ...

    def evaluated(self, row: Mapping[str, Any]) -> None:
        """Observe a row of `evaluations`."""
        ...

    def requested(self, row: Mapping[str, Any]) -> None:
        """Observe a row of `requests`."""
        ...


class Journal:
    """The journal of a run: it writes the rows of the tables of work, rounds, evaluations, energy and requests."""

    def __init__(self, env: simpy.Environment, trace: Trace) -> None:
        """Begin a journal before the first round; `trace` receives the rows."""
        self.env, self.trace = env, trace
        self.round = -1
        """Number of the open round, or of the latest one; -1 before the first."""
        self.meters: dict[int, Meter] = {}
        """Energy meters of the users' devices, by number of the user."""
        self.observers: list[JournalObserver] = []
        """Observers of this run."""
        self.after_round: list[Callable[[], None]] = []
        """Functions called when a round is over and its rows are written."""
        self.request_kinds: set[str] = set()
        """Kinds of work of requests, which is not part of a round's bits and critical path."""
        self._local_rounds: dict[int, int] = {}
        self._calls = count()
        self._open = False
        self._start_s = 0.0
        self._bits = {"up": 0.0, "down": 0.0, "backhaul": 0.0}
        self._activities: list[Activity] = []

    def begin_round(self, number: int) -> None:
        """Begin round `number`, to which rows belong from now on. Raises RuntimeError if a round is open."""
        if self._open:
            raise RuntimeError(f"round {number} begins, but round {self.round} has not ended")
        self.round, self._open = number, True
        self._start_s = self.env.now
        self._bits = {"up": 0.0, "down": 0.0, "backhaul": 0.0}
        self._activities = []

    def local_round(self, user: int | None) -> int:
        """Return the round that names a user's draws: its local round under an asynchronous policy, else the round."""
        return self.round if user is None else self._local_rounds.get(user, self.round)

    def begin_local_round(self, user: int, number: int) -> None:
        """Begin the local round `number` of a user, independently of other users; rows still belong to rounds."""
        self._local_rounds[user] = number

    def end_round(
        self, participants: int, dropped: int, staleness_mean: float = 0.0, *, critical_path: bool = True
    ) -> None:
        """End the open round: write its row, its critical path, and each user's energy since the previous round's end.

        Args:
            participants: number of users whose work was used.
            dropped: number of selected users whose work was not used.
            staleness_mean: mean staleness of the updates used, in rounds.
            critical_path: whether to write the critical path.

        Raises:
            RuntimeError: no round is open.
        """
        if not self._open:
            raise RuntimeError("a round ends that has not begun")
        start_s, end_s = self._start_s, self.env.now
        if critical_path:
            self._write_critical_path(start_s, end_s)
        row = RoundRow(
            round=self.round,
            start_s=start_s,
            end_s=end_s,
            latency_s=end_s - start_s,
            participants=participants,
            dropped=dropped,
            staleness_mean=staleness_mean,
            uplink_bits=self._bits["up"],
            downlink_bits=self._bits["down"],
            energy_j=self._write_energy(self.round),
        )
        self.trace.add("rounds", *row)
        self._open = False
        for observer in self.observers:
            observer.round_ended(row._asdict())
        for act in self.after_round:
            act()

    def end_traffic(self) -> None:
        """Write each user's energy since the end of the last round; call when all requests have ended."""
        self._write_energy(self.round + 1)

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
        """Write a metric of the model.

        Args:
            split: data that the model was evaluated on.
            metric: name of the metric.
            value: value of the metric; None if learning is not computed.
            samples: number of samples that the model was evaluated on.
            round: round after which the model was evaluated; -1 for pretraining.
            time_s: simulated time of the evaluation in seconds.
            user: the user whose model, or on whose own samples the model, was evaluated; None for all together.
        """
        row = EvaluationRow(round, time_s, split, metric, value, samples, user)
        self.trace.add("evaluations", *row)
        for observer in self.observers:
            observer.evaluated(row._asdict())

    def decision(self, user: int | None, name: str, value: float) -> None:
        """Write a decision of a controller in the present round.

        Args:
            user: number of the user that the decision concerns; None is all.
            name: name of the decided quantity.
            value: decided value, in the unit that the name gives.
        """
        self.trace.add("decisions", *DecisionRow(self.round, user, name, float(value)))

    def next_call(self) -> int:
        """Return the next number of a message, from 0, for the rows of `expert_calls` that share it."""
        return next(self._calls)

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
        """Write a call of an expert that ends now; the arguments are the columns of `expert_calls`."""
        row = ExpertCallRow(
            round=round,
            user=user,
            layer=layer,
            expert=expert,
            node=node,
            kind=kind,
            tokens=tokens,
            bits_up=float(bits_up),
            bits_down=float(bits_down),
            start_s=start_s,
            end_s=self.env.now,
            wait_s=wait_s,
            service_s=service_s,
            hit=hit,
            interrupted=interrupted,
            call=call,
            request=request,
            pairs=pairs,
            miss_action=miss_action,
            energy_j=energy_j,
        )
        self.trace.add("expert_calls", *row)

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
        """Write a forward pass that ends now; the arguments are the columns of `forward_passes`."""
        row = ForwardPassRow(
            user=user,
            stream=stream,
            request=request,
            position=position,
            tokens=tokens,
            start_s=start_s,
            end_s=self.env.now,
            trunk_s=trunk_s,
            uplink_s=uplink_s,
            queue_s=queue_s,
            expert_s=expert_s,
            downlink_s=downlink_s,
            straggle_s=straggle_s,
        )
        self.trace.add("forward_passes", *row)

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
        """Write a predicted expert of a layer that chooses its experts now; arguments are columns of `prefetches`."""
        row = PrefetchRow(
            user=user,
            stream=stream,
            request=request,
            position=position,
            layer=layer,
            expert=expert,
            time_s=self.env.now,
            bits=float(bits),
            needed=needed,
            in_time=in_time,
        )
        self.trace.add("prefetches", *row)

    def outage(self, row: OutageRow) -> None:
        """Write an outage of a device."""
        self.trace.add("outages", *row)

    def requested(self, row: RequestRow) -> None:
        """Write a request that has ended, served or not."""
        self.trace.add("requests", *row)
        for observer in self.observers:
            observer.requested(row._asdict())

    def computed(self, row: ComputationRow) -> None:
        """Write a job that has ended, completed or abandoned."""
        self.trace.add("computations", *row)
        # A job that is faster than at nominal speed has no straggling part.
        straggle_s = row.service_s - row.service_s / max(row.slowdown, 1.0)
        self._record("compute", row, straggle_s, completed=not row.interrupted)

    def transferred(self, row: TransferRow, on_air_bits: float | None = None) -> None:
        """Write a transfer that has ended, complete or not.

        Args:
            row: the row of `transfers`.
            on_air_bits: bits on the air for which it accounts; None is its receiver's equal part of those delivered.
        """
        self.trace.add("transfers", *row)
        if row.kind not in self.request_kinds:
            equal = (row.bits - row.lost) / row.receivers
            self._bits[row.direction] += equal if on_air_bits is None else on_air_bits
        self._record("airtime", row, 0.0, completed=row.lost == 0)

    def unheard(self, bits: float) -> None:
        """Count bits that stations have transmitted while no user listened, for which no transfer accounts."""
        self._bits["down"] += bits

    def _record(self, cause: str, row: ComputationRow | TransferRow, straggle_s: float, *, completed: bool) -> None:
        if self._open and row.kind not in self.request_kinds:
            activity = Activity(
                row.user, row.node, row.kind, cause, row.start_s, row.wait_s, straggle_s, row.end_s, completed
            )
            self._activities.append(activity)

    def _write_critical_path(self, start_s: float, end_s: float) -> None:
        for position, segment in enumerate(critical_path(self._activities, start_s, end_s)):
            row = CriticalPathRow(self.round, position, *segment, duration_s=segment.end_s - segment.start_s)
            self.trace.add("critical_path", *row)

    def _write_energy(self, round_number: int) -> float:
        end_s, total_j = self.env.now, 0.0
        for user, meter in sorted(self.meters.items()):
            since_s = meter.since_s
            consumption = meter.take()
            self.trace.add("energy", *EnergyRow(round_number, user, since_s, end_s, *consumption, *meter.stored()))
            total_j += in_order(consumption)
        return total_j
