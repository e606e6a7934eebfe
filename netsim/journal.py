"""The journal: rounds as the learning side tells them, work as the nodes report it, all of it rows of the trace."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import simpy

from netsim.critical_path import Activity, critical_path
from netsim.energy import Meter
from netsim.tables import (
    ComputationRow,
    CriticalPathRow,
    DecisionRow,
    EnergyRow,
    EvaluationRow,
    ExpertCallRow,
    OutageRow,
    RequestRow,
    RoundRow,
    TransferRow,
)
from netsim.trace import Trace


class Observer(Protocol):
    """Who wants to hear at once, such as a progress display."""

    def round_ended(self, row: Mapping[str, Any]) -> None: ...

    def evaluated(self, row: Mapping[str, Any]) -> None: ...

    def requested(self, row: Mapping[str, Any]) -> None: ...


class Journal:
    """Writes every table but `users`. `round` is the number of the round that is open, or of the latest; -1 before."""

    def __init__(self, env: simpy.Environment, trace: Trace) -> None:
        self.env, self.trace = env, trace
        self.round = -1
        self.meters: list[Meter] = []
        self.observers: list[Observer] = []
        self.request_kinds: set[str] = set()
        """Kinds of work that requests ask for: it is nobody's part of a round."""
        self._local_rounds: dict[int, int] = {}
        self._open = False
        self._start_s = 0.0
        self._bits = {"up": 0.0, "down": 0.0, "backhaul": 0.0}
        self._activities: list[Activity] = []

    def begin_round(self, number: int) -> None:
        """From now on rows belong to this round."""
        if self._open:
            raise RuntimeError(f"round {number} begins, but round {self.round} has not ended")
        self.round, self._open = number, True
        self._start_s = self.env.now
        self._bits = {"up": 0.0, "down": 0.0, "backhaul": 0.0}
        self._activities = []

    def local_round(self, user: int | None) -> int:
        """The round after which a user's draws are named: its own if it goes on by itself, else that of all."""
        return self.round if user is None else self._local_rounds.get(user, self.round)

    def begin_local_round(self, user: int, number: int) -> None:
        """From now on the user goes on by itself, and begins its local round `number`; rows still belong to rounds."""
        self._local_rounds[user] = number

    def end_round(self, participants: int, dropped: int, staleness_mean: float = 0.0) -> None:
        """Close the round now: its row, its critical path, and each user's energy since the round before ended."""
        if not self._open:
            raise RuntimeError("a round ends that has not begun")
        start_s, end_s = self._start_s, self.env.now
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

    def end_traffic(self) -> None:
        """The last request is over: each user's energy since the last round ended."""
        self._write_energy(self.round + 1)

    def evaluation(
        self, split: str, metric: str, value: float | None, samples: int, *, round: int, time_s: float
    ) -> None:
        """A metric of the model after a round; None where the run computes no values."""
        row = EvaluationRow(round=round, time_s=time_s, split=split, metric=metric, value=value, samples=samples)
        self.trace.add("evaluations", *row)
        for observer in self.observers:
            observer.evaluated(row._asdict())

    def decision(self, user: int | None, name: str, value: float) -> None:
        """What a controller chose in this round; `user` is None if it concerns all."""
        self.trace.add("decisions", *DecisionRow(self.round, user, name, float(value)))

    def expert_call(
        self,
        *,
        user: int,
        layer: int,
        expert: int,
        node: str,
        kind: str,
        tokens: int,
        bits_up: float,
        bits_down: float,
        round: int,
        start_s: float,
        wait_s: float | None,
        service_s: float | None,
        hit: bool,
        interrupted: bool,
    ) -> None:
        """A call of an expert is over now, done or given up; the arguments are the columns of `expert_calls`."""
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
        )
        self.trace.add("expert_calls", *row)

    def outage(self, row: OutageRow) -> None:
        """A device was away."""
        self.trace.add("outages", *row)

    def requested(self, row: RequestRow) -> None:
        """A request is over, served or not."""
        self.trace.add("requests", *row)
        for observer in self.observers:
            observer.requested(row._asdict())

    def computed(self, row: ComputationRow) -> None:
        """A job is over, done or given up."""
        self.trace.add("computations", *row)
        # What goes faster than nominal does not straggle: all of it is computing.
        straggle_s = row.service_s - row.service_s / max(row.slowdown, 1.0)
        self._record("compute", row, straggle_s, completed=not row.interrupted)

    def transferred(self, row: TransferRow) -> None:
        """A transfer is over, complete or not."""
        self.trace.add("transfers", *row)
        if row.kind not in self.request_kinds:
            self._bits[row.direction] += (row.bits - row.lost) / row.receivers
        self._record("airtime", row, 0.0, completed=row.lost == 0)

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
        for user, meter in enumerate(self.meters):
            since_s = meter.since_s
            spent = meter.take()
            self.trace.add("energy", *EnergyRow(round_number, user, since_s, end_s, *spent, *meter.stored()))
            total_j += sum(spent)
        return total_j
