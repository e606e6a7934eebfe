"""Separate source and channel coding: short codes, image files of a limited size, and runs by hand."""

from io import BytesIO
from math import e, inf, log, log2
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.integrate import quad
from scipy.stats import norm

from learning.fountain.information import (
    binary_input_capacity,
    binary_input_dispersion,
    block_bits,
    block_error_rate,
)
from learning.jscc.image_files import Format, best_file
from learning.jscc.images import psnr_db, span_of, unit
from learning.store import Store
from runs import TINY, hashes
from scenarios import load, simulate
from scenarios.errors import FieldError

SCHEME: dict[str, Any] = {"name": "separate_coding", "images": 16, "symbols": 200}
FORMATS: tuple[Format, ...] = "webp", "jpeg2000"


@pytest.mark.parametrize("snr", [0.1, 1.0, 4.0])
def test_the_dispersion_is_the_variance_of_the_information_density(snr: float) -> None:
    def moment(power: int) -> float:
        def of(z: float) -> float:
            density = 1 - np.log2(1 + np.exp(-2 * snr - 2 * snr**0.5 * z))
            return float(density**power * norm.pdf(z))

        return quad(of, -9, 9, epsabs=1e-12)[0]

    ratio = torch.tensor(snr).double()
    assert float(binary_input_capacity(ratio)) == pytest.approx(moment(1), abs=1e-8)
    assert float(binary_input_dispersion(ratio)) == pytest.approx(moment(2) - moment(1) ** 2, abs=1e-8)


def test_the_dispersion_of_weak_and_of_strong_symbols() -> None:
    """Weak ones: V = snr log2(e)^2, twice log2(e) times the capacity; strong ones lose nothing and vary by nothing."""
    weak, strong = torch.tensor([1e-5, 1e3]).double()
    assert float(binary_input_dispersion(weak)) == pytest.approx(1e-5 * log2(e) ** 2, rel=1e-3)
    assert float(binary_input_dispersion(weak) / binary_input_capacity(weak)) == pytest.approx(2 * log2(e), rel=1e-3)
    assert float(binary_input_dispersion(strong)) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(("symbols", "snr", "error"), [(500, 1.0, 1e-2), (3488, 0.5, 1e-4), (100, 3.0, 0.3)])
def test_a_block_is_as_large_as_its_error_probability_allows(symbols: int, snr: float, error: float) -> None:
    bits, every = block_bits(symbols, snr, error), torch.full((symbols,), snr).double()
    assert block_error_rate(bits, every) <= error < block_error_rate(bits + 1, every)
    ratio = torch.tensor(snr).double()
    mean, variance = (float(each(ratio)) for each in (binary_input_capacity, binary_input_dispersion))
    by_hand = symbols * mean + (symbols * variance) ** 0.5 * norm.ppf(error) + log(symbols, 4)
    assert bits == int(by_hand)
    assert bits < symbols * mean or error > 0.2


def test_symbols_of_different_ratios_add_what_they_carry() -> None:
    two = torch.tensor([1.0] * 300 + [4.0] * 200 + [0.0] * 50).double()
    mean, variance = (
        sum(n * float(each(torch.tensor(snr).double())) for n, snr in ((300, 1.0), (200, 4.0)))
        for each in (binary_input_capacity, binary_input_dispersion)
    )
    expected = norm.sf((mean + log2(500) / 2 - 320) / variance**0.5)
    assert block_error_rate(320, two) == pytest.approx(expected)
    assert block_error_rate(1, torch.zeros(9).double()) == 1
    assert [block_error_rate(bits, torch.full((64,), 1e4).double()) for bits in (67, 68)] == [0, 1]


def images(count: int, channels: int = 1, height: int = 8, width: int = 8) -> torch.Tensor:
    """Smooth images, each of a brightness of its own, which differ by 1/12 at least where there are seven of them."""
    order = torch.randperm(count * channels, generator=torch.Generator().manual_seed(0))
    u = torch.linspace(0, 1, count * channels)[order].view(count, channels, 1, 1)
    ramp = torch.linspace(0, 0.3, height)[:, None] + torch.linspace(0, 0.2, width)
    return 0.5 * u + ramp


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("shape", [(7, 1, 8, 8), (5, 3, 16, 32), (1, 1, 28, 28)])
def test_a_large_file_has_every_image_at_its_place(form: Format, shape: tuple[int, int, int, int]) -> None:
    x = images(*shape)
    file = best_file(x, form, 1_000_000)
    assert file is not None
    assert file.images.shape == (shape[0], x[0].numel())
    error = (file.images - x.flatten(1)).abs()
    assert float(error.mean(-1).max()) < 0.03  # another image's brightness is further away
    assert shape[1] == 3 or float(error.max()) < 0.03  # colours of neighbours are mixed at borders
    with Image.open(BytesIO(file.data)) as opened:
        assert opened.format == {"webp": "WEBP", "jpeg2000": "JPEG2000"}[form]


