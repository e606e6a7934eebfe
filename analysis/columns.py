"""The columns that analysis reads, by table, so that a damaged or foreign table is named before it is computed with."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import pyarrow as pa

NUMBERS, TEXTS, FLAGS = "numbers", "text", "truth values"

READ: Mapping[str, Mapping[str, str]] = {
    "users": {NUMBERS: "user station distance_m path_loss_db flops_per_s samples"},
    "transfers": {
        NUMBERS: "round user bits start_s end_s wait_s airtime_s lost energy_j",
        TEXTS: "node direction kind",
    },
    "computations": {
        NUMBERS: "round user flops start_s end_s wait_s service_s slowdown memory_bytes energy_j",
        TEXTS: "node node_kind kind",
        FLAGS: "interrupted",
    },
    "rounds": {
        NUMBERS: "round start_s end_s latency_s participants dropped uplink_bits downlink_bits energy_j",
    },
    "evaluations": {NUMBERS: "round time_s value samples user", TEXTS: "split metric"},
    "critical_path": {NUMBERS: "round user start_s end_s duration_s", TEXTS: "node kind cause"},
    "energy": {NUMBERS: "user transmit_j receive_j compute_j idle_j tail_j"},
    "decisions": {NUMBERS: "round user value", TEXTS: "name"},
    "requests": {NUMBERS: "user start_s end_s latency_s", TEXTS: "outcome"},
    "forward_passes": {
        NUMBERS: "position tokens start_s end_s trunk_s uplink_s queue_s expert_s downlink_s straggle_s",
    },
    "expert_calls": {NUMBERS: "layer expert start_s", TEXTS: "kind node", FLAGS: "hit"},
}
"""Table -> kind of values -> names of the columns of that kind that figures and measures are made of."""

IS_OF: Mapping[str, Callable[[pa.DataType], bool]] = {
    NUMBERS: lambda kind: pa.types.is_integer(kind) or pa.types.is_floating(kind),
    TEXTS: lambda kind: pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_dictionary(kind),
    FLAGS: pa.types.is_boolean,
}


def fault(table: str, schema: pa.Schema, columns: Collection[str] | None) -> str:
    """What keeps analysis from reading columns of a table, as a predicate: "has no column 'end_s'".

    Args:
        table: name of the table; tables that are not in READ have no faults.
        schema: columns of a file of the table.
        columns: the columns to read; None for all.

    Returns:
        The first column that is missing or has other values; empty if there is none.
    """
    read = READ.get(table, {})
    kinds = {name: kind for kind, names in read.items() for name in names.split()}
    for name in columns if columns is not None else kinds:
        if name not in schema.names:
            return f"has no column {name!r}"
        if name in kinds and not IS_OF[kinds[name]](schema.field(name).type):
            return f"has {schema.field(name).type} in column {name!r} instead of {kinds[name]}"
    return ""
