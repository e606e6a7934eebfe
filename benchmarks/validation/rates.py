"""Rate laws compared with bounds (short codewords), Sionna (modulation and coding) and closed forms (fading)."""

from __future__ import annotations

import json
from math import ceil, exp, log, log2
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.special import expn, ndtri
from scipy.stats import ncx2, poisson

from benchmarks.block_errors.fit import counts
from benchmarks.validation.findings import Finding, mean
from netsim.radio.fading import Fading, Nakagami, Rician
from netsim.radio.nr.codes import MCS_TABLES, CodeTable
from netsim.radio.nr.error_rate import at_size, curve, error_rate
from netsim.radio.nr.transport import transport_block_bits
from netsim.radio.rate import AdaptiveModulation, FiniteBlocklength, Shannon
from netsim.streams import Streams

STREAMS = Streams(43)
BLOCKS = np.arange(40_000)
TABLES = {"qam64": 1, "qam256": 2, "qam64_low_se": 3}
"""Names of MCS tables -> their numbers in Sionna."""


def findings() -> list[Finding]:
    """Compare with closed forms and bounds, and with Sionna if it is installed."""
    found = [*_ergodic(), *_short_codewords(), *_effective()]
    try:
        import sionna.phy  # noqa: F401
    except ImportError:
        return found
    return found + _tables() + _transport_blocks() + _curves()


def _ergodic() -> list[Finding]:
    """Alouini and Goldsmith 1999: exponential integrals for integer m; Rician power is a Poisson mixture of these."""
    found, k = [], 10**0.9
    for snr in (1.0, 100.0):
        weights = poisson(k).pmf(np.arange(120))
        rician = sum(w * _gamma_rate(snr / (k + 1), j + 1) for j, w in enumerate(weights.tolist()))
        laws: list[tuple[str, Fading, float]] = [
            ("Nakagami, m = 2", Nakagami(2.0), _gamma_rate(snr / 2, 2)),
            ("Rician, K = 9 dB", Rician(9.0), rician),
        ]
        for name, fading, expected in laws:
            gains = fading.at(1e9, np.zeros(1)).power_gains(STREAMS.key(name), BLOCKS)
            figure = f"ergodic rate at {10 * np.log10(snr):.0f} dB, bit/s/Hz"
            found.append(mean(name, figure, "exponential integrals", Shannon().efficiency(snr * gains), expected))
    return found


def _gamma_rate(scale: float, shape: int) -> float:
    """E log2(1 + x) for x with a gamma distribution."""
    return log2(exp(1)) * exp(1 / scale) * sum(float(expn(j, 1 / scale)) for j in range(1, shape + 1))


def _short_codewords() -> list[Finding]:
    """The converse of Polyanskiy, Poor, Verdu 2010 (theorem 41) holds for any code; the logarithmic term is added here.

    n complex symbols are 2 n real ones, and that term log2(2 n) / 2 n. What remains is some bits a codeword, of order
    1 / n in the rate: between 0 and 8 bits are allowed.
    """
    found = []
    for symbols, snr_db, errors in ((200, 0.0, 1e-3), (400, 0.0, 1e-3), (150, 10.0, 1e-3), (100, 0.0, 1e-5)):
        snr, n = 10 ** (snr_db / 10), 2 * symbols
        worst = ncx2.ppf(1 - errors, n, n / snr)
        converse = -ncx2.logcdf(worst / (1 + snr), n, n * (1 + snr) / snr) / log(2) / symbols
        law = FiniteBlocklength(symbols, errors).efficiency(np.array([snr]))[0] / (1 - errors)
        figure = f"bits per symbol, n = {symbols}, {snr_db:.0f} dB, error {errors:g}, log term added"
        found.append(Finding("finite blocklength", figure, "converse bound", law + log2(n) / n, converse, 8 / symbols))
    return found


def _tables() -> list[Finding]:
    import torch
    from sionna.phy.nr.utils import decode_mcs_index

    found = []
    for name, number in TABLES.items():
        if name not in MCS_TABLES:
            continue
        table = MCS_TABLES[name]
        index = torch.arange(len(table.codes))
        order, rate = decode_mcs_index(index, number, is_pusch=False)
        apart = (order.numpy() != table.modulation_order) | (np.abs(rate.numpy() - table.code_rate) > 1e-6)
        found.append(Finding(f"MCS table {number}", "different entries", "Sionna 2.2", float(apart.sum()), 0.0, 0.0))
    return found


def _transport_blocks() -> list[Finding]:
    from sionna.phy.nr.utils import calculate_tb_size

    table, apart, sizes = MCS_TABLES["qam64"], 0, 0
    for blocks in (1, 2, 7, 25, 52, 106, 273):
        for elements in (36, 120, 156):
            bits = transport_block_bits(blocks * elements, table.modulation_order, table.code_rate)
            for row, (order, rate) in enumerate(table.codes):
                theirs = calculate_tb_size(
                    modulation_order=order, target_coderate=rate / 1024, num_prbs=blocks, num_ofdm_symbols=13,
                    num_dmrs_per_prb=156 - elements, num_layers=1, verbose=False,
                )[0]  # fmt: skip
                apart, sizes = apart + (int(theirs) != int(bits[row])), sizes + 1
    return [Finding("transport blocks", f"differences in {sizes} sizes", "Sionna 2.2", float(apart), 0.0, 0.0)]


