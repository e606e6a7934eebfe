"""Deep JSCC: symbols of unit power, noise, training beside a plain loop, and a run by hand."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from fakes import FakeStreams
from learning.draws import standard_normal
from learning.jscc.amplitudes import Amplitudes, AmplitudeTraining, noisy, receive, train_amplitudes
from runs import TINY
from scenarios import load, simulate

SMALL = Amplitudes(symbols=12, width=16)
SCHEME: dict[str, Any] = {
    "name": "deep_jscc",
    "images": 4,
    "transforms": {"symbols": 12, "width": 16},
    "training": {"steps": 6, "batch_size": 4},
}
PIXELS = 64


def images(count: int, seed: int = 0) -> torch.Tensor:
    """Images of 8 x 8 numbers in [0, 1] with two degrees of freedom."""
    u = torch.rand((count, 2, 1, 1), generator=torch.Generator().manual_seed(seed))
    ramp = torch.linspace(0, 1, 8)
    return (u[:, :1] * ramp + u[:, 1:] * ramp[:, None]).clamp(0, 1)


def uniform(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def parameters() -> dict[str, torch.Tensor]:
    return SMALL.initial(FakeStreams(1), PIXELS, torch.float32)


def test_symbols_of_each_image_have_unit_power(parameters: dict[str, torch.Tensor]) -> None:
    symbols = SMALL.modulate(parameters, images(7))
    assert symbols.shape == (7, 12)
    torch.testing.assert_close(symbols.square().mean(-1), torch.ones(7))


def test_noise_has_the_power_that_the_ratio_says_and_what_is_not_heard_is_zero() -> None:
    symbols, noise = torch.ones(40_000, 3), standard_normal(uniform(40_000, 3).double())
    heard = noisy(symbols, noise, torch.tensor([1.0, 4.0, 0.0]))
    errors = (heard - symbols).square().mean(0)
    assert errors[:2].tolist() == pytest.approx([1.0, 0.25], rel=0.03)  # four standard deviations of a mean of chi^2
    assert (heard[:, 2] == 0).all()


def test_without_noise_a_receiver_has_what_the_transforms_make_of_the_image(
    parameters: dict[str, torch.Tensor],
) -> None:
    symbols = SMALL.modulate(parameters, images(5))
    clear = receive(SMALL, parameters, symbols, uniform(5, 12), torch.full((12,), 1e12))
    torch.testing.assert_close(clear, SMALL.synthesise(parameters, symbols), atol=1e-5, rtol=0)


def test_training_is_that_of_a_plain_loop(parameters: dict[str, torch.Tensor]) -> None:
    """Torch's Adam and autograd on the same images, channels and noise."""
    training = AmplitudeTraining(batch_size=8, snr_db=(0.0, 6.0))
    given = {name: value.double() for name, value in parameters.items()}
    x, u, u_noise = (
        2 * torch.stack([images(8, each).double() for each in range(5)]),
        uniform(5, 8, 1),
        uniform(5, 8, 12),
    )
    found, _ = train_amplitudes(
        SMALL, training, (0.0, 2.0), given, training.optimiser.init(given), x, u.double(), u_noise.double()
    )
    plain = {name: value.clone().requires_grad_() for name, value in given.items()}
    adam = torch.optim.Adam(plain.values(), lr=training.optimiser.learning_rate)
    for batch, channel, noise in zip(x, u.double(), u_noise.double(), strict=True):
        flat = (batch / 2).flatten(1)
        hidden = F.relu(F.linear(flat - 0.5, plain["amplitudes.0.weight"], plain["amplitudes.0.bias"]))
        z = F.linear(hidden, plain["amplitudes.1.weight"], plain["amplitudes.1.bias"])
        sent = z / z.square().mean(-1, keepdim=True).sqrt()
        heard = sent + torch.special.ndtri(noise) / (10 ** (6 * channel / 10)).sqrt()
        hidden = F.relu(F.linear(heard, plain["image.0.weight"], plain["image.0.bias"]))
        made = torch.sigmoid(F.linear(hidden, plain["image.1.weight"], plain["image.1.bias"]))
        adam.zero_grad()
        F.mse_loss(made, flat).backward()
        adam.step()
    for name, value in plain.items():
        torch.testing.assert_close(found[name], value.detach(), rtol=1e-6, atol=1e-9)
        assert not torch.equal(found[name], given[name])


def result(executor: str = "batched", scheme: dict[str, Any] | None = None, **overrides: Any) -> Any:
    scenario = {"learning.scheme": {**SCHEME, **(scheme or {})}, "learning.executor": executor}
    changed = {name.replace("__", "."): each for name, each in overrides.items()}
    return simulate(load(TINY, {**scenario, "learning.stop": {"rounds": 2}, **changed}))


