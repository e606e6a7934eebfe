"""The analogue wire: power and law of its noise, whose SNR it has, and what of a message it is."""

from math import log10
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from learning.codecs import Analogue, Bundle, FixedWidth, Identity, Number, Received, Uniform, size_bits, size_symbols
from learning.codecs.analogue import noisy
from learning.executor import Batched, Eager
from learning.protocols.split import CutLink
from learning.wire import transcode
from runs import TINY, frame
from scenarios import load, simulate
from scenarios.errors import ScenarioError


def uniform(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("snr_db", [-6.0, 0.0, 10.0, 30.0])
def test_the_noise_has_the_stated_power(snr_db: float) -> None:
    """Over n = 10^6 elements: the standard error of 10 log10 of a mean square is 10 / ln 10 sqrt(2 / n), 0.006 dB."""
    x = normal(1, 1000, 1000)
    noise = Analogue(snr_db).roundtrip(x, uniform(1, 1000, 1000)) - x
    measured_db = 10 * log10(float(x.square().mean() / noise.square().mean()))
    assert abs(measured_db - snr_db) < 0.05
    assert abs(float(noise.mean())) < 5 * float(noise.std()) / 1000


def test_the_noise_is_normal() -> None:
    """Kolmogorov and Smirnov, over 20 000 elements; the seed is fixed."""
    x = torch.ones(1, 20_000, dtype=torch.float64)
    noise = Analogue(0.0).roundtrip(x, uniform(1, 20_000)) - x
    assert stats.kstest(noise.numpy().ravel(), "norm").pvalue > 0.01


def test_each_sample_has_noise_in_proportion_to_its_own_power() -> None:
    x, u = normal(4, 5, 6), uniform(4, 5, 6)
    scaled = x * torch.tensor([1.0, 100.0, 0.01, 1.0], dtype=torch.float64).reshape(4, 1, 1)
    one, other = (Analogue(6.0).roundtrip(each, u) - each for each in (x, scaled))
    ratios = (other / one).flatten(1)
    torch.testing.assert_close(ratios, torch.tensor([[1.0], [100.0], [0.01], [1.0]]).double().expand_as(ratios))


def test_a_zero_sample_stays_zero_and_an_extreme_draw_is_finite() -> None:
    x = torch.zeros(2, 3)
    assert torch.equal(Analogue(0.0).roundtrip(x, torch.full((2, 3), 0.3)), x)
    assert Analogue(0.0).roundtrip(torch.ones(1, 2), torch.tensor([[0.0, 1 - 2.0**-24]])).isfinite().all()


def test_sizes_are_symbols_and_no_bits() -> None:
    tree = {"image": torch.empty(2, 3, 5, device="meta"), "tone": torch.empty(2, 4, device="meta")}
    both = Bundle((Analogue(), FixedWidth(7)))
    assert (size_symbols(Analogue(), tree), size_bits(Analogue(), tree)) == (38, 0)
    assert size_symbols(Analogue(), torch.empty(5, device="meta")) == 5
    assert (size_symbols(both, (tree, torch.empty(2, device="meta"))), size_bits(both, (tree, [1, 2]))) == (38, 14)
    assert size_symbols(Uniform(8), tree) == size_symbols(Identity(), tree) == 0


def test_without_noise_it_is_exact() -> None:
    assert Analogue("noiseless").exact
    assert not Analogue("noiseless").stochastic
    assert not Analogue(60.0).exact


def test_the_ratio_is_fixed_drawn_or_of_the_link() -> None:
    assert Analogue().ratio(7.0, 0.5) == 7.0
    assert Analogue(10.0).ratio(7.0, 0.1) == pytest.approx(10.0)
    drawn = [10 * log10(Analogue(6.0, 12.0).ratio(7.0, u)) for u in (0.0, 0.5, 1.0)]
    assert drawn == pytest.approx([-6.0, 6.0, 18.0])
    with pytest.raises(ValueError, match="spread_db needs a number"):
        Analogue("link", spread_db=1.0)


def test_messages_of_other_ratios_are_computed_together() -> None:
    """And each has its own noise: the same as alone."""
    executor, x, u = Batched(), normal(3, 4, 5).float(), uniform(3, 4, 5).float()
    snrs = [0.5, 3.0, 40.0]
    values = executor.value([executor.submit(transcode, Received(Number(snr)), x, [u]) for snr in snrs])
    assert dict(executor.groups) == {("transcode", 3): 1}
    for found, snr in zip(values, snrs, strict=True):
        assert torch.equal(found, Eager().value(Eager().submit(transcode, Received(Number(snr)), x, [u])))
        torch.testing.assert_close(found, noisy(x, u, torch.tensor(snr)))


def test_the_gradient_passes_through_as_it_is() -> None:
    """The noise is a constant to the backward pass: the receiver's gradient is that of what was sent."""
    with pytest.raises(ValueError, match="gradients go to the user, and analogue messages"):
        CutLink(gradients=Analogue())


# ---------------------------------------------------------------- in a run


def ran(codec: Any, **changes: Any) -> Any:
    setting = {"learning.scheme": {"name": "sfl_v1", "link": {"activations": codec}}}
    return simulate(load(TINY, {**setting, **{path.replace("__", "."): value for path, value in changes.items()}}))


FIXED = {"network__sharing__uplink__scheduler": "fixed", "network__sharing__uplink__bandwidth_mhz": 1}


def test_smashed_data_of_any_scheme_can_be_analogue() -> None:
    """Eight samples of 24 values: 192 symbols in a quarter of 1 MHz. Labels are a digital message of their own."""
    messages = frame(ran("analogue", **FIXED), "transfers").query("kind == 'activation'")
    analogue = messages.mean_rate_bps.round() == 0.5e6
    tokens, labels = messages[analogue], messages[~analogue]
    full = tokens[tokens.bits == 192]
    assert len(full) > 10
    np.testing.assert_allclose(full.airtime_s, 192 / 0.5e6, rtol=1e-9)
    assert full.mean_snr_db.nunique() > 4  # users and fading blocks
    assert labels.bits.max() == 8 * 64
    assert len(labels) == len(tokens)


def test_no_noise_is_the_plain_scheme_but_for_time() -> None:
    exact, plain = (
        frame(ran(codec, **FIXED), "evaluations") for codec in ({"name": "analogue", "snr_db": "noiseless"}, "identity")
    )
    assert list(exact.value) == list(plain.value)
    assert list(exact.time_s) != list(plain.time_s)


def test_a_bad_link_makes_noise_and_not_delay() -> None:
    far = {**FIXED, "network__users__tx_power_dbm": -20}
    near, distant = ran("analogue", **FIXED), ran("analogue", **far)
    seconds = [frame(each, "transfers").query("bits == 192").airtime_s for each in (near, distant)]
    np.testing.assert_allclose(*seconds, rtol=1e-9)
    losses = [frame(each, "evaluations").query("metric == 'loss'").value.iloc[-1] for each in (near, distant)]
    assert losses[0] != losses[1]


@pytest.mark.parametrize("changes", [{"network__sharing__uplink__fidelity": "slot"}], ids=["slots"])
def test_what_cannot_carry_it_is_said(changes: dict[str, Any]) -> None:
    with pytest.raises(ScenarioError, match="analogue messages need the fidelity flow"):
        ran("analogue", **changes)
