"""FedAlign-MoE: federated training of mixtures of experts in which routing and experts are aligned."""

from learning.schemes.fedalign_moe.scheme import FedAlignMoE

__all__ = ["FedAlignMoE"]
