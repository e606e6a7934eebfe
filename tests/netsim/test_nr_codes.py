"""Modulation and coding of 5G NR: tables of the standard, transport blocks, effective ratios, block errors."""

import json
import os
from math import ceil, exp, floor, log, log2
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from benchmarks.block_errors.fit import counts
from netsim.radio.nr.adaptation import MCS_OF_CQI, outer_loop, report
from netsim.radio.nr.blocks import block_bits, block_error_rate
from netsim.radio.nr.codes import CQI_TABLES, MCS_TABLES, CodeTable
from netsim.radio.nr.error_rate import SMALL_SHIFT_DB, SMALL_WIDTH, at_size, counted, curve
from netsim.radio.nr.harq import outcome
from netsim.radio.nr.transport import SMALL_BLOCKS, code_blocks, transport_block_bits

TABLES = [*MCS_TABLES.values(), *CQI_TABLES.values()]

COLUMNS = [
    # table, and the column "spectral efficiency" of the standard at some of its rows
    (MCS_TABLES["qam64"], {0: 0.2344, 9: 1.3262, 10: 1.3281, 16: 2.5703, 17: 2.5664, 20: 3.3223, 28: 5.5547}),
    (MCS_TABLES["qam256"], {0: 0.2344, 4: 1.1758, 5: 1.4766, 10: 2.5703, 19: 5.1152, 20: 5.3320, 27: 7.4063}),
    (CQI_TABLES["qam256"], {0: 0.1523, 2: 0.8770, 3: 1.4766, 10: 5.1152, 11: 5.5547, 13: 6.9141, 14: 7.4063}),
    (MCS_TABLES["qam64_low_se"], {0: 0.0586, 5: 0.1934, 14: 1.1758, 15: 1.3281, 20: 2.4063, 21: 2.5664, 28: 4.5234}),
    (CQI_TABLES["qam64"], {0: 0.1523, 5: 1.1758, 6: 1.4766, 8: 2.4063, 9: 2.7305, 13: 5.1152, 14: 5.5547}),
    (CQI_TABLES["qam64_low_se"], {0: 0.0586, 1: 0.0977, 7: 1.1758, 8: 1.4766, 11: 2.7305, 14: 4.5234}),
]


@pytest.mark.parametrize(("table", "column"), COLUMNS)
def test_spectral_efficiencies_of_the_standard(table: CodeTable, column: dict[int, float]) -> None:
    for row, efficiency in column.items():
        assert table.efficiency[row] == pytest.approx(efficiency, abs=5.1e-5)


def test_sizes_of_the_tables() -> None:
    assert len(MCS_TABLES["qam256"].codes) == 28
    assert len(MCS_TABLES["qam64"].codes) == len(MCS_TABLES["qam64_low_se"].codes) == 29
    assert all(len(table.codes) == 15 for table in CQI_TABLES.values())
    assert len(SMALL_BLOCKS) == 93


def test_schemes_for_reports() -> None:
    """Every CQI but the lowest of table 1 is exactly an MCS; that one, and none, get the lowest."""
    assert MCS_OF_CQI["qam64"].tolist() == [0, 0, 0, 2, 4, 6, 8, 11, 13, 15, 18, 20, 22, 24, 26, 28]
    assert MCS_OF_CQI["qam256"].tolist() == [0, 0, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27]
    assert MCS_OF_CQI["qam64_low_se"].tolist() == [0, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28]


def by_hand(elements: int, order: int, rate: float) -> int:
    """TS 38.214, 5.1.3.2, step by step in whole numbers and fractions."""
    info = elements * order * rate
    if info <= 3824:
        n = max(3, floor(log2(info)) - 6)
        return int(next(size for size in SMALL_BLOCKS if size >= max(24, 2**n * floor(info / 2**n))))
    n = floor(log2(info - 24)) - 5
    rounded = max(3840, 2**n * floor((info - 24) / 2**n + 0.5))
    count = ceil((rounded + 24) / 3816) if rate <= 0.25 else ceil((rounded + 24) / 8424) if rounded > 8424 else 1
    return 8 * count * ceil((rounded + 24) / (8 * count)) - 24


