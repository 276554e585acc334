"""What MIB's two formats have in common: a configuration that describes the graph, and checks."""

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
"""MIB's readers require a width, but use it only for neurons, which are left out here."""
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
        ValueError: it does not describe a graph.
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
    """A file's contents, without what writers fill in for missing parts: scores of 0, a graph without edges.

    When MIB cuts by nodes it marks every receiver of a node, whether the edge exists or not, and then ignores
    edges that do not exist. They are ignored here too, with a note.

    Args:
        graph: the graph that the file's ``cfg`` describes.
        kept: edges that are ``in_graph``; None if the file does not say.
        scores: of edges; None if there are none.
        nodes: scores of nodes, NaN for one that has none; None if there are none.

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
        notes += (f"{beyond:,} edges that cannot exist are marked as kept; they are ignored",)
    circuit = None if kept is None else Circuit(graph, kept)
    return Contents(graph, circuit, scores, nodes, notes)


def nodes_kept(graph: EdgeGraph, kept: Tensor) -> list[bool]:
    """Whether each sender is in the circuit as MIB prunes it: with a kept edge out and, if it reads, in."""
    owners = graph.owners.bool()
    fed = owners[kept.any(1)].any(0)
    fed[: graph.n_embed] = True
    found: list[bool] = (kept.any(0) & fed).tolist()
    return found


def filled(contents: Contents) -> tuple[EdgeGraph, Tensor, Tensor]:
    """Graph, kept edges and scores as in MIB's files: always all three, per query head.

    Raises:
        ValueError: the circuit has weight masks.
    """
    whole = contents.without_weights().on(contents.graph.per_head)
    kept = torch.zeros_like(whole.graph.exists) if whole.circuit is None else whole.circuit.kept
    scores = torch.zeros(whole.graph.shape) if whole.scores is None else whole.scores
    return whole.graph, kept, torch.where(whole.graph.exists, scores, 0)
