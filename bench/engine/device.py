"""Where models run, and how much fits there."""

from __future__ import annotations

import torch

from bench.errors import UsageError

HOST_BATCH = 2**28
"""Bytes that the senders and receivers of one batch may take in main memory."""


def check_device(name: str) -> None:
    """Refuses a device that is not there.

    Raises:
        UsageError: torch does not know the name, or no such device is at hand.
    """
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(
            f"the device '{name}' cannot be used ({reason}): leave --device out for cpu"
        ) from error


def batch_bytes(device: torch.device) -> int:
    """What one batch may take: on a GPU a quarter of what is free, otherwise `HOST_BATCH`."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(free) // 4
    return HOST_BATCH