@given(st.integers(1, 273 * 156), st.integers(0, 28))
def test_transport_blocks_step_by_step(elements: int, row: int) -> None:
    order, rate = MCS_TABLES["qam64"].codes[row]
    bits = int(transport_block_bits(elements, order, rate / 1024))
    assert bits == by_hand(elements, order, rate / 1024)
    count, size = code_blocks(bits, rate / 1024)
    assert size <= 8448
    assert size == int(size)  # code blocks of a transport block of the standard are equally long
    if bits > 3824:
        assert (bits + 24) % (8 * count) == 0


def test_transport_blocks_of_users() -> None:
    bits = transport_block_bits(np.array([0, 12, 156 * 52]), np.array([2, 2, 6]), np.array([0.1, 0.1, 0.5]))
    assert bits.tolist() == [0, 24, 24072]  # 24,336: 47 steps of 512, and then 3 * 8 * 1004 - 24


@pytest.mark.parametrize("table", TABLES)
def test_a_flat_channel_is_its_own_effective_ratio(table: CodeTable) -> None:
    rows = np.arange(len(table.codes))
    for snr in (0.0, 1e-3, 1.0, 1e4):
        assert table.effective_snr(rows, np.full((len(rows), 7), snr)) == pytest.approx(snr, abs=1e-12, rel=1e-9)


def test_the_effective_ratio_by_hand() -> None:
    found = MCS_TABLES["qam64"].effective_snr(np.array([0, 28]), np.array([[1.0, 3.0], [10.0, 100.0]]))
    low = -1.6 * log((exp(-1 / 1.6) + exp(-3 / 1.6)) / 2)
    high = -34.28 * log((exp(-10 / 34.28) + exp(-100 / 34.28)) / 2)
    assert found.tolist() == pytest.approx([low, high])


@given(st.lists(st.floats(1e-3, 1e6), min_size=1, max_size=8), st.integers(0, 28))
def test_the_effective_ratio_lies_between_least_and_mean(snrs: list[float], row: int) -> None:
    found = MCS_TABLES["qam64"].effective_snr(row, np.array(snrs))
    assert min(snrs) * (1 - 1e-9) <= found <= np.mean(snrs) * (1 + 1e-9)


def test_error_rates_beside_the_counts() -> None:
    """Of the published 10 % points, each known to some hundredths of a dB; the curves are good to 0.17 dB."""
    folder = os.environ.get("NETSIM_DATA")
    if folder is None:
        pytest.skip("NETSIM_DATA names no folder with bler_awgn_nr_ldpc.json")
    rows = json.loads((Path(folder) / "bler_awgn_nr_ldpc.json").read_text())["rows"]
    assert len(rows) == 63
    for _, bits, order, rate, _, _, _, points in rows:
        threshold_db, width_db = counted()[order, rate][bits]
        for snr_db, errors, blocks in points:
            least, most = binom.ppf([5e-5, 1 - 5e-5], blocks, _normal(snr_db, threshold_db, width_db))
            early, late = (_normal(snr_db + off, threshold_db, width_db) for off in (-0.17, 0.17))
            assert min(least, blocks * late) <= errors <= max(most, blocks * early)


def _normal(snr_db: float, threshold_db: float, width_db: float) -> float:
    from scipy.stats import norm

    return float(norm.sf((snr_db - threshold_db) / width_db))


@pytest.mark.parametrize("size", [40, 100, 1000])
def test_error_rates_at_the_sizes_that_were_counted(size: int) -> None:
    """A lone code block of so many bits holds all but 16 of a check: the smallest transport block has 24."""
    table = MCS_TABLES["qam64"]
    for row, code in enumerate(table.codes):
        if size in counted()[code]:
            threshold_db, width_db = counted()[code][size]
            snr = 10 ** ((threshold_db + width_db) / 10)
            assert table.error_rate(row, snr, size - 16) == pytest.approx(0.158655, abs=1e-5)


