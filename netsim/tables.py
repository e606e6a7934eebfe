"""The tables of a trace: one class for each table, one annotated field for each column. Empty cells are null."""

from __future__ import annotations

from dataclasses import dataclass
from types import UnionType
from typing import Annotated, NamedTuple, get_args, get_origin, get_type_hints

import pyarrow as pa


@dataclass(frozen=True)
class Column:
    """Documentation of a column of a table."""

    unit: str
    """Unit; "1" for numbers without a unit and truth values, "" for text."""
    meaning: str
    """Meaning of the values, in one line."""


Round = Annotated[int, Column("1", "round in which the work was requested, from 0; -1 before the first")]
User = Annotated[int, Column("1", "number of the user, from 0")]
Served = Annotated[int | None, Column("1", "user that computes or is served; null for work that serves no single user")]
Start = Annotated[float, Column("s", "simulated time of the request")]
End = Annotated[float, Column("s", "simulated time of the end, completed or not")]


class UserRow(NamedTuple):
    """One user at the beginning of the run."""

    user: User
    station: Annotated[int, Column("1", "number of the serving station or sector: the one with the best mean gain")]
    x_m: Annotated[float, Column("m", "x coordinate")]
    y_m: Annotated[float, Column("m", "y coordinate")]
    distance_m: Annotated[float, Column("m", "horizontal distance to the serving station")]
    path_loss_db: Annotated[float, Column("dB", "path loss to the serving station without shadowing and antenna gains")]
    flops_per_s: Annotated[float, Column("FLOP/s", "nominal speed of the processor")]
    samples: Annotated[int | None, Column("1", "training samples of the user; null without learning")]
    shadowing_db: Annotated[float, Column("dB", "shadowing, added to the path loss")]
    line_of_sight: Annotated[bool, Column("1", "true if there is a line of sight to the serving station")]
    tx_power_dbm: Annotated[float, Column("dBm", "transmit power of the user")]
    coupling_loss_db: Annotated[float, Column("dB", "path loss plus shadowing minus antenna gains of user and station")]


class TransferRow(NamedTuple):
    """One transfer of a payload over one hop; a broadcast has a row for each receiver."""

    round: Round
    user: Annotated[int, Column("1", "user that transmits or receives")]
    node: Annotated[
        str, Column("", "station at the transfer's end; on the backhaul the destination: core, a station or a site")
    ]
    direction: Annotated[str, Column("", "up, down or backhaul")]
    kind: Annotated[str, Column("", "kind of payload, such as model or activation")]
    bits: Annotated[float, Column("bit", "size of the payload; of an analogue message or a stream of symbols, symbols")]
    start_s: Start
    end_s: End
    wait_s: Annotated[
        float,
        Column("s", "time waiting for earlier transfers, of the user or on the backhaul, and in handover gaps"),
    ]
    airtime_s: Annotated[float, Column("s", "time on the air, or on the line of the backhaul")]
    attempts: Annotated[
        int,
        Column("1", "transport blocks sent, with retransmissions; 1 without transport blocks, 0 if not started"),
    ]
    lost: Annotated[float, Column("bit", "bits not delivered because of an interruption or a radio link failure")]
    mean_snr_db: Annotated[
        float | None,
        Column(
            "dB",
            "ratio of signal to noise and interference, averaged over the airtime; in a broadcast at one rate that of "
            "the weakest receiver",
        ),
    ]
    mean_rate_bps: Annotated[float | None, Column("bit/s", "bits delivered divided by airtime")]
    energy_j: Annotated[float, Column("J", "energy of the user's radio")]
    receivers: Annotated[
        int, Column("1", "receivers of the same transmission; bits over receivers is the share of bits on the air")
    ]
    failed: Annotated[int, Column("1", "attempts that the receiver could not decode")] = 0


