"""What an incremental run recomputes: which nodes, from which inputs, at which positions."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from bench.engine.graph import EdgeGraph

NOWHERE, ANSWERS, EVERYWHERE = 0, 1, 2
"""Where a node's output is wanted: nowhere, at the answers' positions, at all positions."""


@dataclass
class Read:
    """Inputs of some receivers, split into what moves and what does not."""

    rows: list[int]
    everywhere: bool
    constant: Float[Tensor, "rows batch pos d_model"]
    """The sum of all that does not move: references, biases, and kept senders that are not recomputed."""
    mixing: Float[Tensor, "rows slots"]
    """1 where the row keeps an edge from a sender that moved before."""


@dataclass
class Port:
    """The queries, the keys or the values of a stage's heads."""

    rows: Int[Tensor, " rows"]
    """Within the layer."""
    moving: Bool[Tensor, " rows"]
    still: Float[Tensor, "still batch pos d_head"]
    """Those that do not move, projected."""


@dataclass
class Stage:
    """Nodes of one layer that are computed together."""

    name: str
    """As weights are named: ``a3``, ``m3`` or ``logits``."""
    columns: list[int]
    everywhere: bool
    reads: list[Read]
    """Inputs that move: one for an MLP or the logits; two for heads, of queries and of keys and values."""
    reference: Tensor | None = None
    heads: Int[Tensor, " heads"] | None = None
    """Numbers within the layer."""
    ports: list[Port] = field(default_factory=list)


@dataclass
class Plan:
    """What is recomputed when the input of one receiver changes, in order."""

    row: int
    stages: list[Stage] = field(default_factory=list)
    everywhere: list[int] = field(default_factory=list)
    """The senders that move and are wanted everywhere; each has a slot."""
    moved: list[int] = field(default_factory=list)
    """All senders that move; each has a slot for the answers' positions."""
    touched_everywhere: bool = True
    touched: Tensor | None = None
    """The receiver's current input, ``[batch, pos, d_model]``."""


def where_wanted(
    graph: EdgeGraph, kept: Bool[Tensor, "receivers senders"], everywhere: bool
) -> Int[Tensor, " senders"]:
    """Where each sender's output is wanted: `NOWHERE`, at the `ANSWERS` or `EVERYWHERE`.

    Keys and values are read at all positions, queries and MLPs where their node's output is wanted. All
    wanted heads of a layer are treated alike.

    Args:
        graph: the model's.
        kept: the edges that are kept.
        everywhere: whether logits are read at all positions, not only at the answers.
    """
    senders = kept[-1] * (EVERYWHERE if everywhere else ANSWERS)
    for layer in reversed(range(graph.n_layers)):
        rows, heads = graph.attention_rows(layer), graph.head_columns(layer)
        senders = torch.maximum(senders, kept[rows.stop] * senders[heads.stop])
        live, most = senders[heads] > NOWHERE, senders[heads].max()
        if graph.coupled_heads and live.any():
            live[:] = True
        senders[heads] = live * most
        reads = kept[rows] & (graph.owners[rows, heads][:, live].sum(1) > 0)[:, None]
        queries, others = reads[: graph.n_heads].any(0), reads[graph.n_heads :].any(0)
        senders = torch.maximum(senders, torch.maximum(queries * most, others * EVERYWHERE))
    return senders
