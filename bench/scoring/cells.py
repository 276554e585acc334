"""Scores of methods on templates that none of them saw, and which cells tell methods apart."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from bench.engine.graph import edges_of_share
from bench.errors import DamagedFile
from bench.scoring.evaluate import RawOutputs, new_log_gaps, telling
from bench.scoring.measures import MEASURES
from bench.scoring.statistics.paired import cell_ranks
from bench.scoring.statistics.student import over_templates
from bench.store.record import NULL, Wordings
from bench.store.results import Run

EDGES, WEIGHTS = "edges", "weights and edges"
"""What circuits leave out."""
Gaps = Float[np.ndarray, "seed template"]
BASELINE = {"method": NULL, "params": ""}
"""The random connected circuits, a null: others are compared with them, and they do not compete."""


@dataclass(frozen=True, order=True)
class Place:
    """What pairs must have in common."""

    model: str
    behaviour: str
    ablation: str
    graph: str
    pruned: str = EDGES
    """What of the model the circuits leave out: those with pruned weights compete only with each other."""


class Entrant(NamedTuple):
    """What runs that differ only in seeds have in common."""

    method: str
    """With its parameters."""
    found_under: str
    """The ablation that it was given."""
    n_discovery: int
    wordings: Wordings = "all"
    source: str = ""
    """As in `Run`."""

    @property
    def name(self) -> str:
        """Without parameters."""
        return self.method.partition(":")[0]

    def named(self, ablation: str, by_prompts: bool = False) -> str:
        """The method as typed, with what else tells it apart, as shown in tables and figures.

        Args:
            ablation: under which it is scored; the one that it was given is named if it differs.
            by_prompts: whether it ran on several numbers of discovery prompts.
        """
        apart = {
            "n_discovery": f"{self.n_discovery}" if by_prompts else "",
            "wordings": self.wordings if self.wordings != "all" else "",
            "source": self.source,
            "discovery_ablation": self.found_under if self.found_under != ablation else "",
        }
        told = ", ".join(f"{name}={value}" for name, value in apart.items() if value)
        return self.method + (", " if ":" in self.method else ":") * bool(told) + told


@dataclass(frozen=True)
class Scored:
    """One circuit, on templates that no method saw."""

    place: Place
    entrant: Entrant
    null: bool
    size: float
    """Share of edges that was requested."""
    data_seed: int
    method_seed: int
    gaps: Float[np.ndarray, " template"]
    """log_gap on each template."""
    templates: tuple[int, ...]
    """Their numbers."""
    fewest: int
    """Number of prompts of the smallest template."""
    stem: str
    """The name of the run's file, and of its circuits' folder."""
    digest: str | None
    """The circuit's hash."""


@dataclass
class Cell:
    """One method in one place: log_gaps by size and data seed, one value per method seed and unseen
    template."""

    null: bool
    method: str = ""
    """With its parameters, and with what tells it apart from others of the place, except `found_under`."""
    kind: Hashable = None
    """The same for the same method in another folder, which does not compete with it."""
    found_under: str = ""
    """The ablation that it was given."""
    gaps: dict[tuple[float, int], list[np.ndarray]] = field(default_factory=lambda: defaultdict(list))
    fewest: int = 10**9
    """Number of prompts of the smallest template."""

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
        runs: of one results folder; those that ended ok count, on tasks that hold templates out.

    Raises:
        DamagedFile: a run is incomplete.
    """
    found = []
    for run in runs:
        if (seen := unseen(run)) is None:
            continue
        place, entrant, raw = seen
        told, null = run.record, run.record.method == BASELINE["method"]
        templates = tuple(raw.answers.template.unique().tolist())
        for size, circuit in sized(run).items():
            gaps, fewest = new_log_gaps(raw, circuit)
            found.append(
                Scored(
                    place, entrant, null, size, told.data_seed, told.method_seed,
                    gaps, templates, fewest, run.stem, told.circuits[circuit]["hash"],
                )
            )  # fmt: skip
    return found


def cells_of(circuits: Iterable[Scored]) -> dict[Place, dict[str, Cell]]:
    """Cells by place and by name: the method with its parameters, and what else tells it apart there.

    Args:
        circuits: as `scored` returns them.
    """
    places: dict[Place, dict[Entrant, Cell]] = defaultdict(dict)
    for each in circuits:
        kind = each.entrant._replace(source="")
        cell = places[each.place].setdefault(each.entrant, Cell(each.null, kind=kind))
        cell.fewest = min(cell.fewest, each.fewest)
        cell.gaps[each.size, each.data_seed].append(each.gaps)
    for place, cells in places.items():
        if place.pruned != EDGES:  # random circuits keep all weights, and are the null here as well
            whole = places.get(replace(place, pruned=EDGES), {})
            cells |= {entrant: cell for entrant, cell in whole.items() if cell.null}
    rivals = [entrant for cells in places.values() for entrant, cell in cells.items() if not cell.null]
    several = on_several_numbers(rivals)
    return {place: _named(place, cells, several) for place, cells in places.items()}


def _named(place: Place, cells: Mapping[Entrant, Cell], several: Container[str]) -> dict[str, Cell]:
    """Cells by the names that a reader tells them apart by."""
    named = {}
    for entrant, cell in cells.items():
        by_prompts = entrant.name in several
        cell.method = entrant.named(entrant.found_under, by_prompts)
        cell.found_under = entrant.found_under
        named[entrant.named(place.ablation, by_prompts)] = cell
    return named


def on_several_numbers(entrants: Iterable[Entrant]) -> set[str]:
    """Names of the methods that ran on several numbers of discovery prompts."""
    numbers: dict[str, set[int]] = defaultdict(set)
    for entrant in entrants:
        numbers[entrant.name].add(entrant.n_discovery)
    return {name for name, each in numbers.items() if len(each) > 1}


def entrant_of(run: Run) -> Entrant:
    """What a run's method is called, its seeds aside."""
    told = run.record
    method = f"{told.method}:{told.params}" if told.params else told.method
    return Entrant(method, told.discovery_ablation, told.n_discovery, told.wordings, run.source)


