"""One method on one problem: run, timed, checked; and what it found, cut into circuits of sizes."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from bench.discovery.problem import BenchProblem
from bench.discovery.select import edges_of_share, greedy, top
from bench.engine.circuit import Circuit
from bench.engine.graph import EdgeGraph
from methods.base import Discovery, Method

SELECTIONS = {"top": top, "greedy": greedy}


class Declined(Exception):
    """A method declined the problem; the message is its reason."""


def discover(method: Method, problem: BenchProblem) -> tuple[Discovery, float]:
    """What a method finds, and the seconds it took.

    `skip`, the caches that it fills, and what a killed run spent are among them.

    Raises:
        Declined: the method declines the problem.
        TypeError, ValueError: what it returned is no discovery.
    """
    seed_generators(problem.seed)
    problem.begin()
    reason = method.skip(problem)
    if reason:
        raise Declined(reason)
    found = method.discover(problem)
    seconds = problem.spent()["seconds"]
    checked = as_discovery(found, problem.graph, problem.weights)
    refuse_infinite(checked, problem.graph)
    return checked, seconds


def seed_generators(seed: int) -> None:
    """Seeds the global generators, as a method may expect."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def as_discovery(found: object, graph: EdgeGraph, shapes: Mapping[str, torch.Size]) -> Discovery:
    """A discovery whose tensors are on the host and free of gradients; `cut` looks at the sets of edges.

    Args:
        found: what a method returned.
        graph: of the problem.
        shapes: of the weights that may be masked, by name.

    Raises:
        TypeError, ValueError: it is no discovery.
    """
    if not isinstance(found, Discovery):
        raise TypeError(f"discover returned {type(found).__name__}, not a Discovery")
    if found.selection not in SELECTIONS:
        raise ValueError(f"selection is '{found.selection}', not one of {', '.join(SELECTIONS)}")
    if not isinstance(found.objective, str):
        raise TypeError(f"objective is {type(found.objective).__name__}, not a text")
    weights = {size: _checked_weights(masks, shapes) for size, masks in found.weights.items()}
    masks = [found.scores, found.unaided, *found.edges.values()]
    if not all(mask is None or isinstance(mask, Tensor) for mask in masks):
        raise TypeError("scores, edges and unaided must be torch tensors")
    scores, unaided = (None if t is None else t.detach().cpu() for t in (found.scores, found.unaided))
    if scores is not None and scores.shape != graph.exists.shape:
        raise ValueError(
            f"the method's scores are {tuple(scores.shape)}, the graph {tuple(graph.exists.shape)}"
        )
    if unaided is not None:
        Circuit(graph, unaided)  # refuses a mask that is none
    return replace(found, scores=scores, unaided=unaided, weights=weights)


def refuse_infinite(found: Discovery, graph: EdgeGraph) -> None:
    """Holds the scores of edges to being numbers.

    Raises:
        ValueError: one is infinite or NaN.
    """
    if found.scores is not None and not found.scores[graph.exists].isfinite().all():
        raise ValueError("the method's scores are not all finite")


def _checked_weights(masks: Mapping[str, Tensor], shapes: Mapping[str, torch.Size]) -> dict[str, Tensor]:
    """On the host.

    Raises:
        ValueError: a mask is none of a weight that may be masked.
    """
    for name, mask in masks.items():
        if name not in shapes or mask.shape != shapes[name] or mask.dtype != torch.bool:
            wanted = tuple(shapes[name]) if name in shapes else "not there"
            raise ValueError(
                f"the method's mask of the weight '{name}' is {mask.dtype} {tuple(mask.shape)}; it takes a "
                f"bool mask, and the weight is {wanted}"
            )
    return {name: mask.cpu() for name, mask in masks.items()}


def cut(graph: EdgeGraph, found: Discovery, sizes: Sequence[float]) -> dict[float, Circuit]:
    """A circuit per size: the edges that the method named, otherwise the best by its scores.

    Args:
        graph: the model's.
        found: what a method returned, checked by `discover`.
        sizes: shares of edges; those asked for, or, where there are scores, any.

    Raises:
        ValueError: there are neither edges nor scores for a size, or the edges are no circuit.
    """
    circuits = {}
    for size in sizes:
        weights: Mapping[str, Tensor] = found.weights.get(size, {})
        if size in found.edges:
            kept = found.edges[size].cpu()
        elif found.scores is not None:
            kept = SELECTIONS[found.selection](graph, found.scores, edges_of_share(graph, size))
        elif weights:
            kept = graph.exists.clone()
        else:
            raise ValueError(f"the method returned neither scores nor edges for the size {size:g}")
        circuits[size] = Circuit(graph, kept, weights)
    return circuits
