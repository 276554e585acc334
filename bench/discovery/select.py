"""From a score per edge to circuits of a requested size."""

from __future__ import annotations

import heapq

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from bench.engine.circuit import Circuit
from bench.engine.graph import EdgeGraph
from methods.thresholds.best import n_best


def top(
    graph: EdgeGraph, scores: Float[Tensor, "receivers senders"], n: int
) -> Bool[Tensor, "receivers senders"]:
    """The n edges of highest score; ties go to the edge computed first.

    Args:
        graph: the model's.
        scores: finite, read where edges exist.
        n: edges, as `edges_of_share` counts them.
    """
    return n_best(torch.where(graph.exists, scores, -torch.inf), n)


def filled(
    graph: EdgeGraph,
    kept: Bool[Tensor, "receivers senders"],
    scores: Float[Tensor, "receivers senders"],
    n: int,
) -> Bool[Tensor, "receivers senders"]:
    """A circuit of fewer than n edges, filled up to n with the others of highest score.

    Args:
        graph: the model's.
        kept: a circuit; one of n edges or more stays as it is.
        scores: finite, read where edges exist.
        n: edges, as `edges_of_share` counts them.
    """
    missing = n - int(kept.sum())
    if missing <= 0:
        return kept
    return kept | n_best(torch.where(graph.exists & ~kept, scores, -torch.inf), missing)


def greedy(
    graph: EdgeGraph, scores: Float[Tensor, "receivers senders"], n: int
) -> Bool[Tensor, "receivers senders"]:
    """Grows from the logits: of all edges into nodes already in the circuit, the best one, n times.

    Every edge then leads to the logits, but a small circuit may not reach back to the embedding
    (Hanna et al. 2024, arXiv:2403.17806, section 3.2).

    Args:
        graph: the model's.
        scores: higher is kept sooner; read where edges exist.
        n: edges, as `edges_of_share` counts them.
    """
    kept = torch.zeros_like(graph.exists)
    owners = graph.owners.bool()
    values = scores.double().tolist()
    frontier: list[tuple[float, int, int]] = []
    entered: set[int] = set()

    def enter(rows: list[int]) -> None:
        for row in rows:
            if row not in entered:
                entered.add(row)
                for column in range(int(graph.widths[row])):
                    heapq.heappush(frontier, (-values[row][column], row, column))

    enter((owners.sum(1) == 0).nonzero()[:, 0].tolist())  # the logits
    for _ in range(n):
        if not frontier:
            break
        _, row, column = heapq.heappop(frontier)
        kept[row, column] = True
        enter(owners[:, column].nonzero()[:, 0].tolist())
    return kept


def nodes(
    graph: EdgeGraph, scores: Float[Tensor, "receivers senders"], n: int
) -> Bool[Tensor, "receivers senders"]:
    """All edges among the best heads and MLPs: as many nodes as fit in n edges.

    A head or MLP is as good as its best outgoing edge. In general a circuit has fewer edges than requested,
    because the next node would add too many.

    Args:
        graph: the model's.
        scores: finite, read where edges exist.
        n: edges, as `edges_of_share` counts them.
    """
    best = torch.where(graph.exists, scores, -torch.inf).amax(0)[graph.n_embed :]
    order = best.argsort(descending=True, stable=True) + graph.n_embed
    kept = torch.zeros(len(graph.senders), dtype=torch.bool)
    within = torch.zeros_like(graph.exists)
    for added in ([], *([column] for column in order.tolist())):
        kept[added] = True
        more = Circuit.of_nodes(graph, kept).kept
        if int(more.sum()) > n:
            break
        within = more
    return within


SELECTIONS = {"top": top, "greedy": greedy, "nodes": nodes}
"""By the name in `Discovery.selection`."""
