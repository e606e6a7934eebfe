"""Devices on which operations are computed: the CPU, or a GPU by CUDA."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch

DeviceName = Literal["cpu", "cuda"]
"""Names of devices in scenarios."""


def device_of(name: DeviceName) -> torch.device:
    """The device of this name. Raises ValueError if torch finds none."""
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"torch {torch.__version__} finds no GPU here, so cuda is not possible; cpu is allowed")
    return torch.device(name, torch.cuda.current_device()) if name == "cuda" else torch.device(name)


def of_device(device: torch.device) -> tuple[str, ...]:
    """What of a device belongs to the key of a value: kind of GPU, and version of CUDA; nothing of a CPU."""
    return (torch.cuda.get_device_name(device), str(torch.version.cuda)) if device.type == "cuda" else ()


@contextmanager
def computing_on(device: torch.device) -> Iterator[None]:
    """Context in which new tensors are on a device, and a GPU gives the same bits again for the same call.

    The bits of a GPU are not those of a CPU, and may depend on which operations were computed together.
    """
    if device.type == "cpu":
        yield
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # else matrix products may differ between two runs
    with device, torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
        yield
