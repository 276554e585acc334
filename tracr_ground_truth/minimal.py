"""All minimal sufficient sets of edges: sets that suffice and have no proper subset that does.

Removing edges one at a time does not find them all: a set may fail although a subset suffices, since an edge
that keeps a path from saying something wrong is idle once the path is gone. So every set is tried, except
those that contain a set already found and those with an edge that cannot matter there (`candidates`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby

import torch
from jaxtyping import Bool
from torch import Tensor

from tracr_ground_truth.truth import Bound, Graph

EDGES, MOST = 16, 2**14
"""Up to `EDGES` structural edges, all sets are tried; beyond that, if there are at most `MOST` sets."""
AT_ONCE = 1024
"""How many sets are masks at a time, to limit memory."""

Sets = Mapping[float, tuple[Bool[Tensor, "receivers senders"], ...]]
"""Minimal sufficient sets by tolerance, the smallest first."""


def minimal_sets(
    error: Callable[[Bool[Tensor, "receivers senders"]], float],
    bound: Bound,
    graph: Graph,
    structural: Bool[Tensor, "receivers senders"],
    sources: Bool[Tensor, " senders"],
    tolerances: Sequence[float],
) -> Sets | None:
    """All minimal sufficient sets at each tolerance; None if there are too many sets to try.

    Args:
        error: the largest change of an output when the edges outside a set are ablated together.
        bound: the same for several sets, on a part of the data.
        graph: the compiled model's graph.
        structural: the edges that can carry anything.
        sources: as in `candidates`.
        tolerances: largest tolerated changes; what suffices at one suffices at a larger one.
    """
    edges = [(row, column) for row, column in structural.nonzero().tolist()]
    sets = candidates(graph, edges, sources)
    if sets is None:
        return None
    found: dict[float, list[int]] = {tolerance: [] for tolerance in tolerances}
    for _, alike in groupby(sorted(sets, key=int.bit_count), key=int.bit_count):
        open_sets = [each for each in alike if not all(_holds_one(each, known) for known in found.values())]
        for start in range(0, len(open_sets), AT_ONCE):
            some = open_sets[start : start + AT_ONCE]
            masks = _masks(some, edges, graph)
            for place in (bound(masks) <= max(tolerances)).nonzero()[:, 0].tolist():
                worst = error(masks[place])
                for tolerance, known in found.items():
                    if worst <= tolerance and not _holds_one(some[place], known):
                        known.append(some[place])
    return {tolerance: tuple(_masks(known, edges, graph)) for tolerance, known in found.items()}


def candidates(
    graph: Graph, edges: Sequence[tuple[int, int]], sources: Bool[Tensor, " senders"]
) -> list[int] | None:
    """The sets in which every edge can matter: it is on a path to the logits, from something that differs.

    Any other set has the same outputs without the edges that cannot matter, so it is not minimal.

    Args:
        graph: the compiled model's graph.
        edges: (row, column) of the edges to choose from; the i-th is the bit 2**i of a set.
        sources: senders that write something else than a removed edge carries even if nothing feeds them:
            under zero ablation all of them (biases), under resample the tokens' embedding.

    Returns:
        The sets as bits; None if there are too many.
    """
    owners = graph.owners.bool()
    senders = range(len(graph.senders))
    bits = {edge: 1 << i for i, edge in enumerate(edges)}
    outgoing = [sum(bit for (_, column), bit in bits.items() if column == sender) for sender in senders]
    incoming = [sum(bit for (row, _), bit in bits.items() if owners[row, sender]) for sender in senders]
    every = sum(bits.values())
    live = every & _fed(every, sources, incoming, outgoing)
    grown = {1 << len(graph.receivers) - 1: [0]}  # by the receivers that lead to the logits, as bits
    for sender in reversed(senders):
        own = sum(1 << row for row in owners[:, sender].nonzero()[:, 0].tolist())
        leaving = [(row, bit) for (row, column), bit in bits.items() if column == sender and bit & live]
        usable = {reached: [bit for row, bit in leaving if reached >> row & 1] for reached in grown}
        if len(edges) > EDGES and sum(len(sets) << len(usable[at]) for at, sets in grown.items()) > MOST:
            return None
        longer = defaultdict[int, list[int]](list)
        for reached, sets in grown.items():
            for some in _subsets(usable[reached]):
                longer[reached | own if some else reached] += [each | some for each in sets]
        grown = longer
    found = [each for sets in grown.values() for each in sets]
    return [each for each in found if not each & ~_fed(each, sources, incoming, outgoing)]


def _fed(kept: int, sources: Tensor, incoming: Sequence[int], outgoing: Sequence[int]) -> int:
    """The edges whose sender is a source, or is fed by a kept edge of this kind."""
    fed = 0
    for source, entering, leaving in zip(sources.tolist(), incoming, outgoing, strict=True):
        if source or kept & fed & entering:
            fed |= leaving
    return fed


def _subsets(bits: Sequence[int]) -> list[int]:
    """The sums of all subsets of the bits."""
    sums = [0]
    for bit in bits:
        sums += [each | bit for each in sums]
    return sums


def _holds_one(edges: int, known: Sequence[int]) -> bool:
    return any(each & edges == each for each in known)


def _masks(
    sets: Sequence[int], edges: Sequence[tuple[int, int]], graph: Graph
) -> Bool[Tensor, "some receivers senders"]:
    masks = torch.zeros(len(sets), *graph.exists.shape, dtype=torch.bool)
    rows, columns = torch.tensor(edges, dtype=torch.long).view(-1, 2).T
    held = [[each >> i & 1 for i in range(len(edges))] for each in sets]
    masks[:, rows, columns] = torch.tensor(held, dtype=torch.bool).view(len(sets), len(edges))
    return masks
