"""What methods reach on templates that none of them saw, and which cells tell them apart."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float

from bench.scoring.evaluate import RawOutputs, new_log_gaps
from bench.scoring.measures import MEASURES
from bench.scoring.statistics.paired import cell_ranks
from bench.scoring.statistics.student import over_templates
from bench.store.record import Record
from bench.store.results import Run

Gaps = Float[np.ndarray, "seed template"]
BASELINE = {"method": "random_edges", "params": ""}
"""The random connected circuits, a null: beside them others are read, and they compete with nobody."""


@dataclass(frozen=True, order=True)
class Place:
    """What pairs must have in common."""

    model: str
    behaviour: str
    ablation: str
    graph: str


@dataclass
class Cell:
    """One method in one place: log_gaps by size and data seed, one value a new template and method seed."""

    null: bool
    gaps: dict[tuple[float, int], list[np.ndarray]] = field(default_factory=lambda: defaultdict(list))
    fewest: int = 10**9
    """Prompts of the template that has fewest."""

    def at(self, size: float, seeds: Sequence[int]) -> Gaps:
        """Means over method seeds.

        Args:
            size: share of edges.
            seeds: data seeds.
        """
        return np.stack([np.mean(self.gaps[size, seed], axis=0) for seed in seeds])


def cells_of(runs: Iterable[Run]) -> dict[Place, dict[str, Cell]]:
    """By place and method, with its parameters.

    Args:
        runs: of one results folder; those that ended ok count, on tasks that keep templates from methods.
    """
    places: dict[Place, dict[str, Cell]] = defaultdict(dict)
    for run in runs:
        if (seen := unseen(run)) is None:
            continue
        place, name, raw = seen
        for size, circuit in sized(run.record).items():
            gaps, few = new_log_gaps(raw, circuit)
            cell = places[place].setdefault(name, Cell(run.record.method == BASELINE["method"]))
            cell.fewest = min(cell.fewest, few)
            cell.gaps[size, run.record.data_seed].append(gaps)
    return places


def unseen(run: Run) -> tuple[Place, str, RawOutputs] | None:
    """A run's place, its method with its parameters, and its outputs on templates that no method saw.

    None where there are none: it did not end well, its outputs are numbers, or its task keeps no templates.
    """
    record = run.record
    if not run.tensors or MEASURES[record.measure].of_numbers:
        return None
    raw = RawOutputs.from_tensors(run.tensors)
    if not (new := raw.answers.held_out).any():
        return None
    name = f"{record.method}:{record.params}" if record.params else record.method
    place = Place(record.model, record.task, record.ablation, record.graph)
    return place, name, RawOutputs.from_tensors({n: part[new] for n, part in raw.tensors().items()})


def sized(record: Record) -> dict[float, str]:
    """Names of a run's circuits by the sizes asked for; others are points of a curve."""
    return {
        kept["size_requested"]: circuit
        for circuit, kept in record.circuits.items()
        if kept["complement"] is not None
    }


def ranks(cells: Mapping[Any, Cell], size: float) -> bool | None:
    """Whether methods can be told apart at a size; None where there is too little to say.

    Args:
        cells: of one place, by method.
        size: share of edges.
    """
    means, errors, nulls = [], [], []
    for cell in cells.values():
        if seeds := sorted(seed for each, seed in cell.gaps if each == size):
            mean = over_templates(cell.at(size, seeds).mean(0), cell.fewest)
            means.append(mean.value)
            errors.append(mean.standard_error)
            nulls.append(cell.null)
    if np.isnan(errors).all():
        return None
    return cell_ranks(np.array(means), np.array(errors), np.array(nulls))
