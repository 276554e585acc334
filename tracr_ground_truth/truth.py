"""The true circuit of a compiled program: read off its weights, narrowed and proved by intervention.

Nothing here comes from a list made by hand or from a discovery method. *Structural* edges are those
whose sender can write what their receiver reads. Under an ablation an edge is *necessary* if removing it
alone changes some output by more than the tolerance. The proof removes everything outside the
necessary edges together; where that changes an output, paths are redundant, and every minimal
sufficient set found is a true circuit. Necessary, in the full model, does not imply minimal: an edge may
become idle once others are removed. So all minimal sufficient sets are searched for as well (`minimal.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from tracr_ground_truth.compile import TOLERANCE

Run = Callable[[Tensor], Tensor]
"""A mask of kept edges [receivers, senders] -> the outputs [answer, output] at every answer of the data
set, the other edges ablated."""

Bound = Callable[[Bool[Tensor, "some receivers senders"]], Float[Tensor, " some"]]
"""Several such masks -> for each the largest change of an output on a part of the data: a quick lower bound
of that on all of it."""

STRICT = 0.05
"""A smaller `TOLERANCE`, to see whether the minimal sufficient sets depend on it."""
ORDERS = 24
"""Random orders of removal for finding minimal sufficient sets where paths are redundant."""


@runtime_checkable
class Node(Protocol):
    """A sender or receiver."""

    @property
    def kind(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def layer(self) -> int | None: ...
    @property
    def head(self) -> int | None: ...
    @property
    def port(self) -> str | None: ...


@runtime_checkable
class Graph(Protocol):
    """The node table: receivers are rows, senders columns."""

    @property
    def senders(self) -> Sequence[Node]: ...
    @property
    def receivers(self) -> Sequence[Node]: ...
    @property
    def exists(self) -> Bool[Tensor, "receivers senders"]: ...
    @property
    def owners(self) -> Int[Tensor, "receivers senders"]: ...


@dataclass(frozen=True)
class Truth:
    """The true circuit of a program under one ablation on one data set."""

    structural: Bool[Tensor, "receivers senders"]
    circuits: tuple[Bool[Tensor, "receivers senders"], ...]
    """The necessary edges; where paths are redundant, each minimal sufficient set."""
    error: float
    """Largest change of an output when all edges outside a circuit are ablated (the worst circuit's)."""
    tolerance: float
    """Largest tolerated change."""
    minimal: Mapping[float, tuple[Bool[Tensor, "receivers senders"], ...]] = field(default_factory=dict)
    """Every minimal sufficient set, at `TOLERANCE` and `STRICT` of the smallest gap between two outputs;
    empty if they were not searched for, or there are too many sets to try."""

    @property
    def right(self) -> tuple[Bool[Tensor, "receivers senders"], ...]:
        """The circuits that count as right: those above and every minimal sufficient set.

        Where paths are redundant, only the minimal ones, if all are known.
        """
        known = self.minimal.get(TOLERANCE, ())
        first = [c for c in self.circuits if not (known and self.redundant) or _among(c, known)]
        return (*first, *(each for each in known if not _among(each, first)))

    @property
    def is_minimal(self) -> bool | None:
        """Whether no proper subset of the necessary edges suffices; None if that is not known.

        Also None where paths are redundant, since the necessary edges do not suffice then.
        """
        if self.redundant or not self.minimal:
            return None
        return _among(self.circuits[0], self.minimal[TOLERANCE])

    @property
    def redundant(self) -> bool:
        """Whether more than one circuit is true."""
        return len(self.circuits) > 1

    @property
    def proved(self) -> bool:
        """Whether every output stays within tolerance."""
        return self.error <= self.tolerance


def structural(
    weights: Mapping[str, Tensor], graph: Graph, used: Sequence[int]
) -> Bool[Tensor, "receivers senders"]:
    """Edges whose sender's write directions meet their receiver's read matrix.

    What a head computes but cannot pass on (a query that meets a zero key, a hidden unit that writes
    nothing) counts as unread.

    Args:
        weights: named as `Compiled.weights`.
        graph: the compiled model's graph.
        used: the tokens that occur in inputs.
    """
    writes = [_writes(weights, node, used) for node in graph.senders]
    reads = [_reads(weights, node) for node in graph.receivers]
    meets = [[bool(((write @ read).abs() > 1e-6).any()) for write in writes] for read in reads]
    return torch.tensor(meets) & graph.exists


def prove(
    run: Run,
    graph: Graph,
    structural: Bool[Tensor, "receivers senders"],
    tolerance: float,
    fresh: Run | None = None,
    bound: Bound | None = None,
) -> Truth:
    """The true circuit under the ablation and on the data set that `run` uses, proved there.

    Structural edges are removed one at a time (from the structural ones: the others carry nothing, or
    the proof fails); then everything outside the necessary ones together. A failed proof is not an
    error here: see `Truth.proved`.

    Args:
        run: computes the outputs with only some edges kept.
        graph: the compiled model's graph.
        structural: as `structural` finds them.
        tolerance: largest tolerated change of an output.
        fresh: the same on other data, on which circuits are proved as well.
        bound: quickly finds that most edges are necessary.
    """
    error = largest_change([run], graph)
    necessary = structural.clone()
    removals = [_without(structural, row, column) for row, column in structural.nonzero().tolist()]
    idle = [True for _ in removals] if bound is None else bound(torch.stack(removals)) <= tolerance
    for maybe, smaller in zip(idle, removals, strict=True):
        if maybe and error(smaller) <= tolerance:
            necessary &= smaller
    circuits = [necessary]
    if error(necessary) > tolerance:
        circuits = _minimal(lambda kept: error(kept) <= tolerance, structural)
    errors = list(map(error, circuits))
    if fresh is not None:
        errors += map(largest_change([fresh], graph), circuits)
    return Truth(structural, tuple(circuits), max(errors), tolerance)


def largest_change(runs: Sequence[Run], graph: Graph) -> Callable[[Bool[Tensor, "receivers senders"]], float]:
    """A function of the kept edges: the largest change of an output on any data set, the others ablated."""
    full = [run(graph.exists) for run in runs]

    def change(kept: Bool[Tensor, "receivers senders"]) -> float:
        return max(float((run(kept) - said).abs().max()) for run, said in zip(runs, full, strict=True))

    return change


def _minimal(
    sufficient: Callable[[Tensor], bool], structural: Tensor
) -> list[Bool[Tensor, "receivers senders"]]:
    """Minimal sufficient sets: edges are removed one by one, in several orders, while the rest suffices.

    Necessary ones too: an edge that keeps a path from saying something wrong is idle once the path is
    gone. On the redundant programs a test compares the sets with those of an exhaustive search.
    """
    optional = structural.nonzero().tolist()
    generator = torch.Generator().manual_seed(0)
    orders = [list(range(len(optional))), list(reversed(range(len(optional))))]
    orders += [torch.randperm(len(optional), generator=generator).tolist() for _ in range(ORDERS)]
    answers: dict[bytes, bool] = {}
    found: dict[bytes, Tensor] = {}

    def suffices(kept: Tensor) -> bool:
        key = kept.numpy().tobytes()
        if key not in answers:
            answers[key] = sufficient(kept)
        return answers[key]

    for order in orders:
        kept, before = structural, None
        while before is None or not torch.equal(kept, before):  # removals may make an edge idle
            before = kept
            for row, column in (optional[i] for i in order):
                if kept[row, column] and suffices(smaller := _without(kept, row, column)):
                    kept = smaller
        found[kept.numpy().tobytes()] = kept
    sets = list(found.values())
    return [
        kept for kept in sets if not any((other & ~kept).sum() == 0 for other in sets if other is not kept)
    ]


def _among(kept: Tensor, circuits: Sequence[Tensor]) -> bool:
    return any(torch.equal(kept, each) for each in circuits)


def _without(kept: Tensor, row: int, column: int) -> Tensor:
    smaller = kept.clone()
    smaller[row, column] = False
    return smaller


def _writes(
    weights: Mapping[str, Tensor], node: Node, used: Sequence[int]
) -> Float[Tensor, "direction d_model"]:
    """Rows that span what a sender can write."""
    if node.kind == "embed":
        return weights["embed.W_E"][list(used)] if node.name == "tok" else weights["embed.W_pos"]
    if node.kind == "head":
        return _value_output(weights, node)
    W_in, b_in, W_out, b_out = (weights[f"{node.name}.{part}"] for part in ("W_in", "b_in", "W_out", "b_out"))
    alive = (W_in != 0).any(0) | (b_in > 0)
    return torch.cat([W_out[alive], b_out[None]])


def _reads(weights: Mapping[str, Tensor], node: Node) -> Float[Tensor, "d_model use"]:
    """Columns whose products with the residual stream are all that a receiver reads."""
    if node.kind == "logits":
        return weights["logits.W_U"]
    if node.kind == "mlp":
        return weights[f"{node.name}.W_in"][:, (weights[f"{node.name}.W_out"] != 0).any(1)]
    if node.port == "v":
        return _value_output(weights, node)[:-1]
    own, other = ("q", "k") if node.port == "q" else ("k", "q")
    return _projection(weights, node, own)[:-1] @ _projection(weights, node, other).T


def _value_output(weights: Mapping[str, Tensor], node: Node) -> Float[Tensor, "direction d_model"]:
    """W_V W_O of a head, and as its last row b_V W_O."""
    return _projection(weights, node, "v") @ weights[f"a{node.layer}.W_O"][node.head]


def _projection(weights: Mapping[str, Tensor], node: Node, port: str) -> Float[Tensor, "direction d_head"]:
    """W_Q, W_K or W_V of a head, and as its last row the bias."""
    assert node.head is not None
    i = "qkv".index(port) * len(weights[f"a{node.layer}.W_O"]) + node.head
    return torch.cat([weights[f"a{node.layer}.W_QKV"][i], weights[f"a{node.layer}.b_QKV"][i][None]])
