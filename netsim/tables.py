"""The tables of a trace: one class a table, one annotated field a column. Empty cells are null, never zero or -1."""

from __future__ import annotations

from dataclasses import dataclass
from types import UnionType
from typing import Annotated, NamedTuple, get_args, get_origin, get_type_hints

import pyarrow as pa


@dataclass(frozen=True)
class Column:
    """Unit ("1" if there is none, "" for text) and meaning of a column."""

    unit: str
    meaning: str


Round = Annotated[int, Column("1", "round in which the work was asked for, from 0; -1 before the first")]
User = Annotated[int, Column("1", "number of the user, from 0")]
Served = Annotated[int | None, Column("1", "user that computes or is served; null for work on nobody's behalf")]
Start = Annotated[float, Column("s", "simulated time at which it was asked for")]
End = Annotated[float, Column("s", "simulated time at which it was over")]


class UserRow(NamedTuple):
    """A user."""

    user: User
    station: Annotated[int, Column("1", "number of the station or sector that serves the user: the strongest")]
    x_m: Annotated[float, Column("m", "position")]
    y_m: Annotated[float, Column("m", "position")]
    distance_m: Annotated[float, Column("m", "horizontal distance to the station")]
    path_loss_db: Annotated[float, Column("dB", "path loss to the station without shadowing and antenna gains")]
    flops_per_s: Annotated[float, Column("FLOP/s", "nominal speed of the processor")]
    samples: Annotated[int | None, Column("1", "training samples of the user; null where nothing is learned")]
    shadowing_db: Annotated[float, Column("dB", "attenuation by shadowing, on top of the path loss")]
    line_of_sight: Annotated[bool, Column("1", "whether nothing stands between user and station")]
    tx_power_dbm: Annotated[float, Column("dBm", "transmit power of the user")]
    coupling_loss_db: Annotated[float, Column("dB", "path loss and shadowing less the antenna gains of both ends")]


class TransferRow(NamedTuple):
    """One transmission of a payload over one hop."""

    round: Round
    user: Annotated[int, Column("1", "user that sends or receives")]
    node: Annotated[
        str, Column("", "station at the other end, at last; on the backhaul where it goes to: core or a station")
    ]
    direction: Annotated[str, Column("", "up, down or backhaul")]
    kind: Annotated[str, Column("", "what the payload is")]
    bits: Annotated[float, Column("bit", "size of the payload")]
    start_s: Start
    end_s: End
    wait_s: Annotated[
        float,
        Column("s", "time waiting for earlier transfers, the user's own or on the backhaul, and between two stations"),
    ]
    airtime_s: Annotated[float, Column("s", "time on the air, or on the backhaul's line")]
    attempts: Annotated[
        int,
        Column("1", "transport blocks sent, retransmissions included; 1 where there are no blocks, 0 if not begun"),
    ]
    lost: Annotated[
        float, Column("bit", "bits not delivered because of an interruption, or because the radio link failed")
    ]
    mean_snr_db: Annotated[
        float | None,
        Column(
            "dB",
            "signal to noise and interference, averaged over the airtime; in a broadcast at one rate the weakest "
            "receiver's",
        ),
    ]
    mean_rate_bps: Annotated[float | None, Column("bit/s", "bits delivered over airtime")]
    energy_j: Annotated[float, Column("J", "energy of the user's radio")]
    receivers: Annotated[int, Column("1", "receivers of this one transmission; bits on the air are bits over this")]
    failed: Annotated[int, Column("1", "attempts that the receiver could not decode")] = 0


class ComputationRow(NamedTuple):
    """One job on a processor."""

    round: Round
    user: Served
    node: Annotated[str, Column("", "name of the node whose processor did it")]
    node_kind: Annotated[str, Column("", "user or server")]
    kind: Annotated[str, Column("", "what was computed")]
    flops: Annotated[float, Column("FLOP", "floating-point operations asked for")]
    start_s: Start
    end_s: End
    wait_s: Annotated[float, Column("s", "time in the queue")]
    service_s: Annotated[float, Column("s", "time on the processor")]
    slowdown: Annotated[float, Column("1", "factor by which the job takes longer than at nominal speed")]
    memory_bytes: Annotated[
        int, Column("B", "most memory that the job holds at once: operands, results and what lies between")
    ]
    energy_j: Annotated[float | None, Column("J", "energy of the job; null where no energy model is given")]
    interrupted: Annotated[bool, Column("1", "whether the job was given up before it was done")]


