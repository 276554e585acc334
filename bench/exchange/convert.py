"""Converts one file to another: `circuitmark convert`."""

from __future__ import annotations

from pathlib import Path

from bench.errors import UsageError
from bench.exchange.formats import read_circuit, write_circuit
from bench.models.load import graph_of
from bench.store.record import check_choices


def convert(
    circuit: Path | str,
    out: Path,
    *,
    to: str | None = None,
    model: str | None = None,
    revision: str = "",
    kv: str | None = None,
    members: bool = False,
) -> str:
    """Reads a circuit or scores and writes them, whole or not at all; returns a line on what was written.

    Args:
        circuit: a file of any format, or ``published:NAME``.
        out: the file to write; an existing one is not overwritten.
        to: a format's name; that of the file's ending if left out.
        model: the circuit's model; not needed if the file says how many layers and heads there are.
        revision: of a hub's model.
        kv: how keys and values are counted in the output; if left out, per group if a model is named, else
            as in the file.
        members: for a file that has both, writes the circuit and not the scores.

    Raises:
        UsageError: a file cannot be read, or cannot be written in that format.
        ModelError: the model is not available.
        UnwritableFolder: the folder cannot be written to.
    """
    if kv is not None:
        check_choices(kv=kv)
    if kv == "per_group" and model is None:
        raise UsageError("only the model says which heads form a group: name it with --model")
    graph = None if model is None else graph_of(model, revision)
    if graph is not None and kv == "per_head":
        graph = graph.per_head
    contents = read_circuit(circuit, graph, members=members)
    if kv == "per_head":
        contents = contents.on(contents.graph.per_head)
    write_circuit(out, contents, to)
    parts = [] if contents.circuit is None else [f"a circuit of {len(contents.circuit):,} edges"]
    parts += [] if contents.scores is None else [f"scores of {contents.graph.n_edges:,} edges"]
    parts += [] if contents.nodes is None else [f"scores of {int((~contents.nodes.isnan()).sum()):,} nodes"]
    told = [f"{out}: {' and '.join(parts)} ({contents.graph.description})", *contents.notes]
    return "\n".join(told)
