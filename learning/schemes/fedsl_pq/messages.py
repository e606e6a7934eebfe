"""Messages across the cut under FedSL-PQ: activations and gradients, of which those are sent that dropout keeps."""

from __future__ import annotations

from dataclasses import replace
from math import ceil, log2
from typing import Literal

from learning.codecs import Bundle, Chain, Codec, FixedWidth, Identity, KeptActivations
from learning.draws import Draw
from learning.reducers.dropout import Dropout


def cut_codecs(
    dropout: Dropout, u: Draw | None, mask_coding: Literal["seed", "bitmap"], gradient: Codec, classes: int
) -> tuple[Bundle, Codec]:
    """Codecs of smashed data with labels, and of the cut-layer gradient.

    Args:
        dropout: dropout of the smashed data.
        u: its draws for the mini-batch; None without dropout.
        mask_coding: how the server learns which activations were dropped.
        gradient: codec of the elements of the cut-layer gradient.
        classes: number of classes, which determines the bits of a label.
    """
    labels = FixedWidth(ceil(log2(classes)))
    if u is None:
        return Bundle((Identity(), labels)), gradient
    kept = KeptActivations(dropout, u, mask_coding)
    return Bundle((kept, labels)), Chain(replace(kept, positions="known"), gradient)
