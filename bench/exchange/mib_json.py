"""MIB's circuits as JSON: a configuration, and a score, membership, or both for each edge or each node."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.exchange.contents import Contents
from bench.exchange.mib import NEURONS, SPELLING, cfg_of, contents_of, filled, graph_of, nodes_kept
from bench.exchange.spellings import Dictionary, names_of
from bench.files import read_text, write_atomically

MOST_BYTES = 2**30


def read(path: Path) -> Contents:
    """Reads a file of edges; an edge that it does not list is not in the circuit, and its score is 0.

    If no edge has a score, those of nodes are read.

    Raises:
        ValueError: it is not such a file, or its contents are invalid.
        DamagedFile: it is not UTF-8 text.
    """
    try:
        stored = json.loads(read_text(path, MOST_BYTES), object_pairs_hook=_once)
    except RecursionError as error:
        raise ValueError("it is not a circuit in JSON: it is nested too deeply") from error
    except json.JSONDecodeError as error:
        raise ValueError(f"it is not valid JSON (line {error.lineno}: {error.msg})") from error
    if not isinstance(stored, dict) or not isinstance(edges := stored.get("edges"), dict):
        raise ValueError("it has no 'edges', by which MIB's circuits are recognised")
    _refuse_neurons(stored.get("nodes"))
    graph = graph_of(stored.get("cfg"))
    dictionary = Dictionary(graph, (SPELLING,))
    kept, scores = _column(edges, "in_graph"), _column(edges, "score")
    nodes = _node_scores(stored.get("nodes"), dictionary)
    if kept is None and scores is None and nodes is None:
        raise ValueError("its edges have neither 'score' nor 'in_graph'")
    rows, columns = torch.tensor([dictionary.edge(name) for name in edges], dtype=torch.long).view(-1, 2).T

    def placed(values: list[Any] | None, dtype: torch.dtype) -> Tensor | None:
        if values is None:
            return None
        matrix = torch.zeros(graph.shape, dtype=dtype)
        matrix[rows, columns] = torch.tensor(values, dtype=dtype)
        return matrix

    return contents_of(graph, placed(kept, torch.bool), placed(scores, torch.float64), nodes)


def write(path: Path, contents: Contents) -> None:
    """Writes contents per query head; without scores all are 0, and without a circuit no edge is kept.

    Raises:
        ValueError: the format cannot hold them.
        UnwritableFolder: the folder cannot be written to.
    """
    graph, kept, scores = filled(contents)
    senders, receivers = names_of(graph, SPELLING)
    nodes: dict[str, dict[str, float]] = {
        name: {"in_graph": on} for name, on in zip(senders, nodes_kept(graph, kept), strict=True)
    }
    if contents.nodes is not None:
        for name, value in zip(senders, contents.nodes.tolist(), strict=True):
            nodes[name] |= {} if math.isnan(value) else {"score": value}
    there = graph.exists.T  # sender by sender
    places, values, on = there.nonzero().tolist(), scores.T[there].tolist(), kept.T[there].tolist()
    edges = {
        f"{senders[column]}->{receivers[row]}": {"score": value, "in_graph": is_kept}
        for (column, row), value, is_kept in zip(places, values, on, strict=True)
    }
    nodes["logits"] = {"in_graph": True}
    write_atomically(path, json.dumps({"cfg": cfg_of(graph), "nodes": nodes, "edges": edges}).encode())


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object, refused if a name appears in it twice."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in found if names.count(name) > 1)
        raise ValueError(f"'{twice[:100]}' appears in it twice")
    return found


def _refuse_neurons(nodes: Any) -> None:
    told = nodes.values() if isinstance(nodes, dict) else ()
    if any({"neurons", "neurons_scores"} & node.keys() for node in told if isinstance(node, dict)):
        raise ValueError(NEURONS)


def _node_scores(nodes: Any, dictionary: Dictionary) -> Tensor | None:
    """A score per sender, NaN for one that has none; None if none has one."""
    found = torch.full((len(dictionary.graph.senders),), torch.nan, dtype=torch.float64)
    for name, node in nodes.items() if isinstance(nodes, dict) else ():
        value = node.get("score") if isinstance(node, dict) else None
        if value is None or name == "logits":  # the logits always stay
            continue
        if not _is(value, (int, float)):
            raise ValueError(f"the score of '{name[:100]}' is not a number")
        found[dictionary.sender(name)] = _unbounded(value)
    return None if found.isnan().all() else found


def _column(edges: Mapping[str, Any], field: str) -> list[Any] | None:
    """One field of every edge; None if no edge has it."""
    kind, wanted = (bool, "true or false") if field == "in_graph" else ((int, float), "a number")
    values = []
    for name, edge in edges.items():
        value = edge.get(field) if isinstance(edge, dict) else edge
        if not isinstance(edge, dict) or (value is not None and not _is(value, kind)):
            raise ValueError(f"the {field} of '{name[:100]}' is not {wanted}")
        values.append(_unbounded(value) if field == "score" and value is not None else value)
    missing = [name for name, value in zip(edges, values, strict=True) if value is None]
    if missing and len(missing) < len(values):
        raise ValueError(f"'{missing[0][:100]}' has no {field}, which other edges have")
    return None if missing or (not values and field == "score") else values


def _unbounded(value: int | float) -> float:
    """A float; infinite for a JSON integer that is too large for one."""
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _is(value: Any, kind: Any) -> bool:
    return isinstance(value, kind) and isinstance(value, bool) == (kind is bool)
