"""Circuit: the edges (and weights) of a model that are kept; set operations, saving and loading."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from bench.engine.ablation import ABLATIONS, AblationName
from bench.engine.graph import EdgeGraph
from bench.errors import DamagedFile
from bench.files import content_hash, load_tensors, save_tensors
from bench.schema import Natural, read

FORMAT = "circuitmark-circuit-1"


@dataclass(frozen=True, eq=False)
class Circuit:
    """A set of edges of one graph, and optionally a set of weights.

    It is not a model: `MaskedModel.run` computes with its masks.

    Raises:
        ValueError: the mask does not fit the graph, or keeps an edge that does not exist.
    """

    graph: EdgeGraph
    kept: Bool[Tensor, "receivers senders"]
    """True where an edge is kept."""
    weights: Mapping[str, Bool[Tensor, "..."]] = field(default_factory=dict)
    """True where a weight is kept; weights that are not named are whole."""

    def __post_init__(self) -> None:
        if self.kept.dtype != torch.bool or self.kept.shape != self.graph.shape:
            raise ValueError(f"a circuit of this graph needs a bool mask of shape {self.graph.shape}, "
                             f"not {self.kept.dtype} of shape {tuple(self.kept.shape)}")  # fmt: skip
        beyond = self.kept & ~self.graph.exists
        if beyond.any():
            row, column = beyond.nonzero()[0].tolist()
            raise ValueError(f"{self.graph.edge_name(row, column)} is not an edge of this graph")

    @classmethod
    def full(cls, graph: EdgeGraph) -> Circuit:
        """Every edge."""
        return cls(graph, graph.exists.clone())

    @classmethod
    def empty(cls, graph: EdgeGraph) -> Circuit:
        """No edge."""
        return cls(graph, torch.zeros_like(graph.exists))

    @classmethod
    def of(cls, graph: EdgeGraph, edges: Iterable[str]) -> Circuit:
        """The circuit of some edges given as text, such as ``a0.h3->m1``."""
        kept = torch.zeros_like(graph.exists)
        for edge in edges:
            kept[graph.parse_edge(edge)] = True
        return cls(graph, kept)

    def edges(self) -> list[tuple[str, str]]:
        """The kept edges as (sender, receiver) names, in order of computation."""
        return [
            (self.graph.senders[column].name, self.graph.receivers[row].name)
            for row, column in self.kept.nonzero().tolist()
        ]

    def __iter__(self) -> Iterator[str]:
        return (f"{sender}->{receiver}" for sender, receiver in self.edges())

    def __len__(self) -> int:
        return int(self.kept.sum())

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Circuit)
            and self.graph == other.graph
            and torch.equal(self.kept, other.kept)
            and self.weights.keys() == other.weights.keys()
            and all(torch.equal(mask, other.weights[name]) for name, mask in self.weights.items())
        )

    def __or__(self, other: Circuit) -> Circuit:
        """Union. A weight that either circuit leaves whole is whole."""
        shared = self.weights.keys() & other.weights.keys()
        return Circuit(self.graph, self.kept | other.kept,
                       {n: self.weights[n] | other.weights[n] for n in sorted(shared)})  # fmt: skip

    def __and__(self, other: Circuit) -> Circuit:
        """Intersection. A weight is kept where both circuits keep it."""
        weights = dict(self.weights)
        for name, mask in other.weights.items():
            weights[name] = weights[name] & mask if name in weights else mask
        return Circuit(self.graph, self.kept & other.kept, weights)

    def complement(self) -> Circuit:
        """What is left when everything that was kept is removed.

        If only weights are pruned, the complement keeps every edge; weights that are not named stay whole.
        """
        prunes_weights = not all(mask.all() for mask in self.weights.values())
        prunes_edges = len(self) < self.graph.n_edges or not prunes_weights
        kept = self.graph.exists & ~self.kept if prunes_edges else self.kept
        return Circuit(self.graph, kept, {n: ~mask for n, mask in self.weights.items() if prunes_weights})

    def effective(self, ablation: AblationName) -> Circuit:
        """The edges that can matter: those on a path to the logits and, under resample, from the input.

        If references are constants, a sender that nothing feeds still has an output of its own (from its
        biases, the same for every input), so only the path to the logits counts. The same holds if weights
        are masked, because an unfed sender then differs from its reference. The logits equal those of the
        whole circuit; a test checks this.
        """
        owners = self.graph.owners.bool()
        reaches = torch.zeros(len(self.graph.senders), dtype=torch.bool)
        useful = owners.sum(1) == 0  # receivers that lead to the logits; at first only the logits
        for column in reversed(range(len(reaches))):
            reaches[column] = (self.kept[:, column] & useful).any()
            if reaches[column]:
                useful |= owners[:, column]
        kept = self.kept & useful[:, None]
        if ABLATIONS[ablation].from_corrupted and not self.weights:
            fed = torch.arange(len(reaches)) < self.graph.n_embed
            for column in range(self.graph.n_embed, len(reaches)):
                fed[column] = (self.kept[owners[:, column]] & fed).any()
            kept = kept & fed
        return Circuit(self.graph, kept, self.weights)

    @property
    def sparsity(self) -> float:
        """Share of edges removed, from 0 to 1."""
        return 1 - len(self) / self.graph.n_edges

    def nodes(self) -> tuple[str, ...]:
        """Names of the heads and MLPs that have a kept edge on either side, in order of computation."""
        read = self.graph.readers.bool()[self.kept.any(1)].any(0)
        touched = (self.kept.any(0) | read).tolist()
        computing = zip(self.graph.senders, touched, strict=True)
        return tuple(node.name for node, on in computing if on and node.kind in ("head", "mlp"))

    @property
    def nodes_kept(self) -> int:
        """Number of heads and MLPs that have a kept edge."""
        return len(self.nodes())

    @classmethod
    def of_nodes(cls, graph: EdgeGraph, kept: Bool[Tensor, " senders"]) -> Circuit:
        """All edges among some heads and MLPs, and between them and the embeddings and the logits.

        A k or v receiver that several heads share is included with any of these heads.

        Args:
            graph: the model's.
            kept: the senders to keep; the embeddings are always kept.
        """
        kept = kept.clone()
        kept[: graph.n_embed] = True
        owners = graph.readers.bool()
        read = (owners & kept).any(1) | ~owners.any(1)  # the logits have no owner
        return cls(graph, graph.exists & read[:, None] & kept)

    def densities(self, matrices: Mapping[str, torch.Size]) -> dict[str, float]:
        """Share of each of `matrices` (shapes by name) that is kept; matrices without a mask are whole."""
        return {n: float(self.weights[n].double().mean()) if n in self.weights else 1.0 for n in matrices}

    def weight_density(self, matrices: Mapping[str, torch.Size]) -> float:
        """Share of all weights of `matrices` together that is kept."""
        kept = [share * matrices[name].numel() for name, share in self.densities(matrices).items()]
        return sum(kept) / sum(shape.numel() for shape in matrices.values())

    def effective_weight_density(self, ablation: AblationName, matrices: Mapping[str, torch.Size]) -> float:
        """The same, counting as kept only weights of heads and MLPs with an effective edge out."""
        live = self.effective(ablation).kept.any(0)
        kept = 0
        for name, shape in matrices.items():
            mask = self.weights[name] if name in self.weights else torch.ones(shape, dtype=torch.bool)
            on = self._computing(name, live)
            kept += int(mask.reshape(len(on), -1)[on].sum())
        return kept / sum(shape.numel() for shape in matrices.values())

    def _computing(self, matrix: str, live: Tensor) -> Tensor:
        """For each head's or receiver's part of a matrix, whether a live sender uses it."""
        node, part = matrix.split(".")
        heads, rows = (at(int(node[1:])) for at in (self.graph.head_columns, self.graph.attention_rows))
        if node.startswith("m"):
            return live[heads.stop : heads.stop + 1]
        if part == "W_O" and not self.graph.coupled_heads:
            return live[heads]
        if part == "W_O":  # coupled heads share the scale of their outputs
            return live[heads].any().expand(self.graph.n_heads)
        return (self.graph.owners[rows].bool() & live).any(1)

    def save(self, path: Path | str) -> None:
        """Writes one safetensors file whose header holds the graph as JSON; atomic, never a pickle.

        Weight masks take one bit per entry, first entry first; their shapes are in the header.
        """
        save_tensors(Path(path), *self._parts())

    @property
    def digest(self) -> str:
        """A hash of graph, edges and weights, by which a run's record identifies its circuits."""
        tensors, header = self._parts()
        return content_hash(tensors, json.dumps(header, sort_keys=True))[:16]

    def _parts(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors and header of its file."""
        shapes = {name: list(mask.shape) for name, mask in self.weights.items()}
        packed = {f"weights.{name}": _packed(mask) for name, mask in self.weights.items()}
        header = {"format": FORMAT, "graph": asdict(self.graph), "edges_kept": len(self), "weights": shapes}
        return {"edges": self.kept, **packed}, header

    @classmethod
    def load(cls, path: Path | str) -> Circuit:
        """Reads what `save` wrote.

        Raises:
            DamagedFile: the file is truncated, is not one of ours, or does not fit its own graph.
        """
        tensors, stored = load_tensors(Path(path))
        if stored.get("format") != FORMAT:
            raise DamagedFile(f"{path} is not a circuitmark circuit: its header lacks '{FORMAT}'")
        try:
            header = read(_Header, stored)
            shapes = header.weights
            if set(tensors) != {"edges", *(f"weights.{name}" for name in shapes)}:
                raise ValueError("its tensors are not those named in its header")
            weights = {name: _unpacked(tensors[f"weights.{name}"], shape) for name, shape in shapes.items()}
            circuit = cls(header.graph, tensors["edges"], weights)
            if len(circuit) != header.edges_kept:
                raise ValueError(f"it has {len(circuit)} edges, not {header.edges_kept}")
        except (ValueError, RuntimeError) as error:  # RuntimeError: a shape too large for torch
            raise DamagedFile(f"{path} is not a complete circuit ({error}): move it away") from error
        return circuit


@dataclass(frozen=True)
class _Header:
    """The header of a circuit's file."""

    format: str
    graph: EdgeGraph
    edges_kept: Natural
    weights: Mapping[str, Sequence[Natural]]
    """Shapes of the matrices whose masks follow."""


def _packed(mask: Tensor) -> Tensor:
    return torch.from_numpy(np.packbits(mask.cpu().numpy()))


def _unpacked(bits: Tensor, shape: Sequence[int]) -> Tensor:
    entries = math.prod(shape)
    if bits.dtype != torch.uint8 or bits.shape != (-(-entries // 8),):
        raise ValueError(f"a weight mask of {entries} entries must have as many bits")
    return torch.from_numpy(np.unpackbits(bits.numpy(), count=entries).astype(bool)).view(tuple(shape))
