"""Initial gates from another method's ranking, on its best edges only."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from methods.base import Method, Problem
from methods.thresholds.best import n_best
from methods.training.within import within

SPREAD = 1.0
"""How far above the usual start the best edge's gate begins, and how far below it the last edge's."""


def warm_start(problem: Problem, method: Method, n: int, saved: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The `candidates` (the n best edges) and how far `above` the usual start each one's gate begins.

    Args:
        problem: the problem whose edges are ranked.
        method: the method that ranks them; it must not decline the problem.
        n: number of edges to keep.
        saved: the state that the method saved before it was killed; empty otherwise.

    Raises:
        ValueError: the method has no scores.
    """
    scores = method.discover(within(problem, "ranking", saved, {})).scores
    if scores is None:
        raise ValueError(f"warm_start: {method.name} returns no scores here: name another method")
    ranked = torch.where(problem.graph.exists, scores.cpu(), -torch.inf)
    candidates = n_best(ranked, n)
    order = ranked[candidates].argsort(descending=True, stable=True)
    placed = torch.zeros(len(order))
    placed[order] = torch.linspace(SPREAD, -SPREAD, len(order))
    return {"candidates": candidates, "above": torch.zeros(ranked.shape).masked_scatter(candidates, placed)}
