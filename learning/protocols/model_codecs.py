"""Codecs of the models that users download and upload."""

from __future__ import annotations

from dataclasses import dataclass

from learning.codecs import Analogue, Codec, Identity


@dataclass(frozen=True)
class ModelCodecs:
    """Codecs of the weights that are sent between users and servers: all of a model, or the adapters that train.

    As in training with mixed precision, whoever computes does so in `learning.precision`, on what it has decoded, and
    the server's own copy is not rounded. Edge servers forward models over the backhaul as they are.
    """

    download: Codec = Identity()
    """Codec from the server to a user, whose local round begins with what it decodes."""
    upload: Codec = Identity()
    """Codec from a user to the server, which averages what it decodes."""

    def __post_init__(self) -> None:
        if isinstance(self.download, Analogue) or isinstance(self.upload, Analogue):
            raise ValueError("models are sent in bits; identity, uniform, cast are allowed, not analogue")
