"""Rankings of edges by signed effects."""

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
    """An order whose first n edges, for every n, are a share of n by signed score and the rest by absolute.

    Nikankin et al. 2025 (arXiv:2510.25786) mix positive and absolute scores in such a ratio; that one order
    serves every n is ours.

    Args:
        scores: absolute scores.
        signed: the same scores with their signs.
        exists: where edges exist.
        share: share of edges taken by signed score, from 0 to 1.

    Returns:
        Scores that give this order: 0 for the first edge, -1 for the next; the lowest where there is no edge.
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
        while place < 0 or place in taken:  # the latter if it was taken by absolute score before
            place = next(others)
        taken.add(place)
        ranks.view(-1)[place] = -float(n)
    return ranks


def sign_kept(mean: Float[Tensor, "*any"], variance_of_mean: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    """The share of bootstrap samples in which a mean keeps its sign, by the normal approximation.

    Args:
        mean: mean over the examples.
        variance_of_mean: variance of its bootstrap distribution.
    """
    kept: Tensor = torch.special.ndtr(mean.abs() / variance_of_mean.clamp(min=1e-300).sqrt())
    return kept
