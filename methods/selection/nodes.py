"""Scores of whole nodes."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def by_sender(
    scores: Float[Tensor, "receivers senders"], exists: Bool[Tensor, "receivers senders"]
) -> Float[Tensor, "receivers senders"]:
    """For every edge, the sum of the scores of all edges that leave its sender.

    If scores are first-order effects, this is the effect of ablating the node's output wherever it is read.

    Args:
        scores: signed scores of edges.
        exists: where edges exist.
    """
    return torch.where(exists, scores, 0).sum(0, keepdim=True).expand_as(scores).clone()
