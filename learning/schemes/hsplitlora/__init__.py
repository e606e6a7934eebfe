"""Heterogeneous split fine-tuning of adapters: important weights, ranks and cuts by budget, noise-free aggregation."""

from learning.schemes.hsplitlora.scheme import HSplitLoRA

__all__ = ["HSplitLoRA"]
