"""Whether a scenario can train a model with layers that compute something else in evaluation, such as dropout."""

from __future__ import annotations

from learning.description import LearningDescription
from learning.executor.deferred import specification
from learning.models import Multimodal, Segment
from learning.models.segment import draw_shapes
from learning.policies import Buffered
from learning.schemes import SCHEMES
from learning.world import World
from scenarios.field_errors import field_errors


def check_training_layers(learning: LearningDescription, model: Segment | Multimodal) -> None:
    """Raises ValueError where such layers are in a model, and the scheme or something else cannot train them."""
    parts = model.parts if isinstance(model, Multimodal) else (model,)
    segments = [part for part in parts if isinstance(part, Segment)]
    layers = {name: layer for part in segments for name, layer in part.training_layers.items()}
    for name, layer in layers.items():
        what = f"layer {name} of the model ({type(layer).__name__})"
        if not learning.scheme.training_layers:
            schemes = ", ".join(name for name, scheme in SCHEMES.items() if scheme.training_layers)
            raise ValueError(f"{what} computes something else in training, and the scheme cannot; {schemes} can")
        for field in ("towers", "adapter", "pretraining"):
            if getattr(learning, field):
                raise ValueError(f"{what} cannot be together with learning.{field}; leave one of them out")
    norms = [name for part in segments for name in part.norms(statistics=True)]
    if norms and isinstance(learning.policy, Buffered):
        raise ValueError(
            f"the policy buffered adds differences of models, which could make the variance {norms[-1]} negative; "
            "asynchronous, or a policy in rounds, is allowed"
        )
    if learning.batch_norm != "averaged":
        with field_errors("learning", "batch_norm"):
            _check_own(learning, norms)


def _check_own(learning: LearningDescription, norms: list[str]) -> None:
    if not norms:
        raise ValueError("the model has no batch normalisation with running statistics; averaged is the default")
    if not learning.scheme.own_norms:
        schemes = ", ".join(name for name, scheme in SCHEMES.items() if scheme.own_norms)
        raise ValueError(f"the scheme averages all layers alike; {schemes} can leave some to users")


def check_smallest_batches(world: World) -> None:
    """Raises ValueError where batch normalisation would get a mini-batch with one value of each channel."""
    if not isinstance(world.whole, Segment) or not world.whole.norms():
        return
    parameters = {name: value.to(world.precision) for name, value in world.whole.parameters().items()}
    for user in world.users[:1] if world.lazy else world.users:
        (size,) = user.batches.sizes(range(user.batches.per_epoch - 1, user.batches.per_epoch))
        x = specification(user.batches.at(0)[0]).leaves[0]
        try:
            draw_shapes(world.whole, parameters, x[:size])
        except ValueError as problem:
            raise ValueError(f"user {user.number} has a mini-batch of {size}: {problem}") from problem
