"""Count the block errors of a code over white Gaussian noise, with the encoder and decoder of Sionna 2.2.

    python -m benchmarks.block_errors.simulate 8 797 1000 --blocks 400 >> benchmarks/block_errors/counts.csv

QAM with the labelling of 5G NR, a-posteriori demapping, 20 iterations of belief propagation (boxplus-phi); the SNR is
that of a complex symbol. For code rates below 1/5, the code of rate 1/5 is repeated, and its log-likelihoods are added.
A search for the threshold precedes the five points around it.
"""

from __future__ import annotations

import argparse
from typing import Any

import torch

BATCH = 100_000
"""Number of information bits that are decoded in one call."""


class Chain:
    """Encoder, noise and decoder of one code."""

    def __init__(self, order: int, rate: float, bits: int) -> None:
        from sionna.phy.fec.ldpc import LDPC5GDecoder, LDPC5GEncoder
        from sionna.phy.mapping import Demapper, Mapper

        coded = round(bits / rate / order) * order
        bits = round(coded * rate)  # a few more or fewer, so that whole symbols have this code rate
        self.bits, self.draws = bits, torch.Generator().manual_seed(bits + order)
        once = min(coded, 5 * bits // order * order)
        self.sent = torch.arange(coded) % once
        """Index of the code bit of each transmitted bit."""
        self.encode: Any = LDPC5GEncoder(bits, once, num_bits_per_symbol=order)
        self.decode: Any = LDPC5GDecoder(self.encode, num_iter=20, cn_update="boxplus-phi", hard_out=True)
        self.modulate: Any = Mapper("qam", order)
        self.demodulate: Any = Demapper("app", "qam", order)

    def errors(self, snr_db: float, blocks: int) -> int:
        """Simulate `blocks` blocks at an SNR, and return the number of those in error."""
        failed, batch = 0, max(1, BATCH // self.bits)
        for begun in range(0, blocks, batch):
            sent = torch.randint(0, 2, (min(batch, blocks - begun), self.bits), generator=self.draws).float()
            symbols = self.modulate(self.encode(sent)[:, self.sent])
            noise_power = torch.tensor(10 ** (-snr_db / 10))
            noise = torch.randn((*symbols.shape, 2), generator=self.draws) * (noise_power / 2).sqrt()
            likelihoods = self.demodulate(symbols + torch.view_as_complex(noise), noise_power)
            added = torch.zeros(len(sent), int(self.sent.max()) + 1).index_add_(1, self.sent, likelihoods)
            found = self.decode(added)
            failed += int((found != sent).any(dim=1).sum())
        return failed

    def threshold_db(self, low_db: float, high_db: float) -> float:
        """Search for the SNR in dB at which about three of ten blocks are in error, by bisection between two SNRs."""
        for _ in range(6):
            middle_db = (low_db + high_db) / 2
            low_db, high_db = (middle_db, high_db) if self.errors(middle_db, 60) > 18 else (low_db, middle_db)
        return (low_db + high_db) / 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("order", type=int, help="bits per symbol")
    parser.add_argument("rate", type=float, help="code rate times 1024")
    parser.add_argument("bits", type=int, help="bits of a code block")
    parser.add_argument("--blocks", type=int, default=1000, help="blocks at each point")
    given = parser.parse_args()
    chain = Chain(given.order, given.rate / 1024, given.bits)
    capacity_db = 10 * torch.tensor(2 ** (given.order * given.rate / 1024) - 1).log10().item()
    middle_db = chain.threshold_db(capacity_db, capacity_db + 6)
    for step in range(-1, 4):
        snr_db = round(middle_db + step * 6 / given.bits**0.5, 2)
        errors = chain.errors(snr_db, given.blocks)
        print(f"{given.order},{given.rate:g},{given.bits},{snr_db:g},{errors},{given.blocks}", flush=True)


if __name__ == "__main__":
    main()