def test_the_smallest_blocks_beside_their_counts() -> None:
    """Code blocks of 40 bits, counted one by one, of which the curves are fits: good to 0.25 dB."""
    points = [(code, row) for code, rows in counts().items() if code[2] == 40 for row in rows]
    assert len(points) >= 5 * 20
    for (order, rate, _), (snr_db, errors, blocks) in points:
        threshold_db, width_db = (values[0] for values in at_size(curve((order, rate))[None], np.array([40.0])))
        least, most = binom.ppf([5e-5, 1 - 5e-5], blocks, _normal(snr_db, threshold_db, width_db))
        early, late = (_normal(snr_db + off, threshold_db, width_db) for off in (-0.25, 0.25))
        assert min(least, blocks * late) <= errors <= max(most, blocks * early)


def test_where_the_smallest_blocks_were_not_counted_they_are_as_the_others_on_average() -> None:
    known = [sizes for sizes in counted().values() if 40 in sizes]
    shifts_db, widths = np.array([(small[40][0] - small[100][0], small[40][1] / small[100][1]) for small in known]).T
    assert shifts_db.mean() == pytest.approx(SMALL_SHIFT_DB, abs=0.005)
    assert widths.mean() == pytest.approx(SMALL_WIDTH, abs=0.005)
    unknown = [code for code, sizes in counted().items() if 40 not in sizes]
    assert unknown
    for code in unknown:
        found = curve(code)
        assert found[:, 0] == pytest.approx([found[0, 1] + SMALL_SHIFT_DB, found[1, 1] * SMALL_WIDTH])


@pytest.mark.parametrize("table", TABLES)
def test_a_block_a_bit_larger_is_hardly_another(table: CodeTable) -> None:
    """Over all sizes of the standard up to 2,000 bits, curves bend but do not jump."""
    sizes = np.arange(40.0, 2001.0)
    for code in table.codes:
        threshold_db, width_db = at_size(np.broadcast_to(curve(code), (len(sizes), 2, 4)), sizes)
        assert np.abs(np.diff(threshold_db)).max() < 0.1
        assert (np.diff(width_db) < 0).all()


def test_several_code_blocks_fail_more_often() -> None:
    """23,976 bits at rate 1/2 and more are three code blocks of 8,024 bits: one in three may not fail."""
    table = MCS_TABLES["qam64"]
    one = table.error_rate(20, 10**1.145, 8024 - 24)
    three = table.error_rate(20, 10**1.145, 23_976)
    assert code_blocks(23_976, 567 / 1024) == (3, 8024)
    assert three == pytest.approx(1 - (1 - one) ** 3)
    assert 0.1 < one < 0.9


def test_below_the_lowest_rate_a_code_is_repeated() -> None:
    """Rate 30/1024 sends the code of rate 120/1024 four times: as good at a quarter of the ratio."""
    table = MCS_TABLES["qam64_low_se"]
    snr = 10**-0.55
    assert table.error_rate(0, snr / 4, 800) == pytest.approx(table.error_rate(6, snr, 800))


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("bits", [24, 100, 984, 8000, 60_000])
def test_more_signal_never_hurts(table: CodeTable, bits: int) -> None:
    snrs = 10 ** (np.arange(-20, 50, 0.25) / 10)
    rates = np.array([table.error_rate(np.arange(len(table.codes)), snr, bits) for snr in snrs])
    assert (np.diff(rates, axis=0) <= 0).all()
    assert (rates[0] > 0.5).all()
    assert (rates[-1] < 1e-6).all()


@pytest.mark.parametrize("target", [0.1, 1e-5])
def test_the_highest_scheme_that_holds_the_target(target: float) -> None:
    table, snrs = MCS_TABLES["qam64"], 10 ** (np.arange(-10, 25, 0.31) / 10)
    chosen = table.highest(snrs, 8000, target)
    for snr, row in zip(snrs, chosen.tolist(), strict=True):
        allowed = [mcs for mcs in range(29) if table.error_rate(mcs, snr, 8000) <= target]
        assert row == max(allowed, default=-1)
    assert chosen[0] == -1
    assert chosen[-1] == 28
    selective = np.repeat(snrs[:, None], 5, axis=1)
    assert table.highest_selective(selective * (1 + 1e-12), 8000, target).tolist() == chosen.tolist()


