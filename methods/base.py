"""The contract of a circuit-discovery method: the one page that its author has to read.

A method is one file in this folder with one subclass of `Method`, a dataclass whose fields are its
options. It is handed a `Problem`, which names everything a method may use and nothing that it may
not (no evaluation data, no true circuit), and returns a `Discovery`.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from methods.rules.gradient_rules import GradientRules

Selection = Literal["top", "greedy", "nodes"]
"""How circuits are cut from scores."""
Objective = Literal["difference", "kl"]
"""What a method may minimise, summed over examples: minus the task's difference metric (correct minus
wrong answers, in logits or in probability), or KL(full || circuit) in nats at the answers.

On a compiled program, whose answers are its outputs at every position, the difference metric is
<out, out_full - out_empty>, the bracket held fixed; and where the output is one number, "kl" stands for
the squared error. See `Problem.has_difference` for a task without wrong answers."""


@runtime_checkable
class Node(Protocol):
    """One sender or receiver of the node table."""

    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> Literal["embed", "head", "mlp", "logits"]: ...
    @property
    def layer(self) -> int | None: ...
    @property
    def head(self) -> int | None: ...
    @property
    def port(self) -> Literal["q", "k", "v"] | None: ...


@runtime_checkable
class Graph(Protocol):
    """The edges of a model. Rows are receivers, columns senders, both in order of computation."""

    @property
    def senders(self) -> Sequence[Node]: ...
    @property
    def receivers(self) -> Sequence[Node]: ...
    @property
    def n_edges(self) -> int: ...
    @property
    def n_embed(self) -> int:
        """How many of the first senders are embeddings."""

    @property
    def groups(self) -> Sequence[slice]:
        """Columns of senders that are computed together: embeddings, a layer's heads, an MLP; in order."""

    @property
    def exists(self) -> Bool[Tensor, "receivers senders"]:
        """True where there is an edge."""

    @property
    def owners(self) -> Int[Tensor, "receivers senders"]:
        """1 where the column's node computes from the row's receiver (a head from its q, k and v)."""


@dataclass(frozen=True, eq=False)
class Batch:
    """Some prompt pairs of the discovery split, padded on the right to one length.

    Two batches are never equal, whatever they hold, so that one can be the key of what is cached for it.
    """

    clean: Int[Tensor, "batch pos"]
    corrupted: Int[Tensor, "batch pos"]
    lengths: Int[Tensor, " batch"]
    """Tokens of each prompt, padding left out; clean and corrupted have the same."""
    examples: Int[Tensor, " answer"]
    """For each answer, the example (row of the batch) that it belongs to."""
    positions: Int[Tensor, " answer"]
    """For each answer, the position whose logits predict it."""
    candidates: Int[Tensor, "answer candidate"]
    """Token ids among which the task chooses."""
    correct: Bool[Tensor, "answer candidate"]
    """Which candidates are right."""

    def __len__(self) -> int:
        return len(self.clean)

    def part(self, start: int, stop: int) -> Batch:
        """Some of the examples with their answers."""
        answers = (self.examples >= start) & (self.examples < stop)
        some = slice(start, stop)
        return Batch(
            self.clean[some], self.corrupted[some], self.lengths[some], self.examples[answers] - start,
            self.positions[answers], self.candidates[answers], self.correct[answers],
        )  # fmt: skip


def first_examples(batches: Sequence[Batch], n: int) -> list[Batch]:
    """The first n examples, in as many batches as they came in."""
    taken: list[Batch] = []
    for batch in batches:
        left = n - sum(map(len, taken))
        taken += [batch if len(batch) <= left else batch.part(0, left)] if left else []
    return taken


@runtime_checkable
class Checkpoint(Protocol):
    """Named tensors that outlive a killed run of the same job."""

    def load(self) -> Mapping[str, Tensor]:
        """What was saved last; empty at the start."""

    def save(self, tensors: Callable[[], Mapping[str, Tensor]]) -> None:
        """Keeps what `tensors` returns. May be called often: it asks and writes now and then alone."""


