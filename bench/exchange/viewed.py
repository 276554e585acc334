"""The circuits of a results folder for the viewer on its page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from bench.engine.circuit import Circuit
from bench.exchange.drawn import drawn_edge
from bench.scoring.cells import BASELINE, sized
from bench.scoring.overlap import stored_circuit
from bench.store.record import Dimensions, Record, names_of
from bench.store.results import Run, Store

if TYPE_CHECKING:
    from reports import Edge, Viewed

MOST = 1000
"""Edges of a circuit; a larger one is left out."""
SIZES = 30
"""Of a method: the page counts them in bits."""


def viewed(store: Store) -> list[Viewed]:
    """Of each method on each task the circuits of one run, that of the lowest seeds; of random ones none.

    Raises:
        DamagedFile: a run or a circuit cannot be read, or another is in its place.
    """
    first: dict[tuple[Any, ...], Run] = {}
    for run in store.runs():
        told = run.record
        if run.tensors and told.method != BASELINE["method"]:
            place = (
                *(getattr(told, name) for name in names_of(Dimensions) if "seed" not in name),
                run.source,
            )
            held = first.setdefault(place, run)
            if (told.data_seed, told.method_seed) < (held.record.data_seed, held.record.method_seed):
                first[place] = run
    records = [run.record for run in first.values()]
    several = [name for name in ("graph", "n_discovery") if len({getattr(r, name) for r in records}) > 1]
    found = [made for run in first.values() if (made := _viewed(store, run, several)) is not None]
    return sorted(found, key=lambda each: each.place)


def _viewed(store: Store, run: Run, several: list[str]) -> Viewed | None:
    import reports
    from reports.parts.methods import label_of

    circuits = dict(_circuits(store, run))
    if not circuits:
        return None
    told, scores = run.record, run.tensors.get("discovery.scores")
    edges: dict[str, Edge] = {name: drawn_edge(name) for circuit in circuits.values() for name in circuit}
    graph = next(iter(circuits.values())).graph
    place = [told.task, told.model, told.ablation, *([told.graph] if "graph" in several else [])]
    return reports.Viewed(
        " · ".join(place),
        label_of(told.method, ", ".join(_apart(told, run.source, several))),
        [(f"{size:.4g} %", frozenset(edges[name] for name in circuit)) for size, circuit in circuits.items()],
        {} if scores is None else {name: float(scores[graph.parse_edge(name)]) for name in edges},
    )


def _circuits(store: Store, run: Run) -> Iterator[tuple[float, Circuit]]:
    for size, name in sorted(sized(run.record).items())[:SIZES]:
        file = store.circuit(run.stem, size)
        if file.exists() and len(circuit := stored_circuit(file, run.record.circuits[name]["hash"])) <= MOST:
            yield 100 * size, circuit


def _apart(told: Record, source: str, several: list[str]) -> list[str]:
    """Options, and what else tells a method from itself."""
    found = [told.params] if told.params else []
    found += [f"n_discovery={told.n_discovery}"] if "n_discovery" in several else []
    found += [f"wordings={told.wordings}"] if told.wordings != "all" else []
    found += [f"source={source}"] if source else []
    under = told.discovery_ablation
    return found + ([f"discovery_ablation={under}"] if under != told.ablation else [])
