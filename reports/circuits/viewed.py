"""Circuits as the page's viewer takes them: nodes with their positions, edges with their scores, per size."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reports.circuits.layout import box_of
from reports.parts.circuit import CircuitPair, Edge, Node

MOST = 100
"""The most circuits in a page; each takes a few kilobytes."""


@dataclass(frozen=True)
class Viewed:
    """The circuits of one run, the smallest first."""

    place: str
    """Task, model, ablation: circuits of one place share a graph and may be compared."""
    name: str
    """The method's label."""
    sizes: Sequence[tuple[str, frozenset[Edge]]]
    """The size requested, as tables show it, and the circuit's edges."""
    scores: Mapping[str, float]
    """The method's scores by edge name; empty if it has none."""
    larger: int = 0
    """How many of its circuits are too large to be drawn."""


def of_pairs(pairs: Sequence[CircuitPair]) -> list[Viewed]:
    """Each program's true circuit, then those that methods found; if several are true, one of them."""
    found: dict[tuple[str, str], Viewed] = {}
    for pair in pairs:
        place = f"{pair.program} · {pair.ablation}"
        found.setdefault((place, ""), Viewed(place, "true circuit", (("", frozenset(pair.truth)),), {}))
        found[place, pair.method] = Viewed(place, pair.method, (("", frozenset(pair.found)),), {})
    return sorted(found.values(), key=lambda each: each.place)


def told(circuits: Sequence[Viewed]) -> list[dict[str, Any]]:
    """For the page's script: each place with its nodes and, for each circuit, the edges.

    Places where all circuits are empty are left out. A node is its name, row, column and layer; rows count in
    computation order, columns from the middle. An edge is sender, receiver (node indices), name, score, and
    a bit mask of the sizes that contain it.
    """
    places: dict[str, list[Viewed]] = {}
    for circuit in circuits[:MOST]:
        places.setdefault(circuit.place, []).append(circuit)
    drawn = {at: theirs for at, theirs in places.items() if any(kept for c in theirs for _, kept in c.sizes)}
    return [{"place": place, **_place(theirs)} for place, theirs in drawn.items()]


def _place(circuits: Sequence[Viewed]) -> dict[str, Any]:
    edges = {edge for circuit in circuits for _, kept in circuit.sizes for edge in kept}
    nodes = sorted(
        {box_of(node) for edge in edges for node in (edge.sender, edge.receiver)},
        key=lambda node: (node.row, node.head or 0, node.name),
    )
    rows = {row: i for i, row in enumerate(sorted({node.row for node in nodes}))}
    heads = 1 + max((node.head or 0 for node in nodes if node.kind == "head"), default=0)
    number = {node: i for i, node in enumerate(nodes)}
    return {
        "nodes": [[node.name, rows[node.row], _column(node, nodes, heads), node.layer] for node in nodes],
        "circuits": [_circuit(circuit, number) for circuit in circuits],
    }


def _column(node: Node, nodes: Sequence[Node], heads: int) -> float:
    """A head's column follows from its number, whichever heads a circuit has."""
    if node.kind == "head":
        return (node.head or 0) - (heads - 1) / 2
    beside = [other for other in nodes if other.row == node.row]
    return 2 * (beside.index(node) - (len(beside) - 1) / 2)


def _circuit(circuit: Viewed, number: Mapping[Node, int]) -> dict[str, Any]:
    bits: dict[Edge, int] = {}
    for i, (_, kept) in enumerate(circuit.sizes):
        for edge in kept:
            bits[edge] = bits.get(edge, 0) | 1 << i
    edges = [
        [
            number[box_of(edge.sender)],
            number[box_of(edge.receiver)],
            edge.name,
            _score(circuit.scores, edge),
            held,
        ]
        for edge, held in sorted(bits.items(), key=lambda item: item[0].name)
    ]
    sizes = [size for size, _ in circuit.sizes]
    return {"name": circuit.name, "sizes": sizes, "larger": circuit.larger, "edges": edges}


def _score(scores: Mapping[str, float], edge: Edge) -> float | None:
    score = scores.get(edge.name, math.nan)
    return float(f"{score:.3g}") if math.isfinite(score) else None
