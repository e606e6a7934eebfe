"""Transport blocks in slots: error rates, copies, reports and the outer loop beside the laws that they come from."""

from dataclasses import replace
from math import inf

import numpy as np
import pytest
from scipy.optimize import brentq
from worlds import flat_network, world

from netsim.description import BandDescription, SharingDescription
from netsim.radio.fading import Rayleigh
from netsim.radio.fidelity import Slots
from netsim.radio.nr.codes import MCS_TABLES
from netsim.radio.nr.effective_snr import effective_snr
from netsim.radio.nr.harq import outcome
from netsim.radio.rate import AdaptiveModulation
from netsim.radio.scheduling import EqualShares, RoundRobin
from netsim.radio.slot.adaptive import Adaptive, Own
from netsim.radio.slot.coding import Received, Sent
from netsim.streams import Streams
from stats import assert_mean, assert_proportion

SYMBOLS = 200.0
"""Of a resource block of 200 kHz in 1 ms."""


def coding(
    law: AdaptiveModulation, *, round_trip_slots: int = 8, outer_loop_db: float = 0.0, users: int = 1
) -> Adaptive:
    built = Adaptive(law, SYMBOLS, Streams(3).key("block errors"), round_trip_slots, outer_loop_db)
    built.joined(range(users))
    return built


def slot(
    coding: Adaptive, number: int, snr: float, blocks: int = 10, reported: float | None = None, bits: float = 1e9
) -> Received:
    """One user alone in a slot."""
    known = snr if reported is None else reported
    sent = Sent(number, np.zeros(blocks, np.intp), np.full(blocks, snr), np.full(blocks, known))
    return coding.send(sent, np.array([bits]))


def test_effective_ratios_of_everybodys_own_blocks() -> None:
    rows = np.array([0, 0, 0, 2, 5, 5])
    snr, beta = np.array([1.0, 5.0, 9.0, 3.0, 2.0, 20.0]), np.array([1.6, 6.0, 20.0])
    own = Own(rows)
    assert own.rows.tolist() == [0, 2, 5]
    expected = [effective_snr(snr[rows == row], np.array(b)).item() for row, b in zip((0, 2, 5), beta, strict=True)]
    assert own.effective(snr, beta) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("copies", [1, 2])
def test_block_errors_and_copies_of_a_constant_channel(copies: int) -> None:
    """Where so many copies fail in 3 of 10 cases: how often blocks fail, and what gets through for each attempt."""
    law = coding(AdaptiveModulation(attempts=3))
    slot(law, 0, snr=0.0, reported=10.0)
    mcs, size = int(law.mcs[0, 0]), law.size[0, 0]
    table = MCS_TABLES["qam64"]
    snr = brentq(lambda ratio: table.error_rate(mcs, ratio, size) - 0.3, 0.1, 20.0) / copies
    law = coding(AdaptiveModulation(attempts=3))
    received = [slot(law, number, snr, reported=10.0) for number in range(1500)]
    mean_attempts, lost = outcome(table.error_rate(mcs, snr * np.arange(1, 4), size))
    assert mean_attempts == pytest.approx(copies + 0.3, abs=0.01)
    failed = sum(int(each.failed.item()) for each in received)
    # of all attempts only the last of a block that gets through does not fail
    assert_proportion(1500 - failed, 1500, (1 - lost) / mean_attempts, alpha=1e-4)
    assert_mean([each.bits.item() for each in received], size * (1 - lost) / mean_attempts)


def test_blocks_hardly_fail_where_the_report_is_careful() -> None:
    law = coding(AdaptiveModulation(target_error_rate=1e-5))
    assert not any(slot(law, number, 10.0).failed.item() for number in range(500))


def test_a_copy_is_sent_when_it_is_known_to_be_needed_and_adds_up() -> None:
    law = coding(AdaptiveModulation(), round_trip_slots=4)
    first = slot(law, 0, snr=1e-9, reported=10.0, bits=500.0)  # one block, and it fails
    assert (first.bits.item(), first.attempts.item(), first.failed.item()) == (0, 1, 1)
    for number in (1, 2, 3):
        nothing = slot(law, number, snr=10.0, bits=500.0)
        assert (nothing.bits.item(), nothing.attempts.item()) == (0, 0)
    copy = slot(law, 4, snr=10.0, bits=500.0)
    assert (copy.bits.item(), copy.attempts.item(), copy.failed.item()) == (500, 1, 0)


