"""What methods reach on templates that none of them saw, and which cells tell them apart."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from bench.engine.graph import edges_of_share
from bench.errors import DamagedFile
from bench.scoring.evaluate import RawOutputs, new_log_gaps
from bench.scoring.measures import MEASURES
from bench.scoring.statistics.paired import cell_ranks
from bench.scoring.statistics.student import over_templates
from bench.store.record import Record, Wordings
from bench.store.results import Run

EDGES, WEIGHTS = "edges", "weights and edges"
"""What circuits leave out."""
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
    pruned: str = EDGES
    """What of the model the circuits leave out: those of fewer weights compete with each other alone."""


class Entrant(NamedTuple):
    """What runs have in common that differ in their seeds alone."""

    method: str
    """With its parameters."""
    found_under: str
    """The ablation that it was given."""
    n_discovery: int
    wordings: Wordings = "all"

    @property
    def data(self) -> str:
        """The method, and what of its data is not as usual."""
        return self.method + (f" on the {self.wordings} of the wordings" if self.wordings != "all" else "")

    def beside(self, place: Place) -> str:
        """The same, and the ablation that it was given where it is scored under another."""
        given = f" found under {self.found_under}" if self.found_under != place.ablation else ""
        return self.data + given


@dataclass(frozen=True)
class Scored:
    """One circuit, on templates that no method saw."""

    place: Place
    entrant: Entrant
    null: bool
    size: float
    """Share of edges that was asked for."""
    data_seed: int
    method_seed: int
    gaps: Float[np.ndarray, " template"]
    """log_gap on each template."""
    templates: tuple[int, ...]
    """Their numbers."""
    fewest: int
    """Prompts of the template that has fewest."""
    stem: str
    """Of the run, and of its circuits' folder."""
    digest: str | None
    """Of the circuit."""


@dataclass
class Cell:
    """One method in one place: log_gaps by size and data seed, one value a new template and method seed."""

    null: bool
    method: str = ""
    """With its parameters, and with what of its data tells it apart from others of the place."""
    found_under: str = ""
    """The ablation that it was given."""
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


def scored(runs: Iterable[Run]) -> list[Scored]:
    """The circuits that compete, and random ones.

    Args:
        runs: of one results folder; those that ended ok count, on tasks that keep templates from methods.

    Raises:
        DamagedFile: a run is not whole.
    """
    found = []
    for run in runs:
        if (seen := unseen(run)) is None:
            continue
        place, name, raw = seen
        told = run.record
        entrant = Entrant(name, told.discovery_ablation, told.n_discovery, told.wordings)
        templates = tuple(raw.answers.template.unique().tolist())
        for size, circuit in sized(told).items():
            gaps, fewest = new_log_gaps(raw, circuit)
            found.append(
                Scored(
                    place, entrant, told.method == BASELINE["method"], size, told.data_seed, told.method_seed,
                    gaps, templates, fewest, run.stem, told.circuits[circuit]["hash"],
                )
            )  # fmt: skip
    return found


def cells_of(circuits: Iterable[Scored]) -> dict[Place, dict[str, Cell]]:
    """By place and entrant: a method's name with its parameters, and what else tells it from others there.

    Args:
        circuits: as `scored` gives them.
    """
    places: dict[Place, dict[Entrant, Cell]] = defaultdict(dict)
    for each in circuits:
        cell = places[each.place].setdefault(each.entrant, Cell(each.null))
        cell.fewest = min(cell.fewest, each.fewest)
        cell.gaps[each.size, each.data_seed].append(each.gaps)
    for place, cells in places.items():
        if place.pruned != EDGES:  # random circuits keep all weights, and are the null of these as well
            whole = places.get(replace(place, pruned=EDGES), {})
            cells |= {entrant: cell for entrant, cell in whole.items() if cell.null}
    return {place: _named(place, cells) for place, cells in places.items()}


def _named(place: Place, cells: Mapping[Entrant, Cell]) -> dict[str, Cell]:
    """Cells by the names that a reader tells them apart by."""
    several = len({entrant.n_discovery for entrant, cell in cells.items() if not cell.null}) > 1
    named = {}
    for entrant, cell in cells.items():
        if several and not cell.null:
            entrant = entrant._replace(method=f"{entrant.method} on {entrant.n_discovery} prompts")
        cell.method, cell.found_under = entrant.data, entrant.found_under
        named[entrant.beside(place)] = cell
    return named


def unseen(run: Run) -> tuple[Place, str, RawOutputs] | None:
    """A run's place, its method with its parameters, and its outputs on templates that no method saw.

    None where there are none: it did not end well, its outputs are numbers, or its task keeps no templates.

    Raises:
        DamagedFile: the run is not whole.
    """
    record = run.record
    try:
        if not run.tensors or MEASURES[record.measure].of_numbers:
            return None
        raw = RawOutputs.from_tensors(run.tensors)
    except (KeyError, ValueError) as error:
        raise DamagedFile(
            f"{run.stem} is no whole run ({error}): move its file away and run again"
        ) from error
    if not (new := raw.answers.held_out).any():
        return None
    source = f"source={run.source}" if run.source else ""
    params = ", ".join(each for each in (record.params, source) if each)
    name = f"{record.method}:{params}" if params else record.method
    pruned = max((pruned_of(each["weight_density"]) for each in record.circuits.values()), default=EDGES)
    place = Place(record.model, record.task, record.ablation, record.graph, pruned)
    return place, name, RawOutputs.from_tensors({n: part[new] for n, part in raw.tensors().items()})


def sized(record: Record) -> dict[float, str]:
    """A run's circuits by the sizes asked for; one with more edges than that competes with nobody."""
    return {
        kept["size_requested"]: circuit
        for circuit, kept in record.circuits.items()
        if kept["complement"] is not None and not is_oversize(kept, record.n_edges)
    }


def pruned_of(weight_density: float) -> str:
    """What a circuit leaves out.

    Args:
        weight_density: share of the weights that it keeps.
    """
    return WEIGHTS if weight_density < 1 else EDGES


def is_oversize(circuit: Mapping[str, Any], n_edges: int) -> bool:
    """Whether a circuit has more edges than asked for.

    One that prunes weights alone has all of them, at every size; its weights say how large it is.

    Args:
        circuit: as its record tells of it.
        n_edges: of the graph.
    """
    of_weights = circuit["edges_kept"] == n_edges and circuit["weight_density"] < 1
    wanted = edges_of_share(n_edges, circuit["size_requested"])
    return bool(circuit["edges_kept"] > wanted and not of_weights)


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