def unseen(run: Run) -> tuple[Place, Entrant, RawOutputs] | None:
    """A run's place, its entrant, and its outputs on templates that no method saw.

    None if there are none: it did not end well, its outputs are numbers, or its task holds no templates out.

    Raises:
        DamagedFile: the run is incomplete.
    """
    record = run.record
    try:
        if not run.tensors or MEASURES[record.measure].of_numbers:
            return None
        raw = RawOutputs.from_tensors(run.tensors)
    except (KeyError, ValueError) as error:
        raise DamagedFile(
            f"{run.stem} is not a complete run ({error}): move its file away and run again"
        ) from error
    if not (new := telling(raw)).any():
        return None
    pruned = max((pruned_of(each["weight_density"]) for each in record.circuits.values()), default=EDGES)
    place = Place(record.model, record.task, record.ablation, record.graph, pruned)
    outputs = {name: part[new] for name, part in raw.tensors().items()}
    return place, entrant_of(run), RawOutputs.from_tensors(outputs)


def sized(run: Run) -> dict[float, str]:
    """A run's circuits by requested size, without those with more edges, which do not compete."""
    return {
        kept["size_requested"]: circuit
        for circuit, kept in run.record.circuits.items()
        if kept["complement"] is not None and kept["size_requested"] not in run.superseded
        if not is_oversize(kept, run.record.n_edges)
    }


def pruned_of(weight_density: float) -> str:
    """What a circuit leaves out.

    Args:
        weight_density: share of the weights that it keeps.
    """
    return WEIGHTS if weight_density < 1 else EDGES


def is_oversize(circuit: Mapping[str, Any], n_edges: int) -> bool:
    """Whether a circuit has more edges than requested.

    One that only prunes weights has all edges at every size; its weights say how large it is.

    Args:
        circuit: its entry in the record.
        n_edges: of the graph.
    """
    of_weights = circuit["edges_kept"] == n_edges and circuit["weight_density"] < 1
    wanted = edges_of_share(n_edges, circuit["size_requested"])
    return bool(circuit["edges_kept"] > wanted and not of_weights)


def ranks(cells: Mapping[Any, Cell], size: float) -> bool | None:
    """Whether methods can be told apart at a size; None if there is too little data.

    A method that two folders hold counts once, by the result that is further from the model.

    Args:
        cells: of one place, by method.
        size: share of edges.
    """
    found: dict[Hashable, tuple[float, float, bool]] = {}
    for name, cell in cells.items():
        if seeds := sorted(seed for each, seed in cell.gaps if each == size):
            mean = over_templates(cell.at(size, seeds).mean(0), cell.fewest)
            each = (mean.value, mean.standard_error, cell.null)
            kind = name if cell.kind is None else cell.kind
            found[kind] = max(found.get(kind, each), each, key=lambda one: one[0] - 2 * one[1])
    means, errors, nulls = (np.array([each[i] for each in found.values()]) for i in range(3))
    return None if np.isnan(errors).all() else cell_ranks(means, errors, nulls)