@runtime_checkable
class Problem(Protocol):
    """Everything that a method may use.

    Logits are at the answers, ``[answer, vocab]``. What is cached for a method is charged to its
    time; forwards, backwards and tokens are counted.
    """

    @property
    def graph(self) -> Graph: ...
    @property
    def batches(self) -> Sequence[Batch]:
        """The discovery split, in order."""

    @property
    def n_examples(self) -> int: ...
    @property
    def sizes(self) -> Sequence[float]:
        """The circuit sizes wanted, as shares of all edges from 0 to 1; none where a program's
        true circuit is asked for."""

    @property
    def unaided(self) -> bool:
        """`wants_unaided`, to be read once all sizes are done: what is spent later is recorded apart."""

    @property
    def wants_unaided(self) -> bool:
        """Whether the circuit that a method settles on by itself is wanted, even if it costs as much as those
        of all sizes. Always where no size is wanted; a method that has it for nothing may return it."""

    @property
    def has_difference(self) -> bool:
        """Whether the task names wrong answers. If not, "difference" is "kl", which has no gradient at the
        clean run."""

    @property
    def seed(self) -> int:
        """Seed of whatever a method draws. Global generators are seeded with it beforehand."""

    @property
    def device(self) -> torch.device:
        """Where the model runs, and where batches, activations and gradients are."""

    @property
    def memory_budget(self) -> int:
        """Bytes that caches and batches of a method should stay below."""

    def edges_of_share(self, share: float) -> int:
        """How many edges a wanted size stands for."""

    @property
    def weights(self) -> Mapping[str, Sequence[int]]:
        """Shapes of the attention and MLP weights that may be masked, by name: matrices (``a0.W_O``) and
        biases (``m0.b_in``)."""

    def run(
        self,
        batch: Batch,
        edges: Float[Tensor, "receivers senders"] | None = None,
        weights: Mapping[str, Tensor] | None = None,
    ) -> Float[Tensor, "answer vocab"]:
        """Logits under an edge mask and weight masks, differentiable in both.

        Args:
            batch: one of `batches`, or a part of one.
            edges: what is kept of each edge, from 0 to 1; None keeps all of every one.
            weights: factors of weights by name, from 0 to 1; what is not named is whole.
        """

    def clean(self, batch: Batch) -> Float[Tensor, "answer vocab"]:
        """The full model's logits, cached."""

    def senders(self, batch: Batch) -> Float[Tensor, "senders batch pos d_model"]:
        """Every sender's output in the full model on the clean prompts."""

    def reference(self, batch: Batch) -> Float[Tensor, "senders #batch #pos d_model"]:
        """What a removed edge carries instead of its sender's output, cached."""

    def loss(
        self, objective: Objective, logits: Float[Tensor, "*any answer vocab"], batch: Batch
    ) -> Float[Tensor, "*any"]:
        """The objective, summed over the batch's examples, not averaged; lower is better.

        Args:
            objective: what is computed.
            logits: as `run` returns them, or several runs' at once, stacked in front.
            batch: that was run; full model and empty circuit are run as well, where the objective compares
                with them and they are not cached.
        """

    def losses_without(
        self,
        objective: Objective,
        batch: Batch,
        edges: Bool[Tensor, "receivers senders"],
        row: int,
        columns: Sequence[int],
    ) -> Float[Tensor, " chain"]:
        """The objective without columns[:1], without columns[:2], ... of what a receiver reads.

        Summed over the batch's examples. Only what the removals reach by kept edges is computed anew, all
        of them at once. Cheap where `edges` are those of the call before, less what it tried; each removal
        counts as a forward.

        Args:
            objective: what is computed.
            batch: one of `batches`, or a part of one.
            edges: True where an edge is kept before any removal.
            row: the receiver's.
            columns: senders of kept edges, in the order in which these are removed.

        Returns:
            One loss for each of `columns`; that of `edges` themselves is not among them.
        """

    def losses_without_each(
        self,
        objective: Objective,
        batch: Batch,
        edges: Bool[Tensor, "receivers senders"],
        row: int,
        columns: Sequence[int],
    ) -> Float[Tensor, " column"]:
        """The objective without each one of `columns` alone; otherwise as `losses_without`.

        Args:
            objective: what is computed.
            batch: one of `batches`, or a part of one.
            edges: True where an edge is kept before the removal.
            row: the receiver's.
            columns: senders of kept edges.
        """

    def edge_gradients(
        self,
        batch: Batch,
        objective: Objective,
        direction: Float[Tensor, "senders #batch #pos d_model"] | None = None,
        inputs: Float[Tensor, "n_embed batch pos d_model"] | None = None,
        rules: GradientRules | None = None,
        replaced: tuple[slice, Float[Tensor, "columns batch pos d_model"]] | None = None,
    ) -> Float[Tensor, "receivers senders"]:
        """direction_s . d(objective)/d(input of r) at the full model, for every edge s -> r.

        In one backward pass; summed over examples, positions and width.

        Args:
            batch: one of `batches`, or a part of one.
            objective: what is differentiated.
            direction: by default reference minus sender output of this run, the way in which removing an edge
                moves its receiver's input.
            inputs: take the place of the embeddings' outputs, so that the gradient is taken elsewhere than at
                the prompt; what every sender writes in this run follows from them.
            rules: what the backward pass does in the place of gradients.
            replaced: columns of one of `Graph.groups`, and what these senders write in their place.
        """

    @property
    def checkpoint(self) -> Checkpoint:
        """Where a long discovery keeps what it knows so far."""

    def progress(self, done: int, total: int, note: str = "") -> None:
        """Tells the user how far a method is.

        Args:
            done: in whatever unit the method counts.
            total: of the same.
            note: what it is at.
        """


