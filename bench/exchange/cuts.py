"""Circuits cut from a file's scores, at a share of the edges or of the nodes: MIB's levels ``edge`` and
``node``."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from bench.discovery.select import top
from bench.engine.circuit import Circuit
from bench.engine.graph import EdgeGraph, edges_of_share
from bench.exchange.contents import Contents
from bench.scoring.evaluate import ABSOLUTE, SIGNED
from methods.thresholds.best import n_best

Level = Literal["edge", "node"]


def level_of(contents: Contents) -> Level | None:
    """What has scores; None if nothing has."""
    if contents.nodes is not None:
        return "node"
    return None if contents.scores is None else "edge"


def rankings_of(contents: Contents) -> tuple[str, ...]:
    """The rankings: by the absolute scores and, if some are negative, also with their sign."""
    scores = _scores(contents)
    negative = scores < 0 if contents.nodes is not None else (scores < 0) & contents.graph.exists
    return (ABSOLUTE, SIGNED) if negative.any() else (ABSOLUTE,)


def cut_at(contents: Contents, share: float, ranking: str) -> Circuit:
    """The circuit of the best edges or nodes, a share of them.

    Args:
        contents: with scores.
        share: from 0 to 1, of the edges, or of the nodes that have a score.
        ranking: one of `rankings_of`.
    """
    graph, scores = contents.graph, _scores(contents)
    ranked = scores.abs() if ranking == ABSOLUTE else scores
    if contents.nodes is not None:
        return of_best_nodes(graph, ranked, share)
    return Circuit(graph, top(graph, ranked, edges_of_share(graph.n_edges, share)))


def of_best_nodes(graph: EdgeGraph, scores: Float[Tensor, " senders"], share: float) -> Circuit:
    """All edges among the best nodes, and from them to the logits.

    Unlike in `Circuit.of_nodes`, an embedding is a node like any other: if it is not among the best, nothing
    reads it.

    Args:
        graph: the model's.
        scores: higher is kept sooner; a node whose score is NaN always stays.
        share: of the nodes with a score.
    """
    unscored = scores.isnan()
    n = edges_of_share(int((~unscored).sum()), share)
    kept = unscored | n_best(torch.where(unscored, -torch.inf, scores), n)
    return Circuit(graph, Circuit.of_nodes(graph, kept).kept & kept)


def _scores(contents: Contents) -> Tensor:
    scores = contents.scores if contents.nodes is None else contents.nodes
    assert scores is not None
    return scores
