"""The tables have the columns that users were promised, in their order, with units where their names have units."""

import pyarrow as pa
import pytest

from netsim.tables import TABLES

PROMISED = {
    "users": "user station x_m y_m distance_m path_loss_db flops_per_s samples",
    "transfers": "round user node direction kind bits start_s end_s wait_s airtime_s attempts lost mean_snr_db "
    "mean_rate_bps energy_j",
    "computations": "round user node node_kind kind flops start_s end_s wait_s service_s slowdown "
    "memory_bytes energy_j",
    "rounds": "round start_s end_s latency_s participants dropped staleness_mean uplink_bits downlink_bits energy_j",
    "evaluations": "round time_s split metric value samples",
    "critical_path": "round position user node kind cause start_s end_s duration_s",
    "decisions": "round user name value",
    "expert_calls": "round user layer expert node kind tokens bits_up bits_down start_s end_s wait_s service_s hit "
    "interrupted call request pairs miss_action energy_j",
    "forward_passes": "user stream request position tokens start_s end_s trunk_s uplink_s queue_s expert_s downlink_s "
    "straggle_s",
    "prefetches": "user stream request position layer expert time_s bits needed in_time",
    "positions": "time_s user x_m y_m station coupling_loss_db",
    "handovers": "user time_s from_station to_station interruption_s",
    "outages": "user start_s end_s cause site",
    "requests": "user node arrival_s start_s end_s latency_s bits outcome",
    "energy": "round user start_s end_s transmit_j receive_j compute_j idle_j tail_j charge_j harvested_j",
}
UNITS = {"_s": "s", "_bits": "bit", "_j": "J", "_m": "m", "_db": "dB", "_dbm": "dBm", "_bps": "bit/s", "_bytes": "B"}


def test_columns_begin_as_promised() -> None:
    assert set(TABLES) == set(PROMISED)
    for table, columns in PROMISED.items():
        promised = columns.split()
        assert TABLES[table].names[: len(promised)] == promised


@pytest.mark.parametrize("table", TABLES)
def test_units_agree_with_names(table: str) -> None:
    for field in TABLES[table]:
        name, unit = field.name, field.metadata[b"unit"].decode()
        if name.endswith("_per_s"):
            assert unit == "FLOP/s"
            continue
        for suffix, expected in UNITS.items():
            if name.endswith(suffix):
                assert unit == expected, name
        assert (unit == "") == (field.type == pa.string()), name


def test_what_may_be_missing_is_nullable() -> None:
    nullable = {(table, field.name) for table, schema in TABLES.items() for field in schema if field.nullable}
    assert nullable == {
        ("users", "samples"),
        ("transfers", "mean_snr_db"),
        ("transfers", "mean_rate_bps"),
        ("computations", "user"),
        ("computations", "energy_j"),
        ("evaluations", "user"),
        ("evaluations", "value"),
        ("critical_path", "user"),
        ("critical_path", "node"),
        ("critical_path", "kind"),
        ("decisions", "user"),
        ("energy", "charge_j"),
        ("energy", "harvested_j"),
        ("expert_calls", "call"),
        ("expert_calls", "energy_j"),
        ("expert_calls", "miss_action"),
        ("expert_calls", "request"),
        ("expert_calls", "service_s"),
        ("expert_calls", "wait_s"),
        ("outages", "end_s"),
        ("outages", "site"),
        ("outages", "user"),
        ("requests", "bits"),
        ("requests", "flops"),
        ("requests", "node"),
        ("requests", "start_s"),
    }
