"""Random circuits: the baseline that a method has to beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from methods.base import Discovery, Graph, Method, Problem


@dataclass(frozen=True)
class RandomEdges(Method):
    """Edges drawn at random: all equally likely, or so that each lies on a path from input to logits.

    The connected kind is the fair baseline: most edges of a small uniform circuit are dead ends. It is
    not uniform over all connected circuits: edges at the input and at the logits are more frequent,
    since every path begins and ends there. The same seed gives the same circuits on every task.
    """

    name = "random_edges"
    description = "Random circuits, every edge on a path from the input to the logits, or uniform"
    citation = """@misc{circuitmark,
  title={circuitmark: a benchmark for circuit discovery},
  author={{The circuitmark authors}},
  year={2026}
}"""
    stochastic = True

    kind: Literal["connected", "uniform"] = "connected"
    """Whether every edge lies on a path from the input to the logits, or all edges are equally likely."""

    def discover(self, problem: Problem) -> Discovery:
        """Draws the circuits; uses no example and runs no model."""
        generator = torch.Generator().manual_seed(problem.seed)
        if self.kind == "uniform":
            scores = torch.rand(problem.graph.exists.shape, generator=generator)
            return Discovery(scores=scores, objective="none")
        edges = {}
        for done, size in enumerate(problem.sizes):
            n = problem.edges_of_share(size)
            edges[size] = connected(problem.graph, n, generator) > 0
            problem.progress(done + 1, len(problem.sizes))
        scores = connected(problem.graph, problem.graph.n_edges, generator)
        return Discovery(scores=scores, edges=edges, objective="none")


def connected(graph: Graph, n: int, generator: Generator) -> Float[Tensor, "receivers senders"]:
    """n random edges, each on a path from an embedding to the logits.

    Edges are visited in random order. Each is added together with a random path from the input to its
    sender and from its receiver to the logits, where these are not connected yet, if all of it fits.
    Near the end only edges between connected nodes fit, so the size is met exactly unless it is only a
    few edges.

    Args:
        graph: the model's graph.
        n: maximum number of edges.
        generator: source of all random draws.

    Returns:
        1 for the first edge, decreasing for later ones, 0 for edges left out: a ranking whose circuits
        are connected, except for the one path that a size may cut through.
    """
    exists, owners = graph.exists, graph.owners.bool()
    kept = torch.zeros_like(exists)
    scores = torch.zeros(exists.shape)
    fed = torch.arange(exists.shape[1]) < graph.n_embed
    reaching = torch.zeros(exists.shape[1], dtype=torch.bool)

    def pick(options: Tensor) -> list[int]:
        """A random True entry."""
        found = options.nonzero()
        return found[int(torch.randint(len(found), (), generator=generator))].tolist()

    candidates = exists.nonzero()
    candidates = candidates[torch.randperm(len(candidates), generator=generator)]
    size = 0
    for row, column in candidates.tolist():
        if size == n:
            break
        if kept[row, column]:
            continue
        path = [(row, column)]
        source = column
        while not fed[source]:  # back to a node that the input reaches
            read = exists & owners[:, [source]]
            entry, source = pick(read)
            path.append((entry, source))
        target = row
        while owners[target].any() and not (owners[target] & reaching).any():  # on to the logits
            (through,) = pick(owners[target])
            (target,) = pick(exists[:, through])
            path.append((target, through))
        if size + len(set(path)) > n:
            continue
        for entry, source in sorted(set(path)):
            if not kept[entry, source]:
                scores[entry, source] = 1 - size / graph.n_edges
                size += 1
            kept[entry, source] = True
            reaching[source] = True
            fed |= owners[entry]
    return scores
