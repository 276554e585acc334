"""A null that is like a circuit in everything but which edges it has: some of them lead elsewhere."""

from __future__ import annotations

from collections import defaultdict

import torch
from torch import Generator

from bench.engine.circuit import Circuit
from bench.engine.graph import EdgeGraph

SHARE = 0.2
"""Share of a circuit's edges that are rewired."""


def rewired(circuit: Circuit, generator: Generator, share: float = SHARE) -> Circuit:
    """A circuit with a share of its edges, at least one, replaced by others that it lacks.

    An edge is replaced by one whose ends are of the same kinds and layers, so the two circuits have as many
    edges of each sort. An edge that is the only one of its sort stays (from one MLP to another), so fewer, or
    none, may be rewired. Weight masks stay.

    Args:
        circuit: the circuit to rewire.
        generator: draws which edges go, and which come.
        share: of its edges.
    """
    graph, kept = circuit.graph, circuit.kept.clone()
    free: dict[tuple[object, ...], list[tuple[int, int]]] = defaultdict(list)
    for row, column in (graph.exists & ~circuit.kept).nonzero().tolist():
        free[_sort(graph, row, column)].append((row, column))
    present = circuit.kept.nonzero().tolist()
    left = max(1, round(share * len(present)))
    for at in torch.randperm(len(present), generator=generator).tolist():
        row, column = present[at]
        if left and (others := free[_sort(graph, row, column)]):
            other = others.pop(int(torch.randint(len(others), (), generator=generator)))
            kept[row, column], kept[other] = False, True
            left -= 1
    return Circuit(graph, kept, circuit.weights)


def _sort(graph: EdgeGraph, row: int, column: int) -> tuple[object, ...]:
    receiver, sender = graph.receivers[row], graph.senders[column]
    return receiver.kind, receiver.layer, receiver.port, sender.kind, sender.layer
