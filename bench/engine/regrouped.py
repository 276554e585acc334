"""Converts circuits and scores between keys and values counted per group of heads and per query head.

Under grouped-query attention several query heads compute from one key and one value. The model is the same
whether these count once per group or once per head (`MaskedModel.with_kv_per_head`), so an edge into a
group's key equals that edge into the key of each of its heads. In the other direction, a group's heads must
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
    """The two graphs do not belong to one model."""


class DisagreeingGroup(ValueError):
    """Heads of one group differ in an edge or a weight, so the circuit cannot be counted per group."""


def regrouped(circuit: Circuit, graph: EdgeGraph) -> Circuit:
    """A circuit, with its weight masks, on another graph of the same model.

    Raises:
        DisagreeingGroup: heads of a group disagree; the message names the first edge or weight.
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
    """A mask or scores of one graph's edges, on another graph of the same model.

    The result is 0 where no edge exists. Whether heads share a norm of their outputs
    (`EdgeGraph.coupled_heads`) is ignored: other programs' files do not record it.

    Args:
        edges: mask or scores on the source.
        source: the graph they belong to.
        target: the graph to convert to.

    Raises:
        DisagreeingGroup, OtherGraph: as `regrouped`.
    """
    if replace(source.per_head, coupled_heads=target.coupled_heads) != target.per_head:
        raise OtherGraph(
            f"it belongs to another graph ({source.description}); this one is {target.description}"
        )
    return _moved(torch.where(source.exists, edges, torch.zeros_like(edges)), source, target)


def _moved(values: Tensor, source: EdgeGraph, target: EdgeGraph, weights: str = "") -> Tensor:
    """Converts rows, of all receivers or of a layer's weights of that name, between graphs."""
    n = 3 * source.n_heads if weights else None  # the same in every layer
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
        return f"the masks of {weights} differ in {first} and {second}, which share one if counted per group"
    edges = [f"{graph.senders[column].name}->{end}" for end in (first, second)]
    return f"{edges[0]} and {edges[1]} differ, but are one edge if keys and values are counted per group"
