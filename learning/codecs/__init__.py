"""Codecs: the size of a message on the wire, and what its receiver decodes. A scenario can name those in `CODECS`.

Codecs compose: a `Chain` encodes what a sparse message keeps, and a `Bundle` has a codec for each part of a message.
"""

from learning.codecs.analogue import Analogue, Number, Received, size_symbols
from learning.codecs.codec import Codec, FixedWidth, Identity, Lossless
from learning.codecs.compose import Bundle, Chain, size_bits
from learning.codecs.quantise import Cast, Uniform, quantiser
from learning.codecs.sparse import KeptActivations, KeptWeights, Sparse

CODECS: dict[str, type] = {"identity": Identity, "uniform": Uniform, "cast": Cast, "analogue": Analogue}

__all__ = [
    "CODECS",
    "Analogue",
    "Bundle",
    "Cast",
    "Chain",
    "Codec",
    "FixedWidth",
    "Identity",
    "KeptActivations",
    "KeptWeights",
    "Lossless",
    "Number",
    "Received",
    "Sparse",
    "Uniform",
    "quantiser",
    "size_bits",
    "size_symbols",
]