class ComputationRow(NamedTuple):
    """One job on a processor."""

    round: Round
    user: Served
    node: Annotated[str, Column("", "name of the node with the processor")]
    node_kind: Annotated[str, Column("", "user or server")]
    kind: Annotated[str, Column("", "kind of computation, such as client_forward or aggregation")]
    flops: Annotated[float, Column("FLOP", "floating-point operations requested")]
    start_s: Start
    end_s: End
    wait_s: Annotated[float, Column("s", "time in the queue")]
    service_s: Annotated[float, Column("s", "time on the processor")]
    slowdown: Annotated[float, Column("1", "factor by which the job takes longer than at nominal speed")]
    memory_bytes: Annotated[
        int, Column("B", "peak memory of the job: operands, results and intermediate values such as activations")
    ]
    energy_j: Annotated[float | None, Column("J", "energy of the job; null without an energy model of the node")]
    interrupted: Annotated[bool, Column("1", "true if the job was abandoned before its end")]


class RoundRow(NamedTuple):
    """One round."""

    round: Annotated[int, Column("1", "number of the round, from 0")]
    start_s: Annotated[float, Column("s", "simulated time of the start")]
    end_s: Annotated[float, Column("s", "simulated time of the end")]
    latency_s: Annotated[float, Column("s", "end minus start")]
    participants: Annotated[int, Column("1", "users whose work was used")]
    dropped: Annotated[int, Column("1", "selected users whose work was not used")]
    staleness_mean: Annotated[float, Column("1", "mean staleness of the updates used, in rounds")]
    uplink_bits: Annotated[
        float, Column("bit", "bits delivered uplink by transfers that ended in the round, without requests")
    ]
    downlink_bits: Annotated[
        float,
        Column(
            "bit",
            "bits delivered downlink by transfers that ended in the round, without requests; a broadcast counts once",
        ),
    ]
    energy_j: Annotated[float, Column("J", "energy of all users' devices since the end of the previous round")]


class EvaluationRow(NamedTuple):
    """One metric of one evaluation."""

    round: Annotated[int, Column("1", "round after which the model was evaluated, from 0; -1 for pretraining")]
    time_s: Annotated[float, Column("s", "simulated time of the evaluation")]
    split: Annotated[str, Column("", "data that the model was evaluated on")]
    metric: Annotated[str, Column("", "name of the metric")]
    value: Annotated[
        float | None,
        Column("1", "value of the metric, infinite or NaN after divergence; null if learning is not computed"),
    ]
    samples: Annotated[int, Column("1", "number of samples that the model was evaluated on")]
    user: Annotated[
        int | None,
        Column("1", "user whose model, or on whose own samples the model, was evaluated; null for all users together"),
    ] = None


class CriticalPathRow(NamedTuple):
    """One segment of the critical path of a round: the chain of work and waits that decided when the round ended."""

    round: Annotated[int, Column("1", "number of the round, from 0")]
    position: Annotated[int, Column("1", "position in the chain, from 0 at the start of the round")]
    user: Annotated[
        int | None, Column("1", "user that computes or is served; null for waits and for work for no single user")
    ]
    node: Annotated[str | None, Column("", "node that works; null for waits")]
    kind: Annotated[str | None, Column("", "kind of computation or transfer; null for waits")]
    cause: Annotated[str, Column("", "compute (at nominal speed), straggle, queue, airtime or wait")]
    start_s: Annotated[float, Column("s", "simulated time of the segment's start")]
    end_s: Annotated[float, Column("s", "simulated time of the segment's end")]
    duration_s: Annotated[float, Column("s", "end minus start")]


class DecisionRow(NamedTuple):
    """One decision of a controller."""

    round: Annotated[int, Column("1", "round of the decision")]
    user: Annotated[int | None, Column("1", "user that the decision concerns; null for all")]
    name: Annotated[str, Column("", "name of the decided quantity")]
    value: Annotated[float, Column("1", "decided value, in the unit that the name gives")]


class EnergyRow(NamedTuple):
    """Energy of a user's device from the end of one round to the end of the next."""

    round: Annotated[int, Column("1", "round that ended; after the last round, the last number plus one")]
    user: User
    start_s: Annotated[float, Column("s", "simulated time of the previous round's end, or of the run's start")]
    end_s: Annotated[float, Column("s", "simulated time of the round's end")]
    transmit_j: Annotated[float, Column("J", "energy of transmitting")]
    receive_j: Annotated[float, Column("J", "energy of receiving")]
    compute_j: Annotated[float, Column("J", "energy of computing")]
    idle_j: Annotated[float, Column("J", "energy while the device was on but had no activity and no radio tail")]
    tail_j: Annotated[float, Column("J", "tail energy: of the radio after transfers, before it sleeps")] = 0.0
    charge_j: Annotated[float | None, Column("J", "charge of the battery at the end; null without a battery")] = None
    harvested_j: Annotated[
        float | None, Column("J", "energy harvested into the battery from start to end; null without a battery")
    ] = None


