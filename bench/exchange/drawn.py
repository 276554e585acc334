"""Circuits as pictures: `circuitmark draw`, and how a notebook shows one."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bench.engine.circuit import Circuit
from bench.engine.graph import EMBEDDINGS, EdgeGraph, Node, ends_of
from bench.errors import UsageError
from bench.exchange.contents import Contents
from bench.exchange.cuts import cut_at, level_of
from bench.exchange.formats import read_circuit
from bench.exchange.published import PREFIX
from bench.files import write_atomically
from bench.models.load import graph_of
from bench.names import parse_sizes
from bench.scoring.evaluate import ABSOLUTE
from bench.store.record import check_choices

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST = 300
"""Most edges in a picture that are drawn one by one; beyond that, counts per head and MLP are drawn."""
KINDS = (".svg", ".png", ".pdf", ".json")


def draw(
    named: Sequence[str],
    out: Path | None = None,
    *,
    names: Sequence[str] = (),
    share: str | None = None,
    title: str = "",
    model: str | None = None,
    revision: str = "",
    kv: str = "per_group",
    members: bool = False,
) -> str:
    """Draws one circuit, or two in one picture; returns a line that says what was drawn.

    Args:
        named: one file or two, of any format, or ``published:NAME``.
        out: the file to write, of one of `KINDS`; the first circuit's name, with .svg, if left out.
        names: the circuits' names; those of their files if left out.
        share: of the edges or nodes, at which to cut files of scores, by the absolute scores.
        title: of the picture; the circuits' names if left out.
        model: the circuits' model, if a file does not say.
        revision: of a hub's model.
        kv: how keys and values are counted, if a model is named.
        members: for files that have both, takes the circuit and not the scores.

    Raises:
        UsageError: a file cannot be read; the picture exists; scores without a share, or the reverse; more
            than two circuits, or of different models; names that do not tell them apart; an unknown kv.
        ModelError: the model is not available.
        UnwritableFolder: the folder cannot be written to.
    """
    check_choices(kv=kv)
    if len(named) > 2:
        raise UsageError(f"{len(named)} circuits cannot be drawn in one picture: name one or two")
    if len(named) > 1 and named[0] == named[1]:
        raise UsageError(f"{named[0]} is named twice: name two different circuits, or one")
    out = Path(Path(named[0].removeprefix(PREFIX)).stem + ".svg") if out is None else out
    if names and len({*names}) != len(named):
        raise UsageError(f"give --name once for each circuit ({len(named)} here), with different names")
    if out.suffix not in KINDS:
        raise UsageError(f"the ending of {out} is not that of a picture: use one of {', '.join(KINDS)}")
    if os.path.exists(out):  # unlike out.exists, no error in a forbidden folder
        raise UsageError(f"{out} already exists and is not overwritten: name another file with --out")
    graph = None if model is None else graph_of(model, revision)
    graph = graph.per_head if graph is not None and kv == "per_head" else graph
    circuits: dict[str, Circuit] = {}
    scores: dict[str, Contents] = {}
    for name, label in zip(named, names or _labels(named), strict=True):
        contents = read_circuit(name, graph, members=members)
        circuits[label], scores[label] = _cut(name, contents, share), contents
    graphs = [circuit.graph for circuit in circuits.values()]
    if graphs[0] != graphs[-1]:
        raise UsageError(
            f"{named[0]} and {named[1]} belong to different graphs "
            f"({graphs[0].description}; {graphs[1].description}): draw each on its own"
        )
    write_atomically(out, _content(circuits, scores, out.suffix, title or " and ".join(circuits)))
    counts = " and ".join(f"{name}, {len(circuit):,} edges" for name, circuit in circuits.items())
    notes = [note for contents in scores.values() for note in contents.notes]
    return "\n".join([f"{out}: {counts} ({graphs[0].description})", *notes])


def _labels(named: Sequence[str]) -> list[str]:
    """Each file's name without its ending; if two are the same, with its folder's, or as it was typed."""
    for parts in (1, 2):
        labels = [
            name if name.startswith(PREFIX) else "/".join(Path(name).with_suffix("").parts[-parts:])
            for name in named
        ]
        if len({*labels}) == len(named):
            return labels
    return list(named)


def _cut(name: str, contents: Contents, share: str | None) -> Circuit:
    """The circuit of a file, or the one cut from its scores at a share."""
    if level_of(contents) is None:
        if share is not None:
            raise UsageError(f"{name} has no scores to cut: leave --share out")
        assert contents.circuit is not None
        return contents.circuit
    if share is None:
        members = " (or --members, to draw its circuit instead)" if contents.circuit is not None else ""
        raise UsageError(f"{name} has scores: say at which share to cut them, e.g. --share 5%{members}")
    (size,) = parse_sizes([share])
    return cut_at(contents, size, ABSOLUTE)


def _content(circuits: Mapping[str, Circuit], scores: Mapping[str, Contents], kind: str, title: str) -> bytes:
    if kind == ".json":
        return (json.dumps(_told(circuits, scores), indent=1) + "\n").encode()
    from reports.parts.svg import render

    endings: dict[str, Literal["svg", "png", "pdf"]] = {".svg": "svg", ".png": "png", ".pdf": "pdf"}
    return render(picture(circuits, title), endings[kind])


def picture(circuits: Mapping[str, Circuit], title: str) -> Figure:
    """One circuit or two as a figure: each edge a line if there are at most `MOST` in all."""
    import reports

    drawn = {name: [drawn_edge(edge) for edge in circuit] for name, circuit in circuits.items()}
    if len({edge for edges in drawn.values() for edge in edges}) > MOST:
        return reports.summarise(drawn, title)
    if len(drawn) == 1:
        return reports.draw_circuit(next(iter(drawn.values())), title)
    one, other = drawn
    return reports.draw_two(drawn[one], drawn[other], (one, other), title)


def _told(circuits: Mapping[str, Circuit], scores: Mapping[str, Contents]) -> dict[str, Any]:
    """What is drawn, as data: the circuits and scores of each edge, and where nodes and edges are."""
    import reports

    kept = {of: set(circuit) for of, circuit in circuits.items()}
    edges = {name: drawn_edge(name) for name in sorted(set().union(*kept.values()))}
    layout = reports.lay_out(edges.values()) if len(edges) <= MOST else None
    graph: EdgeGraph = next(iter(circuits.values())).graph
    told = []
    for name, edge in edges.items():
        sender, receiver = name.split("->")
        ranked = {of: contents.scores[graph.parse_edge(name)] for of, contents in scores.items()
                  if contents.scores is not None}  # fmt: skip
        told.append(
            {
                "sender": sender,
                "receiver": receiver,
                "in": [of for of, theirs in kept.items() if name in theirs],
                "scores": {of: float(score) for of, score in ranked.items()},
                "points": [] if layout is None else [_rounded(point) for point in layout.routes[edge]],
            }
        )
    boxes = {} if layout is None else {node.name: _rounded(place) for node, place in layout.boxes.items()}
    return {
        "graph": graph.description,
        "circuits": [{"name": name, "edges_kept": len(circuit)} for name, circuit in circuits.items()],
        "nodes": [{"name": name, "x": x, "y": y} for name, (x, y) in boxes.items()],
        "edges": told,
    }


def _rounded(point: tuple[float, float]) -> tuple[float, float]:
    return round(point[0], 4), round(point[1], 4)


def drawn_edge(text: str) -> Any:
    """An edge as it is drawn.

    Raises:
        ValueError: the text is not an edge of any model.
    """
    import reports

    sender, receiver = (
        reports.Node(node.block, node.kind, node.layer, _place(node), node.port) for node in ends_of(text)
    )
    return reports.Edge(text, sender, receiver)


def _place(node: Node) -> int | None:
    """Place from the left among nodes computed together: token before position, heads by number."""
    return EMBEDDINGS.index(node.name) if node.kind == "embed" else node.head


def show_circuit(circuit: Circuit) -> str:
    """A circuit as HTML, for a notebook: its counts, and a picture where it has edges."""
    from reports.parts.svg import render

    graph = circuit.graph
    counts = f"{len(circuit):,} of {graph.n_edges:,} edges ({len(circuit) / graph.n_edges:.2%})"
    counts += f", {circuit.nodes_kept} heads and MLPs"
    if circuit.weights:
        counts += f", masks of {len(circuit.weights)} weight matrices"
    if not len(circuit):
        return f"<p>Circuit: {counts}</p>"
    image = base64.b64encode(render(picture({"": circuit}, ""), "svg")).decode()
    return f'<p>Circuit: {counts}</p><img alt="{counts}" src="data:image/svg+xml;base64,{image}">'