def test_meanwhile_other_blocks_are_sent() -> None:
    law = coding(AdaptiveModulation(), round_trip_slots=4)
    slot(law, 0, snr=1e-9, reported=10.0)
    assert [slot(law, number, snr=10.0).attempts.item() for number in (1, 2, 3)] == [1, 1, 1]
    assert law.sent.max() == 1
    slot(law, 4, snr=10.0)
    assert law.sent.max() == 2


def test_copies_have_the_energy_of_their_resource_blocks() -> None:
    law = coding(AdaptiveModulation(), round_trip_slots=1)
    slot(law, 0, snr=0.01, blocks=10, reported=10.0, bits=500.0)
    slot(law, 1, snr=0.01, blocks=5, bits=500.0)
    slot(law, 2, snr=0.02, blocks=20, bits=500.0)
    assert law.ratio[0, 0] == pytest.approx(0.01 + 0.01 / 2 + 0.02 * 2)


def test_what_is_lost_after_the_last_attempt_is_sent_anew() -> None:
    law = coding(AdaptiveModulation(attempts=2), round_trip_slots=1)
    for number in (0, 1):
        slot(law, number, snr=1e-9, reported=10.0, bits=500.0)
    assert not law.payload.any()
    assert slot(law, 2, snr=10.0, bits=500.0).bits.item() == 500


def test_only_blocks_that_are_lost_in_a_row_break_the_link() -> None:
    """A block may be sent anew once: what was lost, lost again and then received is over, and counts no more."""
    law = Adaptive(AdaptiveModulation(attempts=1), SYMBOLS, Streams(3).key("block errors"), 1, 0.0, resends=1)
    law.joined([0])
    snrs = [1e-9, 10.0, 1e-9, 10.0, 1e-9, 1e-9]
    given_up = [slot(law, number, snr=snr, reported=10.0).given_up.item() for number, snr in enumerate(snrs)]
    assert given_up == [0, 0, 0, 0, 0, 1]


def test_the_outer_loop_meets_its_target_where_reports_are_wrong() -> None:
    """The report says twice the truth; first attempts still fail as often as is wanted."""
    law = coding(AdaptiveModulation(target_error_rate=0.1), outer_loop_db=0.5)
    slots, first, lost = 1500, 0, 0
    for number in range(slots):
        before = int((law.payload > 0).sum())
        received = slot(law, number, snr=5.0, reported=10.0)
        fresh = int((law.payload > 0).sum()) + (received.bits.item() > 0) > before
        first, lost = first + fresh, lost + (fresh and received.failed.item() > 0)
    assert law._offset_db.item() < -1.0
    # each failure takes 0.5 dB, each success gives 0.5 / 9 dB: the offset has stayed within a few dB
    assert lost / first == pytest.approx(0.1, abs=10 / (0.5 * slots))


def test_each_user_has_its_own_luck_whoever_else_sends() -> None:
    alone, together = coding(AdaptiveModulation()), coding(AdaptiveModulation(), users=2)
    for number in range(200):
        one = slot(alone, number, snr=2.0, reported=2.5)
        rows = np.repeat(np.array([0, 1]), 10)
        both = together.send(Sent(number, rows, np.full(20, 2.0), np.full(20, 2.5)), np.array([1e9, 1e9]))
        assert one.bits.item() == both.bits[0]
    assert (alone.sent[0] == together.sent[0]).all()


@pytest.mark.parametrize("law", [EqualShares(), RoundRobin()])
def test_a_network_delivers_everything_and_counts_attempts(law: EqualShares | RoundRobin) -> None:
    flat = flat_network(3)
    band = BandDescription(1.0, law, Slots(1e-3, 12, cqi_delay_slots=4))
    channel = replace(flat.channel, rate=AdaptiveModulation(), fading=Rayleigh(0.01))
    users = replace(flat.users, noise_figure_db=45.0)  # so that modulation has something to choose
    w = world(replace(flat, channel=channel, users=users, sharing=SharingDescription(band, band)))
    w.run(*(w.network.server.send(user, 2e5, "x") for user in w.network.users))
    for row in w.rows("transfers"):
        assert row["lost"] == 0
        assert row["attempts"] > row["failed"] > 0
        assert row["airtime_s"] < inf
