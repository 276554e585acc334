"""Where to cut a ranking when no size is requested: where the sum of loss and price is smallest."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache

import torch
from jaxtyping import Bool
from torch import Tensor

from methods.base import Batch, Objective, Problem

GROWTH, FINE = 1.05, 50
"""Ratio between the sizes tried first, and how many sizes are tried around the best of them."""
CUT_ON = 256
"""Maximum number of discovery prompts on which a size is chosen."""
Edges = Bool[Tensor, "receivers senders"]


def cheapest_cut(cost: Callable[[int], float], n_edges: int) -> int:
    """The number from 0 to n_edges with the least cost, on a coarse grid, then around its best point."""
    known = cache(cost)
    grid = [0, *sorted({round(GROWTH**k) for k in range(math.ceil(math.log(n_edges, GROWTH)))}), n_edges]
    at = grid.index(min(grid, key=known))
    low, high = grid[max(at - 1, 0)], grid[min(at + 1, len(grid) - 1)]
    between = range(low, high + 1, max(1, (high - low) // FINE))
    best: int = min([grid[at], *between], key=known)
    return best


def cheapest(
    problem: Problem, loss: Callable[[Edges], float], best: Callable[[int], Edges], price: float
) -> Edges:
    """The n best edges of a ranking, for the n that minimises loss plus price.

    Args:
        problem: the problem to solve; progress is reported to it.
        loss: returns the loss of a circuit.
        best: returns the n best edges.
        price: price of an edge, in units of the loss.
    """
    n_edges = problem.graph.n_edges

    def cost(n: int) -> float:
        problem.progress(n, n_edges, "unaided: choosing the number of edges")
        return loss(best(n)) + price * n

    return best(cheapest_cut(cost, n_edges))


@torch.no_grad()
def mean_loss(problem: Problem, objective: Objective, kept: Edges, batches: Sequence[Batch]) -> float:
    """The mean loss of a circuit per example.

    Args:
        problem: the problem whose model is run.
        objective: the loss.
        kept: the circuit's edges.
        batches: the examples.
    """
    losses = [problem.loss(objective, problem.run(b, kept.float()), b).item() for b in batches]
    return sum(losses) / sum(map(len, batches))