def _curves() -> list[Finding]:
    """Compare our curves in dB with the raw points of Sionna between 2 % and 80 % block error rate."""
    found = []
    for name, number in TABLES.items():
        if name not in MCS_TABLES:
            continue
        for bits in (100, 500, 1000, 2000):
            apart = _apart_db(MCS_TABLES[name], number, bits)
            if len(apart) >= 3:
                law, figure = (
                    f"block errors, table {number}",
                    f"mean difference in dB, {len(apart)} points, {bits} bits",
                )
                mean_db, worst_db = (0.1, 0.7) if name == "qam256" else (0.05, 0.15)
                found.append(Finding(law, figure, "Sionna 2.2, PDSCH", float(apart.mean()), 0.0, mean_db))
                worst = float(np.abs(apart).max())
                found.append(
                    Finding(law, f"largest difference in dB, {bits} bits", "Sionna 2.2, PDSCH", worst, 0.0, worst_db)
                )
    return found


def sionna_points(number: int, bits: int) -> dict[int, NDArray[np.float64]]:
    """Sionna's points of one table: MCS -> rows of (SNR in dB, block error rate)."""
    import sionna.sys

    file = Path(sionna.sys.__file__).parent / "bler_tables" / f"PDSCH_table{number}.json"
    (index,) = json.loads(file.read_text())["category"]["1"]["index"].values()
    return {
        int(mcs): np.array([entry["SNR_db"], entry["CBS"][str(bits)]["BLER"]]).T
        for mcs, entry in index["MCS"].items()
        if str(bits) in entry["CBS"]
    }


def _apart_db(table: CodeTable, number: int, bits: int) -> NDArray[np.float64]:
    apart: list[float] = []
    for mcs, points in sionna_points(number, bits).items():
        coded = bits / table.code_rate[mcs] / table.modulation_order[mcs]
        if ceil(coded) > 1.01 * coded:
            continue  # filled up to whole symbols, which makes another code rate of it
        (threshold_db,), (width_db,) = at_size(curve(table.codes[mcs])[None], np.array([float(bits)]))
        some = points[(points[:, 1] > 0.02) & (points[:, 1] < 0.8)]
        apart += (threshold_db - width_db * ndtri(some[:, 1]) - some[:, 0]).tolist()
    return np.array(apart)


def _effective() -> list[Finding]:
    """Compare EESM with the flat SNR at which the mutual information equals the average over the band."""
    found, rng = [], np.random.default_rng(8)
    for mcs, mean_db in ((4, 1.0), (13, 9.0), (22, 17.0)):
        table = MCS_TABLES["qam64"]
        snrs = 10 ** (mean_db / 10) * rng.exponential(size=(300, 12))
        ours = table.effective_snr(np.full(300, mcs), snrs)
        theirs = _flat_of_equal_information(snrs, int(table.modulation_order[mcs]))
        apart_db = 10 * np.log10(ours / theirs)
        figure = f"mean difference in dB, 300 fading bands, MCS {mcs}"
        found.append(Finding("EESM", figure, "mutual information", float(apart_db.mean()), 0.0, 0.5))
    return found


def _flat_of_equal_information(snrs: NDArray[np.float64], order: int) -> NDArray[np.float64]:
    grid_db = np.arange(-30.0, 40.0, 0.1)
    known = np.array([_information(10 ** (snr_db / 10), order) for snr_db in grid_db])
    carried = np.interp(10 * np.log10(snrs), grid_db, known).mean(axis=1)
    flat: NDArray[np.float64] = 10 ** (np.interp(carried, known, grid_db) / 10)
    return flat


def _information(snr: float, order: int) -> float:
    """Mutual information in bits per symbol of a square constellation, by Gauss-Hermite quadrature on each axis."""
    levels = np.arange(2 ** (order // 2)) * 2.0 - (2 ** (order // 2) - 1)
    levels *= np.sqrt(0.5 / (levels**2).mean())
    nodes, weights = np.polynomial.hermite.hermgauss(24)
    noise = nodes / np.sqrt(snr)  # variance 1 / 2 snr along an axis
    away = levels[:, None, None] - levels[None, :, None] + noise
    terms = np.exp(-snr * (away**2 - noise**2)).sum(axis=1)
    return order - 2 * float((weights * np.log2(terms)).sum() / np.sqrt(np.pi) / len(levels))


def plot() -> Figure:
    """Plot block error curves with the simulated points, and the goodput of each rate law over SNR."""
    figure = Figure(figsize=(7, 2.8), layout="constrained")
    errors, laws = figure.subplots(1, 2)
    measured = counts()
    for colour, code in enumerate([(2, 308.0), (4, 490.0), (6, 567.0), (6, 873.0)]):
        for bits, style in ((100, "--"), (1000, "-")):
            threshold_db, width_db = (values[0] for values in at_size(curve(code)[None], np.array([float(bits)])))
            snr_db = np.linspace(threshold_db - 2 * width_db, threshold_db + 3 * width_db, 60)
            rates = error_rate(10 ** (snr_db / 10), np.asarray(threshold_db), np.asarray(width_db))
            errors.semilogy(snr_db, rates, style, c=f"C{colour}", lw=1)
            points = measured[(*code, bits)]
            errors.semilogy(points[:, 0], points[:, 1] / points[:, 2], "o", c=f"C{colour}", ms=2)
    errors.set(xlabel="SNR (dB), dashed: 100 bits, solid: 1000", ylabel="block error rate", ylim=(3e-3, 1.1))
    snr_db = np.arange(-10, 30, 0.1)
    for name, law in (
        ("Shannon", Shannon()),
        ("256 symbols, 1e-3", FiniteBlocklength()),
        ("5G NR, table 1", AdaptiveModulation(overhead=0.0)),
        ("5G NR, table 3", AdaptiveModulation("qam64_low_se", overhead=0.0)),
    ):
        laws.plot(snr_db, law.efficiency(10 ** (snr_db / 10)), lw=1, label=name)
    laws.set(xlabel="SNR (dB)", ylabel="goodput (bit/s/Hz)")
    laws.legend(fontsize=7)
    return figure
