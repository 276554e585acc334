"""Circuits of several sizes; one that does worse than the next smaller one is replaced by it, grown."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch

from methods.base import Batch, Objective, Problem
from methods.thresholds.best import n_best
from methods.thresholds.cheapest_cut import Edges, mean_loss

FLAT = 1e-5
"""Slopes below this share of the steepest count as 0."""


def none_worse(
    problem: Problem,
    objective: Objective,
    circuits: Mapping[int, Edges],
    candidates: Edges,
    batches: Sequence[Batch],
) -> dict[int, Edges]:
    """The circuits from small to large; one with a higher loss than the one before becomes that one, grown.

    Args:
        problem: the problem whose model is run; progress is reported to it.
        objective: the loss.
        circuits: circuits by number of edges.
        candidates: edges that may be added.
        batches: the examples on which losses are measured.
    """
    found: dict[int, Edges] = {}
    smaller, before = candidates & False, math.inf
    for i, n in enumerate(sorted(circuits)):
        problem.progress(i, len(circuits), "checking that no circuit does worse than a smaller one")
        kept, loss = circuits[n], mean_loss(problem, objective, circuits[n], batches)
        if loss > before:
            kept = grown(problem, objective, smaller, n, candidates, batches)
            loss = mean_loss(problem, objective, kept, batches)
        found[n] = smaller = kept
        before = loss
    return found


def grown(
    problem: Problem,
    objective: Objective,
    kept: Edges,
    n: int,
    candidates: Edges,
    batches: Sequence[Batch],
) -> Edges:
    """A circuit grown to n edges by adding those along which its loss falls most steeply.

    Args:
        problem: the problem whose model is run.
        objective: the loss.
        kept: the circuit.
        n: number of edges in the result.
        candidates: edges that may be added.
        batches: the examples on which slopes are measured.
    """
    mask = kept.float().requires_grad_()
    slope = torch.zeros_like(mask)
    for part in batches:
        loss = problem.loss(objective, problem.run(part, mask), part)
        slope += torch.autograd.grad(loss, mask)[0]
    slope[slope.abs() < FLAT * slope.abs().max()] = 0  # otherwise rounding would rank idle edges
    order = (-slope).masked_fill(~candidates, -math.inf).masked_fill(kept, math.inf)
    return n_best(order, n)
