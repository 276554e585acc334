"""Scores of circuits that are found under one ablation and scored under another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from bench.schema import null_for_nan
from bench.scoring.cells import Cell, Place
from bench.scoring.statistics.behaviours import area
from bench.scoring.statistics.student import FEWEST_SEEDS, Mean, over_seeds, over_templates


@dataclass(frozen=True)
class Crossed:
    """One method in one place, over all sizes that it has there."""

    place: Place
    method: str
    found_under: str
    reached: Mean
    """Area of log_gap over log size, on templates that no method saw; with a single size, log_gap there."""
    data_seeds: int

    def to_json(self) -> dict[str, Any]:
        """For other programs; unknown values are null, and `reason` says why."""
        interval = self.reached.interval()
        told = {
            **asdict(self.place), "method": self.method, "found_under": self.found_under,
            "log_gap": self.reached.value, "low": interval.low, "high": interval.high,
            "over": self.reached.over, "data_seeds": self.data_seeds, "reason": interval.reason,
        }  # fmt: skip
        return null_for_nan(told)


def crossed(places: Mapping[Place, Mapping[str, Cell]]) -> list[Crossed]:
    """The scores of every method that was given several ablations in a place, in order.

    Args:
        places: as `cells_of` returns them.
    """
    found = []
    for place, cells in sorted(places.items()):
        given = [(cell.method, cell.found_under) for cell in cells.values() if not cell.null]
        several = {method for method, _ in given if sum(method == other for other, _ in given) > 1}
        for cell in sorted(cells.values(), key=lambda cell: (cell.method, cell.found_under)):
            if not cell.null and cell.method in several:
                found.append(_crossed(place, cell))
    return found


def _crossed(place: Place, cell: Cell) -> Crossed:
    sizes = sorted({size for size, _ in cell.gaps})
    at_all = (({seed for each, seed in cell.gaps if each == size}) for size in sizes)
    seeds = sorted(set.intersection(*at_all))
    if not seeds:
        nothing = Mean(float("nan"), float("nan"), float("nan"), "", "no data seed with all sizes")
        return Crossed(place, cell.method, cell.found_under, nothing, 0)
    values = np.stack([cell.at(size, seeds) for size in sizes], -1)
    whole = area(sizes, values) if len(sizes) > 1 else values[..., 0]
    enough = len(seeds) >= FEWEST_SEEDS
    reached = over_seeds(whole, cell.fewest) if enough else over_templates(whole.mean(0), cell.fewest)
    return Crossed(place, cell.method, cell.found_under, reached, len(seeds))
