"""Where a stage computes: the processor, its precision, its memory; one code path for all.

Stages save CPU tensors, so the device is no part of an artifact's key; the precision is.
"""

from __future__ import annotations

import os
import re
import sys
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from latentcrs_utils.config import Precision
from latentcrs_utils.errors import ConfigError

if TYPE_CHECKING:
    import torch


def choose_device(name: str | None = None) -> torch.device:
    """Return the device "cpu", "cuda", "cuda:1"; else that of ``LATENTCRS_DEVICE``, a GPU, the CPU.

    Each process on a machine gets a GPU of its own. ConfigError: another name, or no such GPU.
    """
    import torch

    n_gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    wanted = name or os.environ.get("LATENTCRS_DEVICE") or ("cuda" if n_gpus else "cpu")
    if wanted == "cpu":
        return torch.device("cpu")
    if (found := re.fullmatch(r"cuda(?::(\d+))?", wanted)) is None:
        raise ConfigError(f"device={wanted!r} is not one of cpu, cuda, cuda:0, cuda:1, …")
    number = int(found[1] or os.environ.get("LOCAL_RANK", 0))
    if number >= n_gpus:
        advice = "start fewer processes, or use device='cpu' (or LATENTCRS_DEVICE=cpu)"
        asked = f"device={wanted!r} asks for GPU {number}, but PyTorch sees {n_gpus}"
        raise ConfigError(f"{asked} on this machine: {advice}.")
    return torch.device("cuda", number)


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[object]:
    """Give matrix products this precision; weights, sums and losses stay float32."""
    import torch

    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")


def peak_memory(device: torch.device) -> int:
    """Return the most bytes in use at once: on a GPU since its reset, else ever (0 on Windows)."""
    if device.type == "cuda":
        import torch

        return torch.cuda.max_memory_allocated(device)
    if sys.platform == "win32":
        return 0
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # macOS counts bytes, Linux KiB
    return peak if sys.platform == "darwin" else peak * 1024
