"""Gates that begin where another method's ranking says, on its best edges alone."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from methods.base import Method, Problem
from methods.thresholds.best import n_best
from methods.training.within import within

SPREAD = 1.0
"""How far above the usual start the gate of the best edge begins, and how far below it that of the last."""


def warm_start(problem: Problem, method: Method, n: int, saved: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Candidates, the n best edges, and by how much each one's gate begins above the usual start.

    Args:
        problem: that is ranked.
        method: that ranks it, and does not decline.
        n: edges that are kept.
        saved: of a killed run, what the method had saved.

    Raises:
        ValueError: the method has no scores.
    """
    scores = method.discover(within(problem, "ranking", saved, {})).scores
    if scores is None:
        raise ValueError(f"warm_start: {method.name} has no scores here")
    ranked = torch.where(problem.graph.exists, scores.cpu(), -torch.inf)
    candidates = n_best(ranked, n)
    order = ranked[candidates].argsort(descending=True, stable=True)
    placed = torch.zeros(len(order))
    placed[order] = torch.linspace(SPREAD, -SPREAD, len(order))
    return {"candidates": candidates, "above": torch.zeros(ranked.shape).masked_scatter(candidates, placed)}
