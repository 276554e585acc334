"""Which methods are ahead in a results folder, by paired tests on what they share: seeds and templates.

The tests are on the mean of log_gap over templates that no method saw. The primary family, for which Holm's
adjustment is made, is all pairs of methods on all behaviours, found and scored under one ablation, by the
area over log size. Pairs at a single size are exploratory and are not adjusted together with these; so are
pairs found under another ablation than scored, and one method compared with itself, found under two.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np

from bench.schema import null_for_nan
from bench.scoring.cells import Cell, Gaps, Place, ranks
from bench.scoring.statistics.behaviours import area
from bench.scoring.statistics.paired import Verdict, equivalence, flip_rate, holm, paired, verdict
from bench.scoring.statistics.student import Mean


@dataclass(frozen=True)
class Pair:
    """Two methods compared in one place, at one size or over all; the difference is below 0 if a is ahead."""

    place: Place
    size: float | None
    """Share of edges; None for the area over the logarithm of all sizes, which is the primary test."""
    a: str
    b: str
    difference: Mean
    data_seeds: int
    templates: int
    ranks: bool
    """Whether the cell ranks methods; the area does if one of its sizes does."""
    methods: tuple[str, str]
    """Their names without the ablation that each was given."""
    found_under: str
    """The ablation that both were given; empty if they were given two."""
    seed_flips: float
    """The share of all pairs of data seeds in which the difference has opposite signs; NaN for one seed."""
    alike: bool = False
    """Whether they are one method, run in two folders."""
    p_holm: float = math.nan

    @property
    def verdict(self) -> Verdict:
        """The result in words."""
        return verdict(self.difference, self.p_holm, self.ranks)

    def to_json(self) -> dict[str, Any]:
        """For other programs, with stable keys; unknown values are null, and `reason` says why."""
        interval = self.difference.interval()
        told: dict[str, Any] = {
            "model": self.place.model, "behaviour": self.place.behaviour, "ablation": self.place.ablation,
            "found_under": self.found_under, "graph": self.place.graph, "pruned": self.place.pruned,
            "size": self.size,
            "a": self.a, "b": self.b,
            "difference": self.difference.value, "low": interval.low, "high": interval.high,
            "over": self.difference.over, "data_seeds": self.data_seeds, "templates": self.templates,
            "df": self.difference.freedom, "p": self.difference.p(), "p_holm": self.p_holm,
            "p_equal": equivalence(self.difference), "verdict": self.verdict,
            "seed_flips": self.seed_flips, "reason": self.difference.reason,
        }  # fmt: skip
        return null_for_nan(told)


def compare(places: Mapping[Place, Mapping[str, Cell]]) -> list[Pair]:
    """All pairs of methods, in the order of places, sizes and names; the primary ones first.

    Args:
        places: as `cells_of` returns them; random circuits do not compete.
    """
    pairs = [pair for place, cells in sorted(places.items()) for pair in _pairs(place, cells)]
    families: dict[Any, list[Pair]] = defaultdict(list)
    for pair in pairs:  # exploratory tests are families of their own: per size, per method in two folders
        where = pair.place
        whole = (where.model, where.ablation, where.graph, where.pruned)
        families[whole, pair.found_under, pair.size, pair.alike].append(pair)
    adjusted: dict[int, float] = {}
    for family in families.values():
        p = holm(np.array([pair.difference.p() for pair in family]))
        adjusted |= {id(pair): float(each) for pair, each in zip(family, p, strict=True)}
    tested = [replace(pair, p_holm=adjusted[id(pair)]) for pair in pairs]
    return sorted(
        tested, key=lambda pair: (pair.size is not None, pair.place, pair.size or 0, pair.a, pair.b)
    )


def _pairs(place: Place, cells: Mapping[str, Cell]) -> Iterator[Pair]:
    sizes = sorted({size for cell in cells.values() for size, _ in cell.gaps})
    ranking = {size: ranks(cells, size) is not False for size in sizes}  # None: the pair says why
    for a, b in combinations(sorted(name for name, cell in cells.items() if not cell.null), 2):
        one, other = cells[a], cells[b]
        if one.found_under != other.found_under and one.method != other.method:
            continue
        found_under = one.found_under if one.found_under == other.found_under else ""
        shared = [size for size in sizes if _seeds(one, other, size)]
        seeds = sorted(set.intersection(*(_seeds(one, other, size) for size in shared))) if shared else []
        if not seeds:
            continue
        few = min(one.fewest, other.fewest)
        at = [(one.at(size, seeds), other.at(size, seeds)) for size in shared]

        tested: list[tuple[float | None, Gaps, Gaps, bool]] = [
            (size, ours, theirs, ranking[size]) for size, (ours, theirs) in zip(shared, at, strict=True)
        ]
        if len(shared) > 1:
            ours, theirs = (area(shared, np.stack(values, -1)) for values in zip(*at, strict=True))
            tested.append((None, ours, theirs, any(ranking[size] for size in shared)))
        for over, ours, theirs, tells in tested:
            seen, templates = ours.shape
            yield Pair(
                place, over, a, b, paired(ours, theirs, few), seen, templates, tells,
                methods=(one.method, other.method), found_under=found_under,
                seed_flips=flip_rate((ours - theirs).mean(1)), alike=one.kind == other.kind,
            )  # fmt: skip


def _seeds(one: Cell, other: Cell, size: float) -> set[int]:
    return {seed for each, seed in one.gaps if each == size} & {s for each, s in other.gaps if each == size}
