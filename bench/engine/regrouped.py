"""Converts circuits and scores between keys and values counted per group of heads and per query head.

Under grouped-query attention several query heads compute from one key and one value. The model is the same
whether these count once a group or once a head (`MaskedModel.with_kv_per_head`), so an edge into a group's
key says as much as the same edge into the key of each of its heads. The other way, a group's heads must
agree.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Shaped
from torch import Tensor

from bench.engine.circuit import Circuit
from bench.engine.graph import EdgeGraph


class OtherGraph(ValueError):
    """Edges of two graphs that are not those of one model."""


class DisagreeingGroup(ValueError):
    """Heads of a group of which one has what another has not: there is no such circuit per group."""


def regrouped(circuit: Circuit, graph: EdgeGraph) -> Circuit:
    """A circuit, with its masks of weights, as one of another graph of the same model.

    Raises:
        DisagreeingGroup: heads of a group do not agree; the first edge or weight is named.
        OtherGraph: the graphs differ in more than how keys and values are counted.
    """
    kept = regrouped_edges(circuit.kept, circuit.graph, graph)
    weights = {
        name: _moved(mask, circuit.graph, graph, name) if name.endswith(("W_QKV", "b_QKV")) else mask
        for name, mask in circuit.weights.items()
    }
    return Circuit(graph, kept, weights)


def regrouped_edges(
    edges: Shaped[Tensor, "receivers senders"], source: EdgeGraph, target: EdgeGraph
) -> Shaped[Tensor, "others senders"]:
    """A mask or scores of one graph's edges as those of another.

    Where no edge is there is 0 afterwards. Which heads share a norm of what they write
    (`EdgeGraph.coupled_heads`) is no matter of edges: files of other programs do not say it.

    Args:
        edges: of the source.
        source: the graph that they are of.
        target: the graph that is wanted.

    Raises:
        DisagreeingGroup, OtherGraph: as `regrouped`.
    """
    if replace(source.per_head, coupled_heads=target.coupled_heads) != target.per_head:
        raise OtherGraph(
            f"it belongs to another graph ({source.description}); this one is {target.description}"
        )
    return _moved(torch.where(source.exists, edges, torch.zeros_like(edges)), source, target)


def _moved(values: Tensor, source: EdgeGraph, target: EdgeGraph, weights: str = "") -> Tensor:
    """Rows of all receivers, or of a layer's weights of that name, from graph to graph."""
    n = 3 * source.n_heads if weights else None  # all layers have as many
    spread, rows = values[source.rows_per_head[:n]], target.rows_per_head[:n]
    first = torch.searchsorted(rows, torch.arange(int(rows[-1]) + 1))
    folded = spread[first]
    differs = (folded[rows] != spread).flatten(1)
    if differs.any():
        row, column = differs.nonzero()[0].tolist()
        raise DisagreeingGroup(_told(target, int(first[rows[row]]), row, column, weights))
    return folded


def _told(graph: EdgeGraph, one: int, other: int, column: int, weights: str) -> str:
    start = graph.per_head.attention_rows(int(weights[1:].partition(".")[0])).start if weights else 0
    first, second = (graph.per_head.receivers[start + row].name for row in (one, other))
    if weights:
        return f"the masks of {weights} differ in {first} and {second}, which are one where heads share them"
    edges = [f"{graph.senders[column].name}->{end}" for end in (first, second)]
    return f"{edges[0]} and {edges[1]} differ, but are one edge where heads share keys and values"