class RoundRow(NamedTuple):
    """One round."""

    round: Annotated[int, Column("1", "number of the round, from 0")]
    start_s: Annotated[float, Column("s", "simulated time at which it began")]
    end_s: End
    latency_s: Annotated[float, Column("s", "end minus start")]
    participants: Annotated[int, Column("1", "users whose work counted")]
    dropped: Annotated[int, Column("1", "users asked whose work did not count")]
    staleness_mean: Annotated[float, Column("1", "mean age of what was used, in rounds")]
    uplink_bits: Annotated[
        float, Column("bit", "bits delivered uplink by transfers that ended in the round, requests left out")
    ]
    downlink_bits: Annotated[float, Column("bit", "bits delivered downlink likewise; a broadcast counts once")]
    energy_j: Annotated[float, Column("J", "energy of all users since the round before ended")]


class EvaluationRow(NamedTuple):
    """One evaluation."""

    round: Annotated[int, Column("1", "round after which was evaluated, from 0")]
    time_s: Annotated[float, Column("s", "simulated time")]
    split: Annotated[str, Column("", "data evaluated on")]
    metric: Annotated[str, Column("", "what was measured")]
    value: Annotated[
        float | None,
        Column("1", "its value, perhaps infinite or NaN; null where nothing was computed"),
    ]
    samples: Annotated[int, Column("1", "samples evaluated on")]


class CriticalPathRow(NamedTuple):
    """One segment of the chain that decided a round's end."""

    round: Annotated[int, Column("1", "number of the round, from 0")]
    position: Annotated[int, Column("1", "position in the chain, from 0 at the round's start")]
    user: Annotated[int | None, Column("1", "user that computes or is served; null for nobody")]
    node: Annotated[str | None, Column("", "node at work; null while nothing was")]
    kind: Annotated[str | None, Column("", "what was computed or sent; null while nothing was")]
    cause: Annotated[str, Column("", "compute (nominal), straggle, queue, airtime or wait")]
    start_s: Annotated[float, Column("s", "simulated time at which the segment begins")]
    end_s: Annotated[float, Column("s", "simulated time at which the segment ends")]
    duration_s: Annotated[float, Column("s", "end minus start")]


class DecisionRow(NamedTuple):
    """What a controller chose."""

    round: Annotated[int, Column("1", "round in which it was chosen")]
    user: Annotated[int | None, Column("1", "user whom it concerns; null for all")]
    name: Annotated[str, Column("", "what was chosen")]
    value: Annotated[float, Column("1", "the choice, in the unit that its name tells")]


class EnergyRow(NamedTuple):
    """What a user's device spent from the end of one round to the end of the next."""

    round: Annotated[int, Column("1", "round that ended; one more for what came after the last")]
    user: User
    start_s: Annotated[float, Column("s", "from when: the end of the round before, or the beginning")]
    end_s: Annotated[float, Column("s", "until when: the round's end")]
    transmit_j: Annotated[float, Column("J", "energy of transmitting")]
    receive_j: Annotated[float, Column("J", "energy of receiving")]
    compute_j: Annotated[float, Column("J", "energy of computing")]
    idle_j: Annotated[float, Column("J", "energy while it did none of these, nor waited in a tail")]
    tail_j: Annotated[float, Column("J", "energy of the radio after transfers, before it went to sleep")] = 0.0
    charge_j: Annotated[float | None, Column("J", "what is left in the battery at the end; null without one")] = None
    harvested_j: Annotated[float | None, Column("J", "what came into the battery meanwhile; null without one")] = None


class OutageRow(NamedTuple):
    """A time that a device was away for one cause; several causes may overlap."""

    user: User
    start_s: Annotated[float, Column("s", "simulated time at which it went away")]
    end_s: Annotated[float | None, Column("s", "simulated time at which the cause was over; null if the run was first")]
    cause: Annotated[
        str,
        Column("", "availability, outage, death, battery (both off), memory, budget, or radio_link, which failed then"),
    ]


