"""A list of edges as text, one ``sender -> receiver`` per line, in our names or in those of other programs.

A tab and a number after an edge are its score; either all edges have one or none has. Empty lines and those
that begin with ``#`` are ignored, except the first line that our writer adds, which describes the graph that
the edges belong to. Without it, a list is taken to belong to the requested graph.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import torch

from bench.engine.graph import EdgeGraph, node_of
from bench.exchange.contents import Contents, of_some_size
from bench.exchange.spellings import LONGEST, OWN, SPELLINGS, Dictionary, is_within_a_node, names_of
from bench.files import read_text, write_atomically
from bench.schema import read as as_kind

MOST_BYTES = 2**28
GRAPH = "# graph of circuitmark: "


def read(path: Path, graph: EdgeGraph | None) -> Contents:
    """Reads a list; our names and those of other programs may be mixed.

    A repeated edge counts once, with a note. ACDC's edges within a head or an MLP are ignored.

    Args:
        path: of the file.
        graph: its graph, if it does not say; other programs' names belong to the same, per query head.

    Raises:
        ValueError: a line is not an edge of the graph, or the graph is not known.
        DamagedFile: it is not UTF-8 text.
    """
    text = read_text(path, MOST_BYTES)
    told = _graph_in(text.partition("\n")[0]) if text.startswith(GRAPH) else None
    lines = list(_lines(text))
    graph = told or graph
    if not lines and told is None:
        raise ValueError("it has no line with an edge")
    if graph is None:
        raise ValueError("it does not say which model its edges belong to: name one with --model")
    ours = told is not None or any(_is_our_port(edge) for _, edge, _ in lines)
    counted = graph if ours else graph.per_head
    dictionary = Dictionary(counted, (OWN, *_fitting(counted)))
    found: dict[tuple[int, int], str | None] = {}
    twice = 0
    for number, edge, score in lines:
        try:
            place = dictionary.edge(edge)
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from error
        if place in found and found[place] != score:
            raise ValueError(f"line {number}: '{edge}' was listed before, with another score")
        twice += place in found
        found[place] = score
    notes = (f"{twice:,} lines repeat an edge; each edge counts once",) if twice else ()
    return _contents(counted, found, notes)


def write(path: Path, contents: Contents, spelling: str = OWN) -> None:
    """Writes the edges of a circuit or, if there are scores, all edges with theirs.

    Args:
        path: of the file.
        contents: if they have scores, these are written, and not which edges are kept.
        spelling: whose names to use; other programs' are per query head.

    Raises:
        ValueError: they have weight masks, or a node for which the program has no name.
        UnwritableFolder: the folder cannot be written to.
    """
    contents = contents.without_weights()
    whole = contents if spelling == OWN else contents.on(contents.graph.per_head)
    graph = whole.graph
    senders, receivers = names_of(graph, spelling)
    lines = [GRAPH + json.dumps(asdict(graph))]
    if whole.scores is not None:
        places, scores = graph.exists.nonzero().tolist(), whole.scores[graph.exists].tolist()
        ends = [f"\t{score!r}" for score in scores]
    else:
        assert whole.circuit is not None
        places = whole.circuit.kept.nonzero().tolist()
        ends = [""] * len(places)
    lines += [
        f"{senders[column]} -> {receivers[row]}{end}" for (row, column), end in zip(places, ends, strict=True)
    ]
    write_atomically(path, ("\n".join(lines) + "\n").encode())


def _graph_in(line: str) -> EdgeGraph:
    try:
        return of_some_size(as_kind(EdgeGraph, json.loads(line.removeprefix(GRAPH))))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"its first line does not describe a graph ({error})") from error


def _lines(text: str) -> Iterator[tuple[int, str, str | None]]:
    """Number, edge and score of each line with an edge."""
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("#") or not line.strip():
            continue
        edge, tab, score = line.strip().partition("\t")
        if len(edge) > LONGEST:
            raise ValueError(f"line {number} has {len(line):,} characters; an edge has at most {LONGEST}")
        if not is_within_a_node(edge):
            yield number, edge.strip(), score.strip() if tab else None


def _is_our_port(edge: str) -> bool:
    """Whether the receiver is a query, key or value in our names, where its number may be a group's."""
    try:
        return node_of(edge.partition("->")[2].strip(), "receiver").port is not None
    except ValueError:
        return False


def _fitting(graph: EdgeGraph) -> Iterator[str]:
    """The programs that have a name for every node of a graph."""
    for spelling in SPELLINGS:
        try:
            names_of(graph, spelling)
        except ValueError:
            continue
        yield spelling


def _contents(graph: EdgeGraph, found: dict[tuple[int, int], str | None], notes: tuple[str, ...]) -> Contents:
    kept = torch.zeros_like(graph.exists)
    rows, columns = torch.tensor(list(found), dtype=torch.long).view(-1, 2).T
    scored = [score for score in found.values() if score is not None]
    if not scored:
        kept[rows, columns] = True
        return Contents.of(graph, kept, None, notes=notes)
    if len(scored) < graph.n_edges:
        raise ValueError(
            f"only {len(scored):,} of the graph's {graph.n_edges:,} edges have a score: give all of them one"
        )
    scores = torch.zeros(graph.shape, dtype=torch.float64)
    scores[rows, columns] = torch.tensor([_number(score) for score in scored], dtype=torch.float64)
    return Contents.of(graph, None, scores, notes=notes)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"the score '{text[:50]}' is not a number") from None
