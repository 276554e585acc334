"""Where methods stand over all behaviours: the share covered of the way from random circuits to the floor.

A score is the area over log size, on templates that no method saw, of one method on one behaviour and data
seed. Behaviours, sizes and scale are those of the random circuits: no other method's entry moves a score.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np
from jaxtyping import Float

from bench.scoring.cells import BASELINE, EDGES, Cell, Place
from bench.scoring.statistics.behaviours import (
    FEWEST_RUNS,
    OVER,
    area,
    beats,
    interquartile_mean,
    interval,
    progress,
    ranks,
)
from bench.scoring.statistics.student import NONE, Interval

Seeds = dict[int, Float[np.ndarray, " behaviour"]]
"""A method's scores by data seed."""


@dataclass(frozen=True)
class Standing:
    """One method over all behaviours."""

    method: str
    data_seeds: int
    value: float
    """Interquartile mean: 1 is the floor, 0 no better than random circuits, below 0 worse."""
    interval: Interval
    rank: Interval
    """The interval of its rank; 1 is best."""

    def to_json(self) -> dict[str, Any]:
        """Unknown values are null, and `reason` says why."""
        ranked = {"rank_low": _told(self.rank.low), "rank_high": _told(self.rank.high)}
        shown = {"interquartile_mean": _told(self.value), **_ends(self.interval), **ranked}
        return {"method": self.method, "data_seeds": self.data_seeds, **shown}


@dataclass(frozen=True)
class Chance:
    """P(a beats b): the share of pairs of their runs in which a is higher, ties counting half."""

    a: str
    b: str
    value: float
    interval: Interval

    def to_json(self) -> dict[str, Any]:
        """As `Standing.to_json`."""
        return {"a": self.a, "b": self.b, "probability": _told(self.value), **_ends(self.interval)}


@dataclass(frozen=True, order=True)
class Whole:
    """What compared methods have in common."""

    model: str
    ablation: str
    graph: str
    pruned: str = EDGES


@dataclass(frozen=True)
class Standings:
    """All methods of one model and ablation except the random circuits, in the order of their names."""

    whole: Whole
    behaviours: Sequence[str]
    sizes: Sequence[float]
    """Shares of edges at which all behaviours were scored."""
    methods: Sequence[Standing]
    chances: Sequence[Chance]
    """One for each pair."""

    def to_json(self) -> dict[str, Any]:
        """For other programs."""
        return {
            **asdict(self.whole),
            "behaviours": list(self.behaviours),
            "sizes": list(self.sizes),
            "methods": [standing.to_json() for standing in self.methods],
            "beats": [chance.to_json() for chance in self.chances],
        }


def standings(places: Mapping[Place, Mapping[str, Cell]]) -> list[Standings]:
    """The standings of each model and ablation, in order.

    Args:
        places: as `cells_of` returns them.
    """
    wholes: dict[Whole, dict[str, Mapping[str, Cell]]] = defaultdict(dict)
    for place, cells in sorted(places.items()):
        wholes[Whole(place.model, place.ablation, place.graph, place.pruned)][place.behaviour] = cells
    return [_standings(whole, behaviours) for whole, behaviours in wholes.items()]


def _standings(whole: Whole, behaviours: Mapping[str, Mapping[str, Cell]]) -> Standings:
    null = BASELINE["method"]
    random = {name: cells[null] for name, cells in behaviours.items() if null in cells}
    at_all = [{size for size, _ in cell.gaps} for cell in random.values()]
    sizes = sorted(set.intersection(*at_all)) if at_all else []
    methods = sorted({name for cells in behaviours.values() for name, cell in cells.items() if not cell.null})
    scores: dict[str, Seeds] = {}
    refused: dict[str, Interval] = {}
    for method in methods:
        own = {name: behaviours[name][method] for name in random if method in behaviours[name]}
        scores[method], reason = _scores(own, random, sizes)
        refused[method] = Interval(NONE, NONE, OVER, reason)
    columns = {method: np.array(list(seeds.values())) for method, seeds in scores.items() if seeds}
    ranked = _ranked({method: scores[method] for method in columns})
    stand = [
        Standing(method, len(own), float(interquartile_mean(own)), reach, ranked.get(method, reach))
        for method, own in columns.items()
        for reach in [interval(interquartile_mean, own)]  # without one there is no rank, for the same reason
    ]
    stand += [Standing(m, 0, NONE, refused[m], refused[m]) for m in methods if m not in columns]
    chances = [
        Chance(a, b, float(beats(columns[a], columns[b])), interval(beats, columns[a], columns[b]))
        for a, b in combinations(columns, 2)
    ]
    return Standings(whole, tuple(random), sizes, sorted(stand, key=lambda each: each.method), chances)


def _scores(own: Mapping[str, Cell], random: Mapping[str, Cell], sizes: Sequence[float]) -> tuple[Seeds, str]:
    """A method's scores, or the reason why there are none."""
    if not sizes:
        return {}, "no random circuits of one size on all behaviours"
    if lacking := [name for name in random if name not in own]:
        return {}, f"no runs on {', '.join(lacking)}"
    found = [_by_seed(own[name], random[name], sizes) for name in random]
    shared = sorted(set.intersection(*map(set, found)))
    reason = "" if shared else "no data seed with all sizes on all behaviours"
    return {seed: np.array([each[seed] for each in found]) for seed in shared}, reason


def _by_seed(cell: Cell, random: Cell, sizes: Sequence[float]) -> dict[int, float]:
    """Scores on one behaviour, for data seeds that have all sizes; with a single size, the score there.

    Random circuits need no data: all of their draws are one null, the same for every seed.
    """
    seeds = sorted(set.intersection(*({seed for each, seed in cell.gaps if each == size} for size in sizes)))
    if not seeds:
        return {}

    def y(of: Cell, at: Sequence[int]) -> Float[np.ndarray, "seed size"]:
        return np.stack([of.at(size, at).mean(1) for size in sizes], -1)

    gone = progress(y(cell, seeds), y(random, [0]))
    values = area(sizes, gone) if len(sizes) > 1 else gone[:, 0]
    return dict(zip(seeds, values.tolist(), strict=True))


def _ranked(scores: Mapping[str, Seeds]) -> dict[str, Interval]:
    """Ranks of the methods that have enough runs, on the data seeds that these share."""
    drawn = {
        method: seeds
        for method, seeds in scores.items()
        if len(seeds) >= FEWEST_RUNS and np.isfinite(list(seeds.values())).all()
    }
    if not drawn:
        return {}
    common = sorted(set.intersection(*map(set, drawn.values())))
    rows = np.array([[seeds[seed] for seed in common] for seeds in drawn.values()])
    return dict(zip(drawn, ranks(rows), strict=True))


def _ends(of: Interval) -> dict[str, Any]:
    return {"low": _told(of.low), "high": _told(of.high), "over": of.over, "reason": of.reason}


def _told(value: float) -> float | None:
    return None if math.isnan(value) else value
