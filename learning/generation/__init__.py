"""Generators: models of the distribution of labelled samples, which a server trains on public data and samples from."""

from learning.generation.diffusion import Diffusion
from learning.generation.generator import Generator, Sampler
from learning.generation.mixture import GaussianMixture
from learning.generation.oracle import Oracle

GENERATORS: dict[str, type] = {"gmm": GaussianMixture, "diffusion": Diffusion, "oracle": Oracle}

__all__ = ["GENERATORS", "Diffusion", "GaussianMixture", "Generator", "Oracle", "Sampler"]