@dataclass(frozen=True)
class Discovery:
    """What a method found: plain tensors, from which `bench` makes circuits.

    Give `scores` (a ranking serves every size at once), or `edges` per size wanted, or both, where
    `edges` wins.
    """

    scores: Float[Tensor, "receivers senders"] | None = None
    """Higher is kept sooner. Finite where edges exist; elsewhere the value does not matter."""
    signed: Float[Tensor, "receivers senders"] | None = None
    """The same with their sign, higher where removing the edge hurts more, where `scores` are absolute: an
    edge that stands in the way is last. CPR is of these, CMD of their absolute values; where this is left
    out both are of `scores`."""
    selection: Selection = "top"
    """How circuits are cut from the scores: the n best, grown from the logits, or all edges among the best
    nodes, of which each is as good as the best edge that leaves it."""
    edges: Mapping[float, Bool[Tensor, "receivers senders"]] = field(default_factory=dict)
    """Edges kept, by size as it stands in `Problem.sizes`. Where they are fewer than wanted, the best of the
    others by `scores` are added."""
    weights: Mapping[float, Mapping[str, Bool[Tensor, "..."]]] = field(default_factory=dict)
    """Weights kept, by size and name; what is not named is whole."""
    unaided: Bool[Tensor, "receivers senders"] | None = None
    """The circuit that the method settles on when no size is given; see `Problem.unaided`."""
    objective: str = ""
    """What was minimised or differentiated, for the record: a few words."""
    trace: Mapping[str, Sequence[float]] = field(default_factory=dict)
    """Named series of numbers: losses, thresholds tried. Where one is named "step" the others are drawn
    against it, and all have its length."""


class Method(ABC):
    """A circuit-discovery method. Subclasses are dataclasses whose fields are the options."""

    name: ClassVar[str]
    """As users type it."""
    description: ClassVar[str]
    """One line."""
    citation: ClassVar[str]
    """BibTeX of what is implemented."""
    stochastic: ClassVar[bool] = False
    """Whether the seed decides what it finds, as in a training: then one run says little."""
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    """Options by the name under which ``preset=NAME`` sets them all, as a paper's."""

    def uses(self) -> Sequence[Method]:
        """Other methods that this one runs; where their code changes, its results are stale as well."""
        return ()

    def skip(self, problem: Problem) -> str | None:
        """A reason for which the method declines this problem, otherwise None."""
        return None

    @abstractmethod
    def discover(self, problem: Problem) -> Discovery:
        """Finds circuits. Timed; called once with a fresh problem."""


def find_methods() -> tuple[dict[str, type[Method]], dict[str, str]]:
    """All methods of this folder by name, and the modules that could not be imported with the reason."""
    import methods

    found: dict[str, type[Method]] = {}
    missing: dict[str, str] = {}
    for module in sorted(pkgutil.iter_modules(methods.__path__), key=lambda m: m.name):
        if module.ispkg:  # what several methods share
            continue
        try:
            loaded = importlib.import_module(f"methods.{module.name}")
        except ImportError as error:
            missing[module.name] = f"not installed: {error.name or error}"
            continue
        found |= methods_in(loaded)
    return dict(sorted(found.items())), missing


def default_method(name: str) -> Method:
    """A method of this folder at its default options, for one that runs others.

    Raises:
        ValueError: there is none of that name.
    """
    known = find_methods()[0]
    if name not in known:
        raise ValueError(f"'{name}' is no method of circuitmark's own; these are {', '.join(known)}")
    return known[name]()


def methods_in(module: Any) -> dict[str, type[Method]]:
    """The methods that a module itself defines, by name."""
    return {
        value.name: value
        for value in vars(module).values()
        if inspect.isclass(value)
        and issubclass(value, Method)
        and not inspect.isabstract(value)
        and value.__module__ == module.__name__
        and isinstance(getattr(value, "name", None), str)
    }
