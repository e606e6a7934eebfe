"""Multi-scale structural similarity of received images, beside closed forms and loops over scales in numpy."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.ndimage import correlate1d

from learning.jscc import similarity
from learning.jscc.similarity import EXPONENTS, SMALLEST_SIDES, exponents, ms_ssim, scales
from learning.store import Store
from runs import TINY, hashes
from scenarios import load, simulate
from scenarios.errors import ScenarioError

WINDOW, SIGMA = 11, 1.5
SCHEMES: dict[str, dict[str, Any]] = {
    "ntrscc": {"transforms": {"bits": 24, "hyper": 3, "width": 16}, "training": {"steps": [4, 4, 4], "batch_size": 4}},
    "deep_jscc": {"transforms": {"symbols": 24, "width": 16}, "training": {"steps": 8, "batch_size": 4}},
    "separate_coding": {"images": 16, "symbols": 400},
}


def need_library() -> None:
    pytest.importorskip("torchmetrics", reason="the extra images is not installed")


def blurred(image: Any) -> Any:
    taps = np.exp(-0.5 * ((np.arange(WINDOW) - WINDOW // 2) / SIGMA) ** 2)
    for axis in (0, 1):
        image = correlate1d(image, taps / taps.sum(), axis, mode="mirror")
    return image


def by_hand(x: Any, y: Any, powers: tuple[float, ...]) -> float:
    """Of two images (h, w): contrast and structure at all scales, luminance at the coarsest one."""
    product = 1.0
    for scale, power in enumerate(powers):
        mean_x, mean_y = blurred(x), blurred(y)
        cov = blurred(x * y) - mean_x * mean_y
        structure = (2 * cov + 0.03**2) / (blurred(x * x) - mean_x**2 + blurred(y * y) - mean_y**2 + 0.03**2)
        if scale == len(powers) - 1:
            of_scale = (structure * (2 * mean_x * mean_y + 0.01**2) / (mean_x**2 + mean_y**2 + 0.01**2)).mean()
        else:
            inner = slice(WINDOW // 2, -(WINDOW // 2))
            of_scale = structure[inner, inner].mean()
        product *= max(of_scale, 0.0) ** power
        x, y = (each[: len(each) // 2 * 2, : len(each) // 2 * 2] for each in (x, y))
        x, y = (each.reshape(len(each) // 2, 2, -1, 2).mean((1, 3)) for each in (x, y))
    return product


@pytest.mark.parametrize("side", [11, 28, 45])
@pytest.mark.parametrize("noise", [0.05, 0.3])
def test_it_is_that_of_loops_over_scales(side: int, noise: float) -> None:
    need_library()
    generator = np.random.default_rng(side)
    x = generator.random((3, 1, side, side)) * np.linspace(0.2, 1, side)
    y = np.clip(x + noise * generator.standard_normal(x.shape), 0, 1)
    found = ms_ssim(torch.from_numpy(5 * x - 1), torch.from_numpy(y).flatten(1), (-1.0, 4.0))
    expected = [by_hand(x[i, 0], y[i, 0], exponents(side)) for i in range(3)]
    rounded = 2**-24 * abs(np.log(min(expected)))  # torchmetrics has the exponents in float32
    assert found.tolist() == pytest.approx(expected, rel=rounded + 1e-12)


def test_constant_images_differ_by_their_luminance_alone() -> None:
    need_library()
    a, b = 0.3, 0.6
    x, y = torch.full((2, 3, 32, 32), a).double(), torch.full((2, 3 * 32 * 32), b).double()
    luminance = (2 * a * b + 1e-4) / (a * a + b * b + 1e-4)
    power = EXPONENTS[1] / (EXPONENTS[0] + EXPONENTS[1])
    assert ms_ssim(x, y, (0.0, 1.0)).tolist() == pytest.approx([luminance**power] * 2)
    assert ms_ssim(x, x.flatten(1), (0.0, 1.0)).tolist() == pytest.approx([1.0, 1.0])


def test_a_negative_image_has_no_similarity() -> None:
    need_library()
    x = torch.rand((1, 1, 28, 28), generator=torch.Generator().manual_seed(0))
    assert ms_ssim(x, 1 - x.flatten(1), (0.0, 1.0)).tolist() == [0.0]


def test_images_have_as_many_scales_as_windows_fit_into() -> None:
    assert [scales(side) for side in (10, 11, 21, 22, 43, 44, 98, 99, 175, 176, 1000)] == [
        *(0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5),
    ]
    assert all(side >> scale >= WINDOW for scale, side in enumerate(SMALLEST_SIDES))
    assert sum(EXPONENTS) == pytest.approx(1, abs=1e-4)
    assert exponents(200) == pytest.approx(EXPONENTS, rel=1e-3)
    assert exponents(28) == pytest.approx((0.0448 / 0.3304, 0.2856 / 0.3304))
    assert exponents(11) == (1.0,)


@pytest.mark.parametrize("side", SMALLEST_SIDES)
def test_the_library_computes_all_scales_of_the_smallest_images(side: int) -> None:
    need_library()
    x = torch.rand((1, 1, side, side), generator=torch.Generator().manual_seed(0))
    assert 0 < float(ms_ssim(x, (0.9 * x).flatten(1), (0.0, 1.0))) < 1


@pytest.fixture
def pictures(tmp_path: Path) -> dict[str, Any]:
    """A scenario's settings: sixty images of 16 x 16 pixels in a file."""
    ramp = np.linspace(0, 1, 16)
    u = np.random.default_rng(0).random((60, 2, 1, 1))
    x = (u[:, :1] * ramp + u[:, 1:] * ramp[:, None]).clip(0, 1).astype(np.float32)
    np.savez(tmp_path / "pictures.npz", x=x, y=np.arange(60) % 3)
    data = {"name": "npz", "path": str(tmp_path / "pictures.npz")}
    return {"learning.data": data, "learning.partition": "iid", "learning.stop": {"rounds": 2}}