@pytest.mark.parametrize("form", FORMATS)
def test_a_file_keeps_to_its_limit_and_a_larger_one_is_better(form: Format) -> None:
    x = torch.rand((16, 1, 8, 8), generator=torch.Generator().manual_seed(1))
    limits, errors = (3000, 5000, 8000), []
    for limit in limits:
        file = best_file(x, form, limit)
        assert file is not None
        assert 0.5 * limit < 8 * len(file.data) <= limit
        errors.append(float((file.images - x.flatten(1)).square().mean()))
    assert errors == sorted(errors, reverse=True)
    assert best_file(x, form, 300) is None
    assert best_file(x, form, 0) is None


def test_numbers_outside_of_black_and_white_are_limited() -> None:
    x = torch.cat([images(4) - 3, images(4) + 3])
    file = best_file(x, "webp", 100_000)
    assert file is not None
    torch.testing.assert_close(file.images.round(), torch.cat([torch.zeros(4, 64), torch.ones(4, 64)]))


def result(executor: str = "batched", scheme: dict[str, Any] | None = None, **overrides: Any) -> Any:
    scenario = {"learning.scheme": {**SCHEME, **(scheme or {})}, "learning.executor": executor}
    changed = {name.replace("__", "."): each for name, each in overrides.items()}
    return simulate(load(TINY, {**scenario, "learning.stop": {"rounds": 2}, **changed}))


def received(ran: Any) -> Any:
    """Metrics of each round and user."""
    found = ran.table("evaluations").to_pandas()
    own = found[(found.split == "received") & found.user.notna()]
    return own.pivot(index=["round", "user"], columns="metric", values="value")


FAR: dict[str, Any] = {
    "network__users": {"count": 2, "placement": {"name": "list", "positions_m": [[20, 0], [1200, 0]]}},
    "network__channel": {"path_loss": "free_space", "fading": "none"},
    "network__stations": {"tx_power_dbm": 2},
    "learning__partition": "iid",
}
"""A user near the station, and one far away."""


def digits(number: int) -> tuple[torch.Tensor, torch.Tensor, tuple[float, float]]:
    """Sixteen test images of a round, all training images, and their span, as in the tiny scenario."""
    scenario = load(TINY, {})
    assert scenario.learning is not None
    data = scenario.learning.data.load(TINY.parent, torch.float32)
    assert isinstance(data.train.x, torch.Tensor)
    assert isinstance(data.test.x, torch.Tensor)
    return data.test.x[16 * number : 16 * (number + 1)], data.train.x, span_of(data.train.x)


def test_a_run_by_hand() -> None:
    """The best file that an ideal code carries to the weaker of two users; both hear every symbol and have the file."""
    ran = result(**FAR)
    transfers, quality = ran.table("transfers").to_pandas(), received(ran)
    symbols = transfers[transfers.kind == "symbols"]
    assert symbols.bits.tolist() == [16 * 200] * 4
    assert symbols.airtime_s.tolist() == pytest.approx([16 * 200 / 2e6] * 4)
    assert ran.table("rounds").to_pandas().downlink_bits.tolist() == pytest.approx([16 * 200] * 2)
    assert set(transfers[transfers.kind == "acknowledgement"].bits) == {8}
    weakest = 10 ** (symbols.mean_snr_db.min() / 10)
    capacity = block_bits(3200, weakest, 1e-2)
    assert 0 < capacity < 0.9 * 3200
    for number in range(2):
        x, _, span = digits(number)
        file = best_file(unit(x, span), "jpeg2000", capacity)
        assert file is not None
        expected = float(psnr_db(x, file.images, span).mean())
        assert quality.psnr_db[number].tolist() == pytest.approx([expected] * 2, rel=1e-5)
        assert quality.bits_per_pixel[number].tolist() == pytest.approx([8 * len(file.data) / 16 / 64] * 2)
        failure = block_error_rate(8 * len(file.data), torch.full((3200,), weakest).double())
        assert quality.error_rate[number].max() == pytest.approx(failure, rel=1e-3, abs=1e-12)
    assert quality.symbols.tolist() == pytest.approx([200] * 4)
    assert quality.bandwidth_ratio.tolist() == pytest.approx([200 / 64] * 4)


