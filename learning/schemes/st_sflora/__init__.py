"""Split federated fine-tuning in one direction: tokens up, nothing but control down."""

from learning.schemes.st_sflora.scheme import STSFLora
from learning.schemes.st_sflora.standing import Standing

__all__ = ["STSFLora", "Standing"]