def test_the_highest_scheme_over_resource_blocks() -> None:
    """Every row looked at, one after the other."""
    table = MCS_TABLES["qam64"]
    snrs = np.random.default_rng(2).exponential(10 ** np.linspace(-1, 3, 40)[:, None, None], size=(40, 5, 12))
    chosen = np.full((40, 5), -1)
    for row, needed in enumerate(table.needed(8000, 0.1).tolist()):
        chosen[table.effective_snr(row, snrs) >= needed] = row
    assert table.highest_selective(snrs, 8000, 0.1).tolist() == chosen.tolist()
    assert {-1, 28} < set(chosen.ravel().tolist())


def test_reports() -> None:
    snrs = 10 ** (np.array([-20.0, -4.0, 5.0, 30.0]) / 10)
    cqi = report("qam64", snrs, 8000, 0.1)
    assert cqi[0] == 0
    assert cqi[-1] == 15
    assert report("qam64", np.repeat(snrs[:, None], 3, axis=1), 8000, 0.1).tolist() == cqi.tolist()


def test_chase_combining_by_hand() -> None:
    """Fails once in 2, twice in 8: half of the blocks take one copy, 3/8 two, and of 1/8 both are in vain."""
    sent, lost = outcome(np.array([[0.5], [0.125]]))
    assert sent.tolist() == [1.5]
    assert lost.tolist() == [0.125]


def test_the_outer_loop_settles_where_the_target_fails() -> None:
    offset_db = np.zeros(2)
    for number in range(1000):
        offset_db = outer_loop(offset_db, np.array([number % 10 == 0, False]), target=0.1)
    assert offset_db[0] == pytest.approx(0.0, abs=1e-9)
    assert offset_db[1] == pytest.approx(1000 * 0.5 / 9)


@pytest.mark.parametrize("symbols", [200, 3488, 40_000])
@pytest.mark.parametrize("snr", [0.5, 1.0, 4.0, 100.0])
def test_the_largest_block_in_so_many_real_symbols(symbols: int, snr: float) -> None:
    """Each scheme by itself: the block is one that fails rarely enough, and no larger one does."""
    table, sizes = MCS_TABLES["qam64"], []
    for row, (order, rate) in enumerate(table.codes):
        size = float(transport_block_bits(symbols / 2, order, rate / 1024))
        if float(table.error_rate(row, snr, size)) <= 0.01:
            sizes.append(size)
    found = block_bits(symbols, snr, 0.01)
    assert found == max(sizes)
    every = np.full(symbols, snr)
    assert block_error_rate(found, every) <= 0.01
    assert block_error_rate(1, every) <= block_error_rate(found, every) <= block_error_rate(found + 1, every)
    assert block_bits(symbols, snr, 1e-5) <= found


def test_a_block_sees_the_effective_ratio_and_none_is_larger_than_the_symbols_allow() -> None:
    table = MCS_TABLES["qam64"]
    mixed = np.repeat([1.0, 2.0], 1000)
    (row,) = [r for r in range(9) if transport_block_bits(1000, 2, table.code_rate[r]) == 1032]
    effective = table.effective_snr(row, mixed)
    assert block_error_rate(1032, mixed) == pytest.approx(float(table.error_rate(row, effective, 1032)))
    assert block_error_rate(1000, mixed) == block_error_rate(1032, mixed)
    assert 0 < block_error_rate(1032, mixed) < block_error_rate(1032, np.ones(2000))
    assert block_error_rate(10**6, mixed) == 1
    assert block_error_rate(1032, np.zeros(2000)) == 1
    assert block_bits(2000, 1e-6, 0.01) == 0
