"""The best entries of a ranking."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Num
from torch import Tensor


def n_best(scores: Num[Tensor, "*any"], n: int) -> Bool[Tensor, "*any"]:
    """The n highest-scoring entries; ties go to the first ones, and -inf is never selected.

    Same as the first n of a stable sort, but in the time of a selection, since gates of weights are many.
    """
    flat = scores.flatten()
    n = min(n, int((flat > -torch.inf).sum()))
    if not n:
        return torch.zeros_like(scores, dtype=torch.bool)
    least = flat.topk(n).values[-1]
    above, tied = flat > least, flat == least
    return (above | (tied & (tied.cumsum(0) <= n - above.sum()))).view_as(scores)
