"""The circuits of a results folder for the viewer on the report's page."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from bench.engine.circuit import Circuit
from bench.exchange.drawn import drawn_edge
from bench.scoring.cells import BASELINE, entrant_of, on_several_numbers, sized
from bench.scoring.overlap import stored_circuit
from bench.store.record import Dimensions, names_of
from bench.store.results import Run, Store

if TYPE_CHECKING:
    from reports import Edge, Viewed

MOST = 1000
"""Most edges of a circuit; larger ones are left out."""
SIZES = 30
"""Most sizes of a method: the page has a bit for each."""


def viewed(store: Store) -> list[Viewed]:
    """The circuits of each method on each task, from the run with the lowest seeds, without random ones.

    Raises:
        DamagedFile: a run or a circuit cannot be read, or a circuit is not the one that was recorded.
    """
    places: dict[tuple[Any, ...], dict[tuple[int, int], list[Run]]] = defaultdict(lambda: defaultdict(list))
    for run in store.runs():
        told = run.record
        if run.tensors and told.method != BASELINE["method"] and sized(run):
            place = (
                *(getattr(told, name) for name in names_of(Dimensions) if "seed" not in name),
                run.source,
            )
            places[place][told.data_seed, told.method_seed].append(run)
    first = [by_seeds[min(by_seeds)] for by_seeds in places.values()]
    several = on_several_numbers(entrant_of(runs[0]) for runs in first)
    by_graph = len({runs[0].record.graph for runs in first}) > 1
    found = [made for runs in first if (made := _viewed(store, runs, several, by_graph)) is not None]
    return sorted(found, key=lambda each: (each.place, each.name))


def _viewed(store: Store, runs: Sequence[Run], several: Container[str], by_graph: bool) -> Viewed | None:
    """The circuits of one method's runs that differ only in their sizes."""
    import reports
    from reports.parts.methods import label_of_typed

    whole = dict(sorted(pair for run in runs for pair in _circuits(store, run)))
    circuits = {size: each for size, each in list(whole.items())[:SIZES] if len(each) <= MOST}
    if not circuits:
        return None
    told, scores = runs[-1].record, runs[-1].tensors.get("discovery.scores")
    entrant = entrant_of(runs[-1])
    edges: dict[str, Edge] = {name: drawn_edge(name) for circuit in circuits.values() for name in circuit}
    graph = next(iter(circuits.values())).graph
    place = [told.task, told.model, told.ablation, *([told.graph] if by_graph else [])]
    return reports.Viewed(
        " · ".join(place),
        label_of_typed(entrant.named(told.ablation, entrant.name in several)),
        [(f"{size:.4g} %", frozenset(edges[name] for name in circuit)) for size, circuit in circuits.items()],
        {} if scores is None else {name: float(scores[graph.parse_edge(name)]) for name in edges},
        len(whole) - len(circuits),
    )


def _circuits(store: Store, run: Run) -> Iterator[tuple[float, Circuit]]:
    for size, name in sized(run).items():
        if (file := store.circuit(run.stem, size)).exists():
            yield 100 * size, stored_circuit(file, run.record.circuits[name]["hash"])