@pytest.mark.parametrize("code", ["ideal", "nr"])
@pytest.mark.parametrize("scheme", [{"deadline_s": 1e-5}, {"symbols": 2}])
def test_who_has_no_file_has_the_mean_training_image(scheme: dict[str, Any], code: str) -> None:
    """Because the block is in error, or because no file is so small: then nothing is sent."""
    ran = result(scheme={**scheme, "code": code}, network__channel__fading="none")
    x, train, span = digits(0)
    mean = unit(train, span).mean(0).flatten().expand(16, -1)
    quality = received(ran)
    assert quality.psnr_db[0].tolist() == pytest.approx([float(psnr_db(x, mean, span).mean())] * 4, rel=1e-5)
    assert quality.error_rate.tolist() == pytest.approx([1.0] * 8)
    sent = ran.table("transfers").to_pandas().kind.tolist().count("symbols")
    assert sent == (0 if "symbols" in scheme else 8)


def test_blocks_fail_as_often_as_their_probability_says() -> None:
    """At the weaker user, whose block is made for this error rate; the stronger one never fails."""
    ran = result("dry", {"images": 4, "symbols": 600, "error_rate": 0.5}, **FAR, learning__stop={"rounds": 60})
    quality = received(ran)
    assert quality.error_rate.xs(0, level="user").max() < 1e-6
    weak = quality.error_rate.xs(1, level="user")
    ran = result("eager", {"images": 4, "symbols": 600, "error_rate": 0.5}, **FAR, learning__stop={"rounds": 60})
    both = received(ran).psnr_db.unstack()
    failed = (both[1] < both[0]).sum()
    assert 0.1 < weak.mean() < 0.5
    assert failed == pytest.approx(weak.sum(), abs=4 * float((weak * (1 - weak)).sum()) ** 0.5)


def test_alone_each_has_the_file_that_its_own_channel_carries() -> None:
    ran = result(scheme={"unicast": True}, **FAR)
    transfers = ran.table("transfers").to_pandas()
    assert transfers[transfers.kind == "symbols"].receivers.tolist() == [1] * 4
    assert ran.table("rounds").to_pandas().downlink_bits.tolist() == pytest.approx([2 * 16 * 200] * 2)
    quality = received(ran)
    assert (quality.bits_per_pixel.xs(0, level="user") > quality.bits_per_pixel.xs(1, level="user")).all()
    assert (quality.psnr_db.xs(0, level="user") > quality.psnr_db.xs(1, level="user")).all()


def test_codes_of_nr_carry_less_than_ideal_ones_where_these_are_binary_too() -> None:
    ideal, nr = (received(result(scheme={"code": code}, **FAR)).bits_per_pixel for code in ("ideal", "nr"))
    assert (nr < ideal).all()
    assert (nr > 0.5 * ideal).all()


def test_executors_agree_and_a_dry_run_has_the_same_clock() -> None:
    eager, batched, dry = (result(executor) for executor in ("eager", "batched", "dry"))
    assert hashes(eager) == hashes(batched)
    of_dry = hashes(dry)
    assert {**of_dry, "evaluations": ""} == {**hashes(eager), "evaluations": ""}
    values = dry.table("evaluations").to_pandas()
    assert values[values.metric == "psnr_db"].value.isna().all()
    assert values[values.metric == "bits_per_pixel"].value.max() < inf


def test_another_power_of_receivers_changes_the_energy_and_no_torch_operation_runs_again(tmp_path: Path) -> None:
    def ran(store: Store | None, **changed: Any) -> Any:
        return simulate(load(TINY, {"learning.scheme": SCHEME, "learning.stop": {"rounds": 2}, **changed}), store=store)

    other = {"energy.receive_power_w": 0.7}
    store = Store(tmp_path)
    first, again, moved = ran(store), ran(store), ran(store, **other)
    store.close()
    assert first.operations["run"] > 0 == again.operations["run"] == moved.operations["run"]
    assert hashes(again) == hashes(first) == hashes(ran(None))
    assert hashes(moved) == hashes(ran(None, **other)) != hashes(first)


def test_images_of_two_channels_are_no_file(tmp_path: Path) -> None:
    x = np.zeros((40, 2, 8, 8), dtype=np.float32)
    np.savez(tmp_path / "two.npz", x=x, y=np.arange(40) % 4)
    data = {"name": "npz", "path": str(tmp_path / "two.npz")}
    with pytest.raises(FieldError, match="2 channels cannot be coded as a file; 1 and 3 are allowed"):
        result(learning__data=data)
