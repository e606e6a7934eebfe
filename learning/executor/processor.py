"""The processor as far as bits depend on it: what it can do, and what libraries are told to use of it."""

import os
from typing import Any

import torch

from learning.executor.reproducible import VARIABLE

ISA_VARIABLES = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")
"""Environment variables that limit oneDNN, which computes convolutions, to an instruction set; the first one counts."""


def name() -> str:
    """Name of the processor, as it gives it itself."""
    return str(torch.cpu.get_capabilities().get("cpu_name", "unknown"))


def arithmetic() -> dict[str, Any]:
    """What the bits of results depend on, as plain values.

    Returns:
        instructions: names of the instruction sets that the processor has, sorted.
        torch: instruction set of torch's own kernels, which the environment may limit (ATEN_CPU_CAPABILITY).
        onemkl: how oneMKL, which computes matrix products, is made reproducible (MKL_CBWR).
        onednn: instruction set that oneDNN is limited to; empty if it is not.
    """
    has = torch.cpu.get_capabilities()
    return {
        "instructions": sorted(capability for capability, there in has.items() if there is True),
        "torch": torch.backends.cpu.get_cpu_capability(),
        "onemkl": os.environ[VARIABLE],
        "onednn": next((os.environ[limit].upper() for limit in ISA_VARIABLES if os.environ.get(limit)), ""),
    }
