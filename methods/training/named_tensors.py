"""Groups of named tensors in one flat mapping, as a checkpoint stores them."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor


def flat(groups: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """All groups in one mapping, keyed by ``group.name``."""
    return {f"{group}.{name}": t for group, tensors in groups.items() for name, t in tensors.items()}


def under(group: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """One group from a flat mapping, without the group prefix."""
    start = f"{group}."
    return {name.removeprefix(start): t for name, t in tensors.items() if name.startswith(start)}
