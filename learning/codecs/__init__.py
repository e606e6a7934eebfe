"""Codecs: how large a message is on the wire, and what its receiver sees. Those in `CODECS` can be named in a scenario.

They compose: a `Chain` encodes what a sparse message keeps, and a `Bundle` has a codec for each part of a message.
"""

from learning.codecs.codec import Codec, FixedWidth, Identity, Lossless
from learning.codecs.compose import Bundle, Chain, size_bits
from learning.codecs.quantise import Cast, Uniform, quantiser
from learning.codecs.sparse import KeptActivations, KeptWeights, Sparse

CODECS: dict[str, type] = {"identity": Identity, "uniform": Uniform, "cast": Cast}

__all__ = [
    "CODECS",
    "Bundle",
    "Cast",
    "Chain",
    "Codec",
    "FixedWidth",
    "Identity",
    "KeptActivations",
    "KeptWeights",
    "Lossless",
    "Sparse",
    "Uniform",
    "quantiser",
    "size_bits",
]
