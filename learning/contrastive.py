"""Contrastive loss between features of the same samples."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def contrastive(queries: Tensor, keys: Tensor, temperature: float, present: Tensor | None = None) -> Tensor:
    """Contrastive loss of normalised features (samples, width): cross-entropy of each query with the key of its sample.

    Args:
        queries: features of one kind.
        keys: features of another kind.
        temperature: divides the scalar products, which are the logits.
        present: which samples have both, bool (samples,); others have no loss and are no keys (default: all). Without
            any the loss is 0.
    """
    # InfoNCE: van den Oord et al., arXiv 1807.03748.
    logits = queries @ keys.T / temperature
    own = torch.arange(len(logits), device=logits.device)
    if present is None:
        return F.cross_entropy(logits, own)
    others = ~present & ~torch.eye(len(logits), dtype=torch.bool, device=logits.device)
    losses = F.cross_entropy(logits.masked_fill(others, -torch.inf), own, reduction="none")
    return torch.where(present, losses, torch.zeros_like(losses)).sum() / present.sum().clamp(min=1)
