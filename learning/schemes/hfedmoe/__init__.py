"""HFedMoE: federated fine-tuning of mixtures of experts, each device training as many experts as it can afford."""

from learning.schemes.hfedmoe.scheme import HFedMoE

__all__ = ["HFedMoE"]