class RequestRow(NamedTuple):
    """One request of a traffic stream."""

    user: Annotated[int, Column("1", "user that asks")]
    node: Annotated[str, Column("", "server that it asks")]
    arrival_s: Annotated[float, Column("s", "simulated time at which the user asks")]
    start_s: Annotated[float | None, Column("s", "when it had reached the server's queue; null if it never did")]
    end_s: Annotated[float, Column("s", "simulated time at which it was over, served or not")]
    latency_s: Annotated[float, Column("s", "end minus arrival")]
    bits: Annotated[float, Column("bit", "size of the request and of its answer")]
    outcome: Annotated[
        str,
        Column(
            "",
            "served, refused (no room at the server), timed_out, or lost (the device went away, or its link failed)",
        ),
    ]
    stream: Annotated[str, Column("", "name of the stream; its transfers and computations are of kind request_<name>")]
    number: Annotated[int, Column("1", "number of the request among those of user and stream, from 0")]
    flops: Annotated[float, Column("FLOP", "floating-point operations asked for")]


class PositionRow(NamedTuple):
    """Where a user that moves is."""

    time_s: Annotated[float, Column("s", "simulated time")]
    user: User
    x_m: Annotated[float, Column("m", "position")]
    y_m: Annotated[float, Column("m", "position")]
    station: Annotated[int, Column("1", "number of the station or sector that serves the user")]
    coupling_loss_db: Annotated[float, Column("dB", "path loss and shadowing less the antenna gains of both ends")]


class HandoverRow(NamedTuple):
    """A user goes from one station to another."""

    user: User
    time_s: Annotated[float, Column("s", "simulated time at which it leaves the first")]
    from_station: Annotated[int, Column("1", "number of the station that it leaves")]
    to_station: Annotated[int, Column("1", "number of the station that serves it from then on")]
    interruption_s: Annotated[float, Column("s", "time until it can send and receive again")]


class ExpertCallRow(NamedTuple):
    """One call of an expert of a mixture of experts, with the tokens that a user's request or mini-batch has for it."""

    round: Round
    user: Annotated[int, Column("1", "number of the user that calls, from 0")]
    layer: Annotated[int, Column("1", "number of the layer of experts, from 0")]
    expert: Annotated[int, Column("1", "number of the expert in its layer, from 0")]
    node: Annotated[str, Column("", "name of the site at which the expert was called: a server, or a user's device")]
    kind: Annotated[str, Column("", "what was computed, as in computations")]
    tokens: Annotated[int, Column("1", "tokens sent to the expert")]
    bits_up: Annotated[float, Column("bit", "size of what was sent to the site; 0 on the user's own device")]
    bits_down: Annotated[
        float, Column("bit", "size of what the site sent back, likewise; 0 if the work was not finished")
    ]
    start_s: Start
    end_s: Annotated[float, Column("s", "simulated time at which the user had the result, or the call was given up")]
    wait_s: Annotated[float | None, Column("s", "time in the site's queue; null if the expert's work was not finished")]
    service_s: Annotated[float | None, Column("s", "time on the site's processor; null likewise")]
    hit: Annotated[
        bool, Column("1", "whether the site is the user's first choice; false if that did not hold the expert")
    ]
    interrupted: Annotated[bool, Column("1", "whether the call was given up before the user had the result")]


ROWS: dict[str, type] = {
    "users": UserRow,
    "transfers": TransferRow,
    "computations": ComputationRow,
    "rounds": RoundRow,
    "evaluations": EvaluationRow,
    "critical_path": CriticalPathRow,
    "decisions": DecisionRow,
    "energy": EnergyRow,
    "outages": OutageRow,
    "requests": RequestRow,
    "positions": PositionRow,
    "handovers": HandoverRow,
    "expert_calls": ExpertCallRow,
}

_ARROW = {int: pa.int64(), float: pa.float64(), str: pa.string(), bool: pa.bool_()}


def _field(name: str, hint: object) -> pa.Field:
    bare, column = get_args(hint)
    optional = get_origin(bare) is UnionType
    metadata = {b"unit": column.unit.encode(), b"meaning": column.meaning.encode()}
    return pa.field(name, _ARROW[get_args(bare)[0] if optional else bare], nullable=optional, metadata=metadata)


def _schema(row: type) -> pa.Schema:
    return pa.schema([_field(name, hint) for name, hint in get_type_hints(row, include_extras=True).items()])


TABLES: dict[str, pa.Schema] = {table: _schema(row) for table, row in ROWS.items()}
"""Columns of each table in order, with types, and unit and meaning in the metadata of each field."""
