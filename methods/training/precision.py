"""The floating-point precision that a device supports."""

from __future__ import annotations

from functools import cache

import torch


@cache
def widest(device: torch.device) -> torch.dtype:
    """float64, or float32 on a device that has nothing wider, such as Apple's MPS."""
    try:
        torch.zeros((), dtype=torch.float64, device=device)
    except (TypeError, RuntimeError):
        return torch.float32
    return torch.float64
