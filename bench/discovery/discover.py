"""Runs, times and checks one method on one problem, and cuts what it found into circuits by size."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from bench.discovery.checked import as_discovery, cleaned, refuse_infinite, told
from bench.discovery.problem import BenchProblem
from bench.discovery.select import SELECTIONS, filled
from bench.engine.circuit import Circuit
from bench.engine.graph import EdgeGraph, edges_of_share
from methods.base import Discovery, Method


class Declined(Exception):
    """A method declined the problem; the message is its reason."""


def discover(method: Method, problem: BenchProblem) -> tuple[Discovery, float]:
    """What a method finds, and the seconds it took.

    The seconds include `skip`, filling caches, and what a killed run spent.

    Raises:
        Declined: the method declines the problem.
        TypeError, ValueError: what it returned is not a valid discovery, or not a reason.
    """
    seed_generators(problem.seed)
    problem.begin()
    reason = method.skip(problem)
    if reason is not None:
        raise Declined(_reason(reason))
    found = method.discover(problem)
    seconds = problem.spent()["seconds"]
    graph = problem.model.graph  # the method may have overwritten the problem's own
    checked = as_discovery(found, graph, problem.weights, problem.sizes)
    refuse_infinite(checked, graph)
    if checked.objective in ("difference", "answer") and not problem.has_difference:
        checked = replace(checked, objective="kl")  # which it was, as there are no wrong answers
    return checked, seconds


def _reason(given: object) -> str:
    if not isinstance(given, str) or not cleaned(given):
        raise TypeError(f"skip returned {told(given)}, expected None or a reason for the user to read")
    return cleaned(given)


def seed_generators(seed: int) -> None:
    """Seeds the global random generators, which a method may use."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def cut(graph: EdgeGraph, found: Discovery, sizes: Sequence[float]) -> dict[float, Circuit]:
    """A circuit per size: the edges that the method returned for it, otherwise the best by its scores.

    If it returned fewer edges than requested, the best of the others by its scores fill the circuit up, so
    that circuits of one size are comparable.

    Args:
        graph: the model's.
        found: what a method returned, checked by `discover`.
        sizes: shares of edges; those requested or, if there are scores, any.

    Raises:
        ValueError: a size has neither edges nor scores nor weights, or its edges are not a circuit.
    """
    circuits = {}
    for size in sizes:
        weights: Mapping[str, Tensor] = found.weights.get(size, {})
        if size in found.edges:
            kept = found.edges[size]
            if found.scores is not None:
                kept = filled(graph, kept, found.scores, edges_of_share(graph.n_edges, size))
        elif found.scores is not None:
            kept = SELECTIONS[found.selection](graph, found.scores, edges_of_share(graph.n_edges, size))
        elif weights:
            kept = graph.exists.clone()
        else:
            raise ValueError(f"the method returned neither scores nor edges for the size {size:g}")
        circuits[size] = Circuit(graph, kept, weights)
    return circuits
