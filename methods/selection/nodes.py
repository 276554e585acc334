"""Scores of whole nodes."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def by_sender(
    scores: Float[Tensor, "receivers senders"], exists: Bool[Tensor, "receivers senders"]
) -> Float[Tensor, "receivers senders"]:
    """For every edge the sum of the scores of all edges that leave its sender.

    Where scores are effects to first order it is that of ablating what the node writes, wherever it is read.

    Args:
        scores: of edges, with their signs.
        exists: where there are edges.
    """
    return torch.where(exists, scores, 0).sum(0, keepdim=True).expand_as(scores).clone()