def ran(scheme: str, settings: dict[str, Any], store: Store | None = None, executor: str = "batched") -> Any:
    described = {"name": scheme, **SCHEMES[scheme], "ms_ssim": True}
    return simulate(load(TINY, {**settings, "learning.scheme": described, "learning.executor": executor}), store=store)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_each_receiver_has_it_under_every_executor(scheme: str, pictures: dict[str, Any], tmp_path: Path) -> None:
    need_library()
    store = Store(tmp_path / "store")
    first, again = ran(scheme, pictures, store), ran(scheme, pictures, store)
    store.close()
    found = first.table("evaluations").to_pandas()
    found = found[found.metric == "ms_ssim"]
    assert len(found) == 2 * (4 + 1)
    assert ((found.value > 0) & (found.value <= 1)).all()
    assert again.operations["run"] == 0
    assert hashes(again) == hashes(first)
    eager = ran(scheme, pictures, executor="eager").table("evaluations").to_pandas()
    assert eager[eager.metric == "ms_ssim"].value.tolist() == pytest.approx(found.value.tolist(), rel=1e-5)
    dry = ran(scheme, pictures, executor="dry").table("evaluations").to_pandas()
    assert dry[dry.metric == "ms_ssim"].value.isna().all()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_smaller_images_are_refused(scheme: str) -> None:
    with pytest.raises(ScenarioError, match="found images of 8 pixels at the smallest side, at least 11"):
        ran(scheme, {})


def test_without_the_library_the_remedy_is_said(pictures: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("torchmetrics")] + ["torchmetrics"]:
        monkeypatch.setitem(sys.modules, name, None)
    similarity.library.cache_clear()
    with pytest.raises(ScenarioError, match=r"pip install 'netsim-learning\[images\]'"):
        ran("ntrscc", pictures)
    similarity.library.cache_clear()
