"""Where models run, and how much fits there."""

from __future__ import annotations

import warnings

import torch

from bench.errors import UsageError

HOST_BATCH = 2**28
"""Bytes that the senders and receivers of one batch may take in main memory."""


def check_device(name: str) -> None:
    """Refuses a device that does not exist or cannot compute.

    Raises:
        UsageError: torch does not know the name, no such device is available, or it holds no values.
    """
    try:
        with warnings.catch_warnings(action="ignore"):  # about deprecated names
            device = torch.device(name)
            if device.type == "cpu" and device.index:
                raise RuntimeError("there is only one cpu")  # torch accepts any index
            torch.ones(2, device=device).sum().item()
    except (RuntimeError, AssertionError, ImportError, AttributeError) as error:  # depends on the backend
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UsageError(
            f"the device '{name}' cannot be used ({reason}): leave --device out to use the CPU"
        ) from error


def batch_bytes(device: torch.device) -> int:
    """Bytes that one batch may take: on a GPU a quarter of the free memory, otherwise `HOST_BATCH`."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(free) // 4
    return HOST_BATCH
