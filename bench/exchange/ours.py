"""Our own files: a circuit as `Circuit.save` writes it, or scores of all edges, with or without a circuit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.engine.circuit import Circuit
from bench.engine.graph import EdgeGraph
from bench.exchange.contents import Contents
from bench.files import load_header, load_tensors, save_tensors
from bench.schema import read as as_kind

SCORES = "circuitmark-scores-1"


@dataclass(frozen=True)
class _Header:
    format: str
    graph: EdgeGraph


def read(path: Path) -> Contents:
    """Reads a circuit or scores.

    Raises:
        ValueError: the file is one of ours, but neither of these.
        DamagedFile: it is not one of ours, or is incomplete.
    """
    header = load_header(path)
    if header.get("format") != SCORES:
        circuit = Circuit.load(path)
        return Contents(circuit.graph, circuit)
    tensors, stored = load_tensors(path)
    graph = as_kind(_Header, stored).graph
    if not {"scores"} <= tensors.keys() <= {"scores", "edges"}:
        raise ValueError("its tensors are not those of a file of scores")
    return Contents.of(graph, tensors.get("edges"), tensors["scores"])


def write(path: Path, contents: Contents) -> None:
    """Writes a circuit, or scores with the circuit if there is one.

    Raises:
        ValueError: there are scores and a circuit with weight masks.
        UnwritableFolder: the folder cannot be written to.
    """
    if contents.scores is None:
        assert contents.circuit is not None
        contents.circuit.save(path)
        return
    circuit = contents.without_weights().circuit
    tensors: Mapping[str, Any] = {} if circuit is None else {"edges": circuit.kept}
    save_tensors(
        path, {"scores": contents.scores, **tensors}, {"format": SCORES, "graph": asdict(contents.graph)}
    )