class OutageRow(NamedTuple):
    """A time during which a device or a site was away for one cause; several causes may overlap."""

    user: Annotated[int | None, Column("1", "number of the user whose device was away, from 0; null for a site")]
    start_s: Annotated[float, Column("s", "simulated time at which the cause began")]
    end_s: Annotated[float | None, Column("s", "simulated time at which the cause ended; null if after the run")]
    cause: Annotated[
        str,
        Column(
            "",
            "availability, outage, death or battery (device off), memory (an instant: a job did not fit then), budget, "
            "or radio_link (link failed then)",
        ),
    ]
    site: Annotated[str | None, Column("", "name of the site that was away; null for a user's device")] = None


class RequestRow(NamedTuple):
    """One request of a traffic stream."""

    user: Annotated[int, Column("1", "user that makes the request")]
    node: Annotated[str | None, Column("", "server of the request; null if the model answers it")]
    arrival_s: Annotated[float, Column("s", "simulated time at which the user makes the request")]
    start_s: Annotated[
        float | None,
        Column("s", "simulated time at which the request reached the server; null if it never did, or has no server"),
    ]
    end_s: End
    latency_s: Annotated[float, Column("s", "end minus arrival")]
    bits: Annotated[
        float | None, Column("bit", "size of the request plus size of its answer; null if the model answers it")
    ]
    outcome: Annotated[
        str,
        Column("", "served, refused (server full), timed_out, or lost (device went away or radio link failed)"),
    ]
    stream: Annotated[
        str,
        Column("", "name of the stream; its transfers and computations at a server are of kind request_<name>"),
    ]
    number: Annotated[int, Column("1", "number of the request among those of the user in the stream, from 0")]
    flops: Annotated[float | None, Column("FLOP", "floating-point operations requested; null if the model answers it")]


class PositionRow(NamedTuple):
    """The position of a user at one time."""

    time_s: Annotated[float, Column("s", "simulated time")]
    user: User
    x_m: Annotated[float, Column("m", "x coordinate")]
    y_m: Annotated[float, Column("m", "y coordinate")]
    station: Annotated[int, Column("1", "number of the serving station or sector")]
    coupling_loss_db: Annotated[float, Column("dB", "path loss plus shadowing minus antenna gains of user and station")]


class HandoverRow(NamedTuple):
    """One handover of a user from one station to another."""

    user: User
    time_s: Annotated[float, Column("s", "simulated time at which the user leaves the first station")]
    from_station: Annotated[int, Column("1", "number of the station that the user leaves")]
    to_station: Annotated[int, Column("1", "number of the station that serves the user from then on")]
    interruption_s: Annotated[float, Column("s", "handover gap: time until the user can transmit and receive again")]


