"""Orders of edges made of effects with signs."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def with_positive(
    scores: Float[Tensor, "receivers senders"],
    signed: Float[Tensor, "receivers senders"],
    exists: Bool[Tensor, "receivers senders"],
    share: float,
) -> Float[Tensor, "receivers senders"]:
    """An order whose first n edges, for every n, are the best by sign, a share of n, and the best by score.

    Nikankin et al. 2025 (arXiv:2510.25786) take positive and absolute scores in such a ratio; that one order
    serves every n is ours.

    Args:
        scores: the absolute ones.
        signed: the same with their signs.
        exists: where edges are.
        share: from 0 to 1.

    Returns:
        Scores of that order: 0 for the first, -1 for the next; elsewhere than at edges the lowest.
    """
    places = exists.flatten().nonzero()[:, 0]
    by_sign, by_score = (
        places[values.flatten()[places].argsort(descending=True, stable=True)].tolist()
        for values in (signed, scores)
    )
    ranks = torch.full(exists.shape, -float(len(places)), dtype=torch.float64)
    taken: set[int] = set()
    others, n_signed = iter(by_score), 0
    for n in range(len(places)):
        place = by_sign[n_signed] if n_signed < share * (n + 1) else -1
        n_signed += place >= 0
        while place < 0 or place in taken:  # also where it was among the best by score before
            place = next(others)
        taken.add(place)
        ranks.view(-1)[place] = -float(n)
    return ranks


def sign_kept(mean: Float[Tensor, "*any"], variance_of_mean: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    """The share of bootstrap samples in which a mean has its sign, by the normal approximation.

    Args:
        mean: over the examples.
        variance_of_mean: as wide as its bootstrap distribution.
    """
    kept: Tensor = torch.special.ndtr(mean.abs() / variance_of_mean.clamp(min=1e-300).sqrt())
    return kept
