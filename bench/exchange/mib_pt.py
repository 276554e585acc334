"""MIB's circuits as a torch file: tensors ``[sender, receiver]``, the transpose of ours.

The only module of circuitmark that calls `torch.load`: with ``weights_only=True`` it reads tensors, numbers
and strings, and refuses anything that would run code.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor

from bench.engine.graph import EdgeGraph
from bench.exchange.contents import Contents
from bench.exchange.mib import NEURONS, SPELLING, cfg_of, contents_of, filled, graph_of, nodes_kept
from bench.exchange.spellings import names_of
from bench.files import regular, write_atomically

MOST_BYTES = 2**32
SCORES, KEPT, NODES = "edges_scores", "edges_in_graph", "nodes_scores"


def read(path: Path) -> Contents:
    """Reads scores, membership, or both; scores of nodes if edges have none.

    Raises:
        ValueError: it is not such a file, holds code, or its tensors do not fit its cfg.
    """
    stored = _loaded(regular(path))
    if not isinstance(stored, Mapping) or not {SCORES, KEPT, NODES} & stored.keys():
        raise ValueError(f"it has no {SCORES}, {KEPT} or {NODES}, by which MIB's circuits are recognised")
    for name, is_idle in (("neurons_in_graph", Tensor.bool), ("neurons_scores", Tensor.isnan)):
        if isinstance(neurons := stored.get(name), Tensor):
            _refuse_strange(neurons, name)
            if not is_idle(neurons).all():
                raise ValueError(NEURONS)
    graph = graph_of(stored.get("cfg"))
    for name, wanted in zip(("src_nodes", "dst_nodes"), names_of(graph, SPELLING), strict=True):
        if name in stored and not (isinstance(stored[name], list) and stored[name] == wanted):
            raise ValueError(f"its {name} are not the nodes of its cfg, in order of computation")
    kept, scores = (_matrix(stored.get(name), name, graph) for name in (KEPT, SCORES))
    if kept is not None and kept.dtype != torch.bool:
        if not ((kept == 0) | (kept == 1)).all():
            raise ValueError(f"its {KEPT} are not all 0 or 1")
        kept = kept.bool()
    if scores is not None:
        if not scores.is_floating_point():
            raise ValueError(f"its {SCORES} are {scores.dtype}, not floating-point numbers")
        scores = torch.where(graph.exists, scores, 0)  # MIB ignores what is not an edge
    return contents_of(graph, kept, scores, _node_scores(stored.get(NODES), graph))


def write(path: Path, contents: Contents) -> None:
    """Writes contents per query head; without scores all are 0, and without a circuit no edge is kept.

    Raises:
        ValueError: the format cannot hold them.
        UnwritableFolder: the folder cannot be written to.
    """
    graph, kept, scores = filled(contents)
    senders, receivers = names_of(graph, SPELLING)
    told = {
        "cfg": cfg_of(graph), "src_nodes": senders, "dst_nodes": receivers,
        SCORES: scores.T.contiguous(), KEPT: kept.T.contiguous(),
        "nodes_in_graph": torch.tensor(nodes_kept(graph, kept)),
    }  # fmt: skip
    if contents.nodes is not None:
        told[NODES] = contents.nodes
    file = io.BytesIO()
    torch.save(told, file)
    write_atomically(path, file.getvalue())


def _loaded(path: Path) -> Any:
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
    except zipfile.BadZipFile as error:
        raise ValueError("it is not a complete torch file") from error
    if size > MOST_BYTES:
        raise ValueError(f"it unpacks to {size:,} bytes, more than any circuit has")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        raise ValueError(
            "it holds more than tensors, numbers and strings, so it could run code, and is not read"
        ) from error
    except Exception as error:  # a damaged file makes torch raise anything
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"it is not a complete torch file ({reason})") from error


def _node_scores(stored: Any, graph: EdgeGraph) -> Tensor | None:
    """A score per sender, NaN for one that has none; None if none has one."""
    if stored is None:
        return None
    n = len(graph.senders)
    if not isinstance(stored, Tensor) or tuple(stored.shape) != (n,) or not stored.is_floating_point():
        raise ValueError(f"its {NODES} are not {n} floating-point numbers, one for each sender of its cfg")
    _refuse_strange(stored, NODES)
    return None if stored.isnan().all() else stored.detach()


def _refuse_strange(stored: Tensor, name: str) -> None:
    if stored.layout is not torch.strided or stored.is_meta or stored.is_quantized:
        raise ValueError(f"its {name} are not a plain tensor")


def _matrix(stored: Any, name: str, graph: EdgeGraph) -> Tensor | None:
    if stored is None:
        return None
    rows, columns = graph.shape
    if not isinstance(stored, Tensor) or tuple(stored.shape) != (columns, rows):
        shape = tuple(stored.shape) if isinstance(stored, Tensor) else type(stored).__name__
        raise ValueError(f"its {name} are {shape}, but its cfg has {columns} senders and {rows} receivers")
    _refuse_strange(stored, name)
    return stored.detach().T.contiguous()
