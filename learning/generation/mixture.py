"""A Gaussian mixture of principal components for each class: a generator that is trained in a moment."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import Annotated, NamedTuple

import numpy as np
import torch
from annotated_types import Ge, Gt
from numpy.typing import NDArray
from torch import Tensor

from learning.data.public import PublicData
from learning.draws import Draw, standard_normal
from learning.executor import Executor
from learning.executor.flops import charge_elementwise, uncharged
from learning.generation.generator import Sampling
from learning.ports import Streams

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class GaussianMixture:
    """For each class a Gaussian mixture of its principal components, by scikit-learn."""

    components: Annotated[int, Ge(1)] = 3
    """Gaussians of a class; fewer where it has fewer public samples."""
    dimensions: Annotated[int, Ge(1)] = 16
    """Principal components that are kept; fewer where a class has fewer public samples."""
    regularisation: Annotated[float, Gt(0)] = 1e-2
    """Variance that is added to each principal component of each Gaussian."""
    flops_per_sample: Annotated[int, Ge(0)] | None = None
    """FLOPs that are charged for a sample (default: those of its matrix product)."""

    def check(self, public: PublicData) -> None:
        """Raise ValueError if a class has fewer than two public samples."""
        if min(len(rows) for rows in public.rows_by_class()) < 2:
            raise ValueError("a class has one public sample, and a distribution needs two; raise public_fraction")

    def train(self, public: PublicData, executor: Executor, precision: torch.dtype) -> MixtureSampler:
        """As in `Generator`; it is fitted at once."""
        images = public.dataset.train.x
        assert isinstance(images, Tensor)
        by_class = [images[torch.from_numpy(rows)].flatten(1).double().numpy() for rows in public.rows_by_class()]
        fewest = min(len(own) for own in by_class)
        count, kept = min(self.components, fewest), min(self.dimensions, fewest - 1, by_class[0].shape[1])
        fitted = [self._fit(own, count, kept, public.streams, label) for label, own in enumerate(by_class)]
        arrays = zip(*fitted, strict=True)
        shares, means, loadings = (torch.from_numpy(np.stack(each)).to(precision) for each in arrays)
        everything = np.concatenate(by_class)
        bounds = float(everything.min()), float(everything.max())
        return MixtureSampler(
            self, tuple(images.shape[1:]), bounds, {"shares": shares, "means": means, "loadings": loadings}
        )

    def _fit(self, x: Floats, count: int, kept: int, streams: Streams, label: int) -> tuple[Floats, Floats, Floats]:
        """Shares (count,), means (count, pixels) and loadings (count, pixels, kept) of the Gaussians of a class."""
        from sklearn.decomposition import PCA  # imported here, because that takes seconds
        from sklearn.mixture import GaussianMixture as Mixture
        from threadpoolctl import threadpool_limits

        seed = streams.key("gaussian mixture", label) % 2**32
        with threadpool_limits(1):  # sums of several threads depend on their number
            axes = PCA(kept, svd_solver="full").fit(x)
            mixture = Mixture(count, reg_covar=self.regularisation, init_params="k-means++", random_state=seed)
            mixture.fit(axes.transform(x))
            loadings = axes.components_.T @ np.linalg.cholesky(mixture.covariances_)
            return mixture.weights_, axes.inverse_transform(mixture.means_), loadings


class MixtureSampler(NamedTuple):
    """A fitted mixture."""

    described: GaussianMixture
    shape: tuple[int, ...]
    """Shape of a sample."""
    bounds: tuple[float, float]
    """Smallest and largest pixel of the public samples."""
    parameters: dict[str, Tensor]
    """`shares` of the Gaussians of each class, (classes, count); their `means`, (classes, count, pixels); `loadings`
    (classes, count, pixels, kept), which map standard normal numbers to deviations from the means."""

    def sampling(self, labels: NDArray[np.int64], streams: Streams, *entity: int | str) -> Sampling:
        """As in `Sampler`."""
        means, kept = self.parameters["means"], self.parameters["loadings"].shape[-1]
        u = Draw(streams, "generated", entity, (len(labels), 1 + kept), means.dtype)
        given = self.described.flops_per_sample, self.shape, self.bounds, self.parameters
        return drawn, *given, torch.from_numpy(labels), u


def drawn(
    flops_per_sample: int | None,
    shape: tuple[int, ...],
    bounds: tuple[float, float],
    parameters: dict[str, Tensor],
    labels: Tensor,
    u: Tensor,
) -> Tensor:
    """Draw samples (n, *shape) from the mixtures of their classes.

    Args:
        flops_per_sample: FLOPs that are charged for a sample; None for those of its matrix product.
        shape: shape of a sample.
        bounds: smallest and largest pixel; samples are clipped to them.
        parameters: of the Gaussians, as in `MixtureSampler`.
        labels: classes, (n,).
        u: uniform numbers in [0, 1), (n, 1 + kept): the first of a row chooses the Gaussian.
    """
    ends, means, loadings = parameters["shares"].cumsum(1), parameters["means"], parameters["loadings"]
    which = (u[:, :1] >= ends.index_select(0, labels)[:, :-1]).sum(1)
    place = labels * ends.shape[1] + which
    chosen, z = loadings.flatten(0, 1).index_select(0, place), standard_normal(u[:, 1:])
    charge_elementwise(flops_per_sample or 0, labels)
    with nullcontext() if flops_per_sample is None else uncharged():
        deviation = torch.bmm(chosen, z[:, :, None])[:, :, 0]
    return (means.flatten(0, 1).index_select(0, place) + deviation).clamp(*bounds).reshape(len(labels), *shape)
