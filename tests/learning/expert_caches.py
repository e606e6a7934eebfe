"""Random placement problems."""

from itertools import combinations

import numpy as np

from learning.control.placement import Activations, PlacementProblem


def random_problem(
    seed: int,
    users: int = 3,
    servers: int = 2,
    layers: int = 2,
    experts: int = 3,
    top_k: int = 1,
    storage: int = 2,
    equal_sizes: bool = True,
) -> PlacementProblem:
    """Servers that hold `storage` experts of mean size; every set of K experts is activated, some far more often."""
    rng = np.random.default_rng(seed)
    sets = np.array(list(combinations(range(experts), top_k)))
    user, layer = np.indices((users, layers)).reshape(2, -1)
    sizes = np.full((layers, experts), 4) if equal_sizes else rng.integers(1, 8, (layers, experts))
    return PlacementProblem(
        size_bytes=sizes,
        storage_bytes=np.full(servers, 4 * storage),
        server_s=rng.uniform(0.1, 1.2, (users, servers)),
        cloud_s=rng.uniform(0.8, 2.0, users),
        device_s=rng.uniform(0.05, 1.0, users),
        held=rng.random((users, layers, experts)) < 0.15,
        activations=Activations(
            user=np.repeat(user, len(sets)),
            layer=np.repeat(layer, len(sets)),
            experts=np.tile(sets, (len(user), 1)),
            probability=(rng.dirichlet(np.full(len(sets), 0.4), len(user)) / users).ravel(),
        ),
    )
