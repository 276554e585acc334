"""What a file holds: a circuit, scores of all edges or of nodes, or both."""

from __future__ import annotations

from dataclasses import dataclass, replace

from jaxtyping import Bool, Float
from torch import Tensor

from bench.engine.circuit import Circuit
from bench.engine.graph import EdgeGraph
from bench.engine.regrouped import regrouped, regrouped_edges

MOST_PAIRS = 2**28
"""Most pairs of a receiver and a sender; a model of 80 layers with 64 heads each has a third as many."""


@dataclass(frozen=True, eq=False)
class Contents:
    """A circuit, scores of all edges or of nodes, or both, in whatever format they came.

    Raises:
        ValueError: there is none of these, or scores of both; scores do not fit the graph, or are not finite
            where an edge exists; a node's is infinite.
    """

    graph: EdgeGraph
    circuit: Circuit | None = None
    scores: Float[Tensor, "receivers senders"] | None = None
    """With their sign; higher is kept sooner."""
    nodes: Float[Tensor, " senders"] | None = None
    """Scores of senders instead of edges; NaN for a sender that has none, which always stays."""
    notes: tuple[str, ...] = ()
    """What a user should know about how the file was read."""

    def __post_init__(self) -> None:
        if self.circuit is None and self.scores is None and self.nodes is None:
            raise ValueError("it holds neither a circuit nor scores")
        if self.nodes is not None:
            if self.scores is not None:
                raise ValueError("it has scores of edges and of nodes: keep one of the two")
            _check_nodes(self.nodes, self.graph)
        if self.scores is None:
            return
        if self.scores.shape != self.graph.shape or not self.scores.is_floating_point():
            raise ValueError(
                f"scores of this graph must be floating-point numbers of shape {self.graph.shape}"
            )
        strange = (self.graph.exists & ~self.scores.isfinite()).nonzero()
        if len(strange):
            name = self.graph.edge_name(*strange[0].tolist())
            raise ValueError(f"{len(strange):,} scores are not finite, the first that of {name}")

    @classmethod
    def of(
        cls,
        graph: EdgeGraph,
        kept: Bool[Tensor, "receivers senders"] | None,
        scores: Float[Tensor, "receivers senders"] | None,
        notes: tuple[str, ...] = (),
    ) -> Contents:
        """From masks, as formats have them.

        Args:
            graph: of both.
            kept: True where an edge is kept; None if the file does not say.
            scores: of the edges; None if the file has none.
            notes: about how the file was read.

        Raises:
            ValueError: as `Contents`, or a kept edge does not exist.
        """
        return cls(graph, None if kept is None else Circuit(graph, kept), scores, notes=notes)

    def on(self, graph: EdgeGraph) -> Contents:
        """The same on another graph of the same model.

        Raises:
            ValueError: the graph is another model's, or heads of a group disagree.
        """
        if graph == self.graph:
            return self
        circuit = None if self.circuit is None else regrouped(self.circuit, graph)
        scores = None if self.scores is None else regrouped_edges(self.scores, self.graph, graph)
        if self.nodes is not None:  # which stay, if the graph is the same model's
            regrouped_edges(self.graph.exists, self.graph, graph)
        return replace(self, graph=graph, circuit=circuit, scores=scores)

    def members(self) -> Contents:
        """Only which edges are kept, without scores.

        Raises:
            ValueError: they are not known.
        """
        if self.circuit is None:
            raise ValueError("it has scores but does not say which edges are kept")
        return replace(self, scores=None, nodes=None)

    def without_weights(self) -> Contents:
        """Itself, for formats that cannot hold weight masks.

        Raises:
            ValueError: its circuit has weight masks.
        """
        if self.circuit is not None and self.circuit.weights:
            raise ValueError("the circuit has weight masks, which this format cannot hold")
        return self


def _check_nodes(nodes: Tensor, graph: EdgeGraph) -> None:
    if nodes.shape != (len(graph.senders),) or not nodes.is_floating_point():
        raise ValueError(f"scores of this graph's nodes must be {len(graph.senders)} floating-point numbers")
    if nodes.isinf().any():
        first = graph.senders[int(nodes.isinf().nonzero()[0])].name
        raise ValueError(
            f"{int(nodes.isinf().sum())} scores of nodes are infinite, the first that of {first}"
        )


def of_some_size(graph: EdgeGraph) -> EdgeGraph:
    """A graph that a file describes, checked before anything of its size is allocated.

    Raises:
        ValueError: no model has so many nodes.
    """
    rows, columns = graph.shape
    if rows * columns > MOST_PAIRS:
        raise ValueError(
            f"it describes a graph of {rows:,} receivers and {columns:,} senders, more than any model has"
        )
    return graph