class ExpertCallRow(NamedTuple):
    """One expert of a mixture of experts that tokens of a user's request or mini-batch were routed to in a layer.

    Experts called at the same site share one message there, one job and one message back; bits, service time and energy
    are each one's share of them, by its pairs of token and expert.
    """

    round: Round
    user: Annotated[int, Column("1", "number of the user that calls, from 0")]
    layer: Annotated[int, Column("1", "number of the layer of experts, from 0")]
    expert: Annotated[int, Column("1", "number of the expert in its layer, from 0")]
    node: Annotated[str, Column("", "name of the site at which the expert was called: a server, or a user's device")]
    kind: Annotated[str, Column("", "kind of computation, as in the table computations")]
    tokens: Annotated[int, Column("1", "distinct tokens in the message; 0 if not called")]
    bits_up: Annotated[float, Column("bit", "share of the message to the site; 0 on the user's own device")]
    bits_down: Annotated[
        float, Column("bit", "share of the answer; 0 on the user's own device, and if the work was not finished")
    ]
    start_s: Start
    end_s: Annotated[float, Column("s", "simulated time at which the user had the result, or the call was abandoned")]
    wait_s: Annotated[float | None, Column("s", "time in the site's queue; null if the work was not finished")]
    service_s: Annotated[
        float | None, Column("s", "share of the time on the site's processor; null if the work was not finished")
    ]
    hit: Annotated[bool, Column("1", "true if a site other than the one with all experts held the expert")]
    interrupted: Annotated[bool, Column("1", "true if the call was abandoned before the user had the result")]
    call: Annotated[
        int | None, Column("1", "number of the message, shared by its rows, in order of the ends; null if not called")
    ]
    request: Annotated[int | None, Column("1", "number of the user's request in its stream, from 0; null in training")]
    pairs: Annotated[int, Column("1", "tokens that the gate routed to the expert")]
    miss_action: Annotated[
        str | None,
        Column(
            "",
            "after a miss: cloud (called at the site with all experts), wait (fetched first), skip or substitute (not "
            "called); null for a hit",
        ),
    ]
    energy_j: Annotated[
        float | None, Column("J", "share of the energy of the site's job; null without an energy model of the site")
    ]


class ForwardPassRow(NamedTuple):
    """One completed forward pass of a request that a model with experts answers: of a prompt or image, or of one token.

    The segments from `trunk_s` to `straggle_s` add up to `end_s` minus `start_s`. In each layer of experts they are
    those of the first call that returns.
    """

    user: Annotated[int, Column("1", "number of the user that makes the request, from 0")]
    stream: Annotated[str, Column("", "name of the stream of the request")]
    request: Annotated[int, Column("1", "number of the request among those of the user in the stream, from 0")]
    position: Annotated[
        int,
        Column(
            "1", "tokens that passed before: 0 is the prefill of a prompt or image, more is the decoding of one token"
        ),
    ]
    tokens: Annotated[int, Column("1", "tokens of the pass")]
    start_s: Annotated[float, Column("s", "simulated time of the beginning")]
    end_s: Annotated[float, Column("s", "simulated time of the end")]
    trunk_s: Annotated[
        float, Column("s", "all but the experts: attention, gates and head on the user's device, with the wait for it")
    ]
    uplink_s: Annotated[float, Column("s", "tokens on the way to a site")]
    queue_s: Annotated[float, Column("s", "wait in the site's queue, or until a missing expert was fetched")]
    expert_s: Annotated[float, Column("s", "work of experts on the site's processor")]
    downlink_s: Annotated[float, Column("s", "outputs on the way back")]
    straggle_s: Annotated[
        float, Column("s", "wait from the first return to the last one, that of shared experts on the device included")
    ]


class PrefetchRow(NamedTuple):
    """One expert that was predicted for the tokens of a forward pass in a layer, and fetched ahead if only the origin
    held it.

    The bits of predictions that were not needed are wasted; those of passes that were abandoned have no rows.
    """

    user: Annotated[int, Column("1", "number of the user that makes the request, from 0")]
    stream: Annotated[str, Column("", "name of the stream of the request")]
    request: Annotated[int, Column("1", "number of the request among those of the user in the stream, from 0")]
    position: Annotated[int, Column("1", "tokens that passed before the pass, as in the table forward_passes")]
    layer: Annotated[int, Column("1", "number of the layer of experts, from 1, since the first one is not predicted")]
    expert: Annotated[int, Column("1", "number of the predicted expert in its layer, from 0")]
    time_s: Annotated[float, Column("s", "simulated time at which the layer chose its experts")]
    bits: Annotated[
        float,
        Column(
            "bit", "bits sent to the cache for it; 0 if it was held or on the way, or the cache made no room for it"
        ),
    ]
    needed: Annotated[bool, Column("1", "true if a token of the pass chose the expert")]
    in_time: Annotated[
        bool, Column("1", "true if another site than the origin held it when the layer chose its experts")
    ]


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
    "forward_passes": ForwardPassRow,
    "prefetches": PrefetchRow,
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
"""Arrow schema of each table: columns in order, with types; the metadata of each field has its unit and meaning."""
