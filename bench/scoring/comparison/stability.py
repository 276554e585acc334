"""What a method finds again if something that should not matter changes: data, wordings, its own draws.

Circuits may share few edges and do the same, so what they share is reported with what each scores, and with
what random connected circuits of the size share.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from bench.schema import null_for_nan
from bench.scoring.cells import EDGES, Entrant, Place, Scored
from bench.scoring.metrics import jaccard
from bench.scoring.overlap import stored_circuit
from bench.scoring.statistics.student import NONE
from bench.store.results import Store

Over = Literal["data seeds", "wordings", "method seeds"]


@dataclass(frozen=True, order=True)
class Row:
    """One method at one size, and what changes from circuit to circuit."""

    place: Place
    method: str
    found_under: str
    n_discovery: int
    size: float
    over: Over


@dataclass(frozen=True)
class Stability:
    """What the circuits of one row have in common."""

    row: Row
    circuits: int
    jaccard: float
    """Mean over pairs: edges in both over edges in either."""
    jaccard_random: float
    """The same for random connected circuits of the size; NaN if fewer than two were drawn."""
    core: float
    """Edges in all circuits over edges in any."""
    log_gaps: tuple[float, ...]
    """The mean of each circuit over templates that no method saw."""

    def to_json(self) -> dict[str, Any]:
        """For other programs; the worst and the best circuit by `recovered`, on the typical template."""
        place = asdict(self.row.place)
        row = {name: value for name, value in asdict(self.row).items() if name != "place"}
        told = {
            **place, **row, "circuits": self.circuits, "jaccard": self.jaccard,
            "jaccard_random": self.jaccard_random, "core": self.core,
            "recovered_worst": 1 - math.exp(max(self.log_gaps)),
            "recovered_best": 1 - math.exp(min(self.log_gaps)),
            "log_gap_spread": float(np.std(self.log_gaps, ddof=1)),
        }  # fmt: skip
        return null_for_nan(told)


def stabilities(circuits: Iterable[Scored], store: Store) -> list[Stability]:
    """The stability of every method with several circuits of a size, in order.

    Over *data seeds* and *method seeds*, the other seed is the lowest there is, and wordings are all that
    methods may see; over *wordings*, the two circuits are from disjoint halves of them. Weight masks are
    ignored.

    Args:
        circuits: as `scored` returns them.
        store: of the same runs; a row is left out if a circuit's file is missing.

    Raises:
        DamagedFile: a circuit cannot be read, or is not the one that its run found.
    """
    rows: dict[Row, list[Scored]] = defaultdict(list)
    drawn: dict[tuple[Place, float], list[Scored]] = defaultdict(list)
    groups: dict[tuple[Place, Entrant, float], list[Scored]] = defaultdict(list)
    for each in circuits:
        if each.null:
            drawn[each.place, each.size].append(each)
        else:
            groups[each.place, each.entrant._replace(wordings="all"), each.size].append(each)
    for (place, entrant, size), group in groups.items():
        for over in get_args(Over):
            if len(alike := _differing(group, over)) > 1:
                name = entrant.named(entrant.found_under)
                row = Row(place, name, entrant.found_under, entrant.n_discovery, size, over)
                rows[row] = alike
    random = {at: _pairs(kept) for at, group in drawn.items() if (kept := _masks(group, store)) is not None}
    nulls = {row: (replace(row.place, pruned=EDGES), row.size) for row in rows}
    return [
        Stability(
            row, len(group), _pairs(kept), random.get(nulls[row], NONE), _core(kept),
            tuple(float(each.gaps.mean()) for each in group),
        )
        for row, group in sorted(rows.items())
        if (kept := _masks(group, store)) is not None
    ]  # fmt: skip


def _differing(group: Sequence[Scored], over: Over) -> list[Scored]:
    """The circuits that differ in this one thing alone."""
    halves = [each for each in group if each.entrant.wordings != "all"]
    whole = halves if over == "wordings" else [each for each in group if each.entrant.wordings == "all"]
    fixed = {"data seeds": "method_seed", "method seeds": "data_seed"}
    for name in [fixed[over]] if over in fixed else ["data_seed", "method_seed"]:
        least = min((getattr(each, name) for each in whole), default=0)
        whole = [each for each in whole if getattr(each, name) == least]
    return whole


def _masks(group: Sequence[Scored], store: Store) -> Bool[Tensor, "circuit edge"] | None:
    """The circuits' edges; None if a file is missing."""
    files = [store.circuit(each.stem, each.size) for each in group]
    if not all(file.exists() for file in files):
        return None
    found = [stored_circuit(file, each.digest) for file, each in zip(files, group, strict=True)]
    return torch.stack([circuit.kept.flatten() for circuit in found])


def _pairs(kept: Bool[Tensor, "circuit edge"]) -> float:
    """The mean Jaccard similarity of all pairs."""
    n = len(kept)
    return float((jaccard(kept).sum() - n) / (n * (n - 1))) if n > 1 else NONE


def _core(kept: Bool[Tensor, "circuit edge"]) -> float:
    either = int(kept.any(0).sum())
    return int(kept.all(0).sum()) / either if either else 1.0