def test_a_run_by_hand() -> None:
    """One stream for all, two symbols a second and hertz; then the charged synthesis of each receiver."""
    ran = result(network__channel__fading="none")
    transfers = ran.table("transfers").to_pandas()
    symbols = transfers[(transfers["round"] == 0) & (transfers.kind == "symbols")]
    assert symbols.bits.tolist() == [4 * 12] * 4
    assert symbols.airtime_s.tolist() == pytest.approx([4 * 12 / (2 * 1e6)] * 4)
    rounds = ran.table("rounds").to_pandas()
    assert rounds.downlink_bits.tolist() == pytest.approx([4 * 12] * 2)  # each symbol is sent once
    work = ran.table("computations").to_pandas()
    one = 2 * 4 * (PIXELS * 16 + 16 * 12)
    assert work[work.kind == "analysis"].flops.tolist() == pytest.approx([one] * 2, rel=0.2)  # and elementwise ones
    assert work[work.kind == "synthesis"].flops.tolist() == pytest.approx([one] * 8, rel=0.2)
    quality = ran.table("evaluations").to_pandas()
    mean, own = (quality[each] for each in (quality.user.isna(), quality.user.notna()))
    quality = own[own.split == "received"].pivot(index=["round", "user"], columns="metric", values="value")
    assert set(quality.columns) == {"psnr_db", "symbols", "bandwidth_ratio"}
    assert quality.symbols.tolist() == pytest.approx([12] * 8)
    assert quality.bandwidth_ratio.tolist() == pytest.approx([12 / PIXELS] * 8)
    assert quality.psnr_db.notna().all()
    of_all = mean[mean.metric == "psnr_db"].set_index("round").value
    assert of_all.tolist() == pytest.approx(quality.psnr_db.groupby("round").mean().tolist())


def test_unicast_takes_a_stream_for_each_user() -> None:
    ran = result("dry", {"unicast": True}, network__channel__fading="none")
    transfers = ran.table("transfers").to_pandas()
    symbols = transfers[transfers.kind == "symbols"]
    assert symbols.receivers.tolist() == [1] * 8
    assert ran.table("rounds").to_pandas().downlink_bits.tolist() == pytest.approx([4 * 4 * 12] * 2)
    assert symbols.groupby("round").end_s.max()[0] >= 4 * 4 * 12 / (2 * 1e6)  # they share the band


TWO: dict[str, Any] = {
    "network__users": {"count": 2, "placement": {"name": "list", "positions_m": [[20, 0], [1200, 0]]}},
    "network__channel": {"path_loss": "free_space", "fading": "none"},
    "network__stations": {"tx_power_dbm": -9},
    "learning__partition": "iid",
}
"""A user near the station, and one far away."""


def quality_of_users(training: dict[str, Any], **scheme: Any) -> tuple[list[float], list[float]]:
    """Mean PSNR in dB of the two users' images, and the signal-to-noise ratios of their symbols in dB."""
    given = {"images": 50, "training": {"steps": 80, "batch_size": 16, **training}, **scheme}
    ran = result(scheme=given, **TWO)
    found = ran.table("evaluations").to_pandas().query("metric == 'psnr_db'").groupby("user").value.mean()
    transfers = ran.table("transfers").to_pandas().query("kind == 'symbols'")
    return found.tolist(), transfers.groupby("user").mean_snr_db.mean().tolist()


def test_users_with_better_channels_receive_better_images() -> None:
    """Quality follows the signal-to-noise ratio, without a choice of rate."""
    (near, far), _ = quality_of_users({"snr_db": [0, 10]})
    assert near > far + 0.5


def test_with_unicast_each_user_has_transforms_for_its_own_ratio() -> None:
    own, ratios_db = quality_of_users({}, unicast=True)
    for user, db in enumerate(ratios_db):
        alone, _ = quality_of_users({"snr_db": [db, db]})
        assert own[user] == pytest.approx(alone[user], abs=1e-3)
        assert own[1 - user] != pytest.approx(alone[1 - user], abs=1e-3)


def test_executors_agree_and_a_dry_run_has_no_quality() -> None:
    eager, batched, dry = (result(each).table("evaluations").to_pandas() for each in ("eager", "batched", "dry"))
    assert eager.equals(batched)
    assert dry[dry.metric == "psnr_db"].value.isna().all()
    assert dry.drop(columns="value").equals(eager.drop(columns="value"))


def test_a_deadline_ends_receptions_and_what_is_not_heard_is_missing() -> None:
    ran = result(scheme={"deadline_s": 1e-5})
    transfers = ran.table("transfers").to_pandas()
    assert (transfers[transfers.kind == "symbols"].lost > 0).all()
    found = ran.table("evaluations").to_pandas()
    assert (found[found.metric == "symbols"].value < 12).all()
    assert found[found.metric == "psnr_db"].value.notna().all()
