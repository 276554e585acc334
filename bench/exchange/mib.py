"""What MIB's two formats have in common: a configuration that says which graph it is, and its checks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Annotated, Any

import torch
from annotated_types import Interval
from jaxtyping import Bool, Float
from torch import Tensor

from bench.engine.circuit import Circuit
from bench.engine.graph import EdgeGraph
from bench.exchange.contents import Contents, of_some_size
from bench.schema import read

SPELLING = "mib"
D_MODEL = 1
"""MIB's readers want a width, and use it for neurons alone, which are left out here."""
NEURONS = "it is a circuit of neurons, which are not supported: use one of edges or of nodes"
Layers = Annotated[int, Interval(ge=1, le=1000)]


@dataclass(frozen=True)
class _Config:
    n_layers: Layers
    n_heads: Layers
    parallel_attn_mlp: bool = False


def graph_of(stored: Any) -> EdgeGraph:
    """The graph that a file's ``cfg`` describes; keys and values are per query head.

    Raises:
        ValueError: it describes none.
    """
    if not isinstance(stored, Mapping):
        raise ValueError("its cfg, which says how many layers and heads there are, is missing")
    try:
        cfg = read(_Config, {each.name: stored[each.name] for each in fields(_Config) if each.name in stored})
    except ValueError as error:
        raise ValueError(f"its cfg: {error}") from error
    return of_some_size(EdgeGraph(cfg.n_layers, cfg.n_heads, cfg.n_heads, cfg.parallel_attn_mlp))


def cfg_of(graph: EdgeGraph) -> dict[str, Any]:
    """The configuration of a graph."""
    return {"n_layers": graph.n_layers, "n_heads": graph.n_heads, "parallel_attn_mlp": graph.parallel,
            "d_model": D_MODEL}  # fmt: skip


def contents_of(
    graph: EdgeGraph,
    kept: Bool[Tensor, "receivers senders"] | None,
    scores: Float[Tensor, "receivers senders"] | None,
    nodes: Float[Tensor, " senders"] | None = None,
) -> Contents:
    """What a file says. Its writers fill in what there is not: scores of 0, and a graph without edges.

    Where MIB cuts by nodes it marks every receiver of a node, be there an edge or not, and then passes over
    what is none; so it is here, and it is told.

    Args:
        graph: that its ``cfg`` describes.
        kept: edges that are ``in_graph``; None where none says so.
        scores: of edges; None where there are none.
        nodes: scores of nodes, NaN of one that has none; None where there are none.

    Raises:
        ValueError: as `Contents`.
    """
    notes: tuple[str, ...] = ()
    if scores is not None and not scores.any():
        scores = None
    if scores is not None and nodes is not None:
        nodes, notes = None, ("both its edges and its nodes have scores: those of the edges are used",)
    if kept is not None and (scores is not None or nodes is not None) and not kept.any():
        kept = None
    if kept is not None and (beyond := int((kept & ~graph.exists).sum())):
        kept = kept & graph.exists
        notes += (f"{beyond:,} places where no edge can be are marked as kept; they are ignored",)
    circuit = None if kept is None else Circuit(graph, kept)
    return Contents(graph, circuit, scores, nodes, notes)


def nodes_kept(graph: EdgeGraph, kept: Tensor) -> list[bool]:
    """Of each sender whether it is in the circuit as MIB prunes it: read by something kept, and fed."""
    owners = graph.owners.bool()
    fed = owners[kept.any(1)].any(0)
    fed[: graph.n_embed] = True
    found: list[bool] = (kept.any(0) & fed).tolist()
    return found


def filled(contents: Contents) -> tuple[EdgeGraph, Tensor, Tensor]:
    """Graph, kept edges and their scores as MIB's files have them: all three, per query head.

    Raises:
        ValueError: the circuit has masks of weights.
    """
    whole = contents.without_weights().on(contents.graph.per_head)
    kept = torch.zeros_like(whole.graph.exists) if whole.circuit is None else whole.circuit.kept
    scores = torch.zeros(whole.graph.shape) if whole.scores is None else whole.scores
    return whole.graph, kept, torch.where(whole.graph.exists, scores, 0)
