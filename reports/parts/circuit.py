"""A circuit as it is drawn: edges between nodes, which are identified by what they are, not by name."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Node:
    """One end of an edge: a box of a drawing and, for a head that reads, one of its ports."""

    name: str
    """The text in the box; a head's ports share its box and its name."""
    kind: Literal["embed", "head", "mlp", "logits"]
    layer: int | None = None
    head: int | None = None
    """Its number in the layer; for an embedding, its index among the embeddings."""
    port: Literal["q", "k", "v"] | None = None

    @property
    def row(self) -> tuple[int, int]:
        """Order of computation: nodes computed together share a row; later rows are larger."""
        if self.layer is None:
            return (2, 0) if self.kind == "logits" else (0, 0)
        return 1, 2 * self.layer + (self.kind == "mlp")


@dataclass(frozen=True)
class Edge:
    """An edge of a circuit.

    Raises:
        ValueError: its receiver is not computed after its sender.
    """

    name: str
    """As users spell it; the same edge always has the same name."""
    sender: Node
    receiver: Node

    def __post_init__(self) -> None:
        if self.sender.row >= self.receiver.row:
            raise ValueError(
                f"{self.name!r} is not an edge: {self.receiver.name} is not computed after {self.sender.name}"
            )


@dataclass(frozen=True)
class CircuitPair:
    """A program's true circuit and the one that a method found, for drawing.

    If several circuits are true, `truth` is the one that `found` was compared with.
    """

    program: str
    ablation: str
    method: str
    """The method's label: its name with its parameters."""
    truth: Collection[Edge]
    found: Collection[Edge]
