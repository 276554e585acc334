"""Names of models, with what distinguishes their graphs if edges were counted in several ways."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Told = Mapping[str, Any]
Names = Mapping[tuple[str, str], str]


def model_names(counted: Iterable[tuple[str, str]]) -> Names:
    """A name for each model and graph: runs on two graphs of one model never share a row.

    Args:
        counted: models, each with the text of its graph; empty where no graph was made.
    """
    words: dict[str, list[list[str]]] = {}
    for model, graph in counted:
        if graph.split() not in words.setdefault(model, []) and graph:
            words[model].append(graph.split())
    return {
        (model, " ".join(graph)): _named(model, [w for w in graph if any(w not in other for other in graphs)])
        for model, graphs in words.items()
        for graph in graphs
    }


def _named(model: str, apart: Sequence[str]) -> str:
    return f"{model} ({' '.join(apart)})" if apart else model


def named(told: Mapping[str, Sequence[Told]], names: Names | None = None) -> dict[str, list[dict[str, Any]]]:
    """What `circuitmark compare --json` prints, with each model under its display name.

    Args:
        told: lines by kind, each with its `model` and `graph`.
        names: of the models; made from the lines themselves if left out.
    """
    if names is None:
        names = model_names((row["model"], row.get("graph", "")) for rows in told.values() for row in rows)
    return {
        kind: [
            {**row, "model": names.get((row["model"], row.get("graph", "")), row["model"])} for row in rows
        ]
        for kind, rows in told.items()
    }
