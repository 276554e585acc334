"""The contract of a circuit-discovery method: the only file that its author needs to read.

A method is one file in this folder with one subclass of `Method`, a dataclass whose fields are its
options. It is given a `Problem`, which holds everything a method may use and nothing that it may
not (no evaluation prompts, no true circuit), and returns a `Discovery`.
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
<out, out_full - out_empty> with the second factor held fixed; if the output is one number, "kl" means
squared error. See `Problem.has_difference` for tasks without wrong answers."""


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
    """The edges of a model. Rows are receivers and columns senders, both in order of computation."""

    @property
    def senders(self) -> Sequence[Node]: ...
    @property
    def receivers(self) -> Sequence[Node]: ...
    @property
    def n_edges(self) -> int: ...
    @property
    def n_embed(self) -> int:
        """Number of embedding senders, which come first."""

    @property
    def groups(self) -> Sequence[slice]:
        """Columns of senders computed together (embeddings, a layer's heads, an MLP), in order."""

    @property
    def exists(self) -> Bool[Tensor, "receivers senders"]:
        """True where there is an edge."""

    @property
    def owners(self) -> Int[Tensor, "receivers senders"]:
        """1 where the column's node computes from the row's receiver (a head from its q, k and v)."""


@dataclass(frozen=True, eq=False)
class Batch:
    """Some of the discovery prompt pairs, padded on the right to a common length.

    Batches compare by identity, never by content, so that a batch can be a cache key.
    """

    clean: Int[Tensor, "batch pos"]
    corrupted: Int[Tensor, "batch pos"]
    lengths: Int[Tensor, " batch"]
    """Number of tokens in each prompt without padding, the same for clean and corrupted."""
    examples: Int[Tensor, " answer"]
    """For each answer, the example (row of the batch) it belongs to."""
    positions: Int[Tensor, " answer"]
    """For each answer, the position whose logits predict it."""
    candidates: Int[Tensor, "answer candidate"]
    """Token ids the task chooses among."""
    correct: Bool[Tensor, "answer candidate"]
    """Which candidates are correct."""

    def __len__(self) -> int:
        return len(self.clean)

    def part(self, start: int, stop: int) -> Batch:
        """Examples start to stop - 1, with their answers."""
        answers = (self.examples >= start) & (self.examples < stop)
        some = slice(start, stop)
        return Batch(
            self.clean[some], self.corrupted[some], self.lengths[some], self.examples[answers] - start,
            self.positions[answers], self.candidates[answers], self.correct[answers],
        )  # fmt: skip


def first_examples(batches: Sequence[Batch], n: int) -> list[Batch]:
    """The first n examples; batch boundaries are kept, and the last batch is cut to fit."""
    taken: list[Batch] = []
    for batch in batches:
        left = n - sum(map(len, taken))
        taken += [batch if len(batch) <= left else batch.part(0, left)] if left else []
    return taken


@runtime_checkable
class Checkpoint(Protocol):
    """Named tensors that survive when a job is killed, for its next run to resume from."""

    def load(self) -> Mapping[str, Tensor]:
        """What was last saved; empty on a first run."""

    def save(self, tensors: Callable[[], Mapping[str, Tensor]]) -> None:
        """Saves what `tensors` returns. Call it freely: it calls `tensors` and writes only now and then."""


@runtime_checkable
class Problem(Protocol):
    """Everything that a method may use.

    Logits are at the answers, ``[answer, vocab]``. Computing what is cached for a method counts
    towards its time; forwards, backwards and tokens are counted.
    """

    @property
    def graph(self) -> Graph: ...
    @property
    def batches(self) -> Sequence[Batch]:
        """The discovery prompts, in order."""

    @property
    def n_examples(self) -> int: ...
    @property
    def sizes(self) -> Sequence[float]:
        """The requested circuit sizes, as shares of all edges from 0 to 1; empty if only a program's
        true circuit is to be recovered."""

    @property
    def unaided(self) -> bool:
        """`wants_unaided`, to be read once all sizes are done: cost from then on is recorded separately."""

    @property
    def wants_unaided(self) -> bool:
        """Whether the circuit that a method settles on by itself is requested, even if it costs as much as
        all sizes. True if no size is requested; a method that gets it for free may return it regardless."""

    @property
    def has_difference(self) -> bool:
        """Whether the task names wrong answers. If not, "difference" means "kl", which has no gradient at the
        clean run."""

    @property
    def seed(self) -> int:
        """Seed for all of a method's random draws. Global generators are already seeded with it."""

    @property
    def device(self) -> torch.device:
        """Where the model runs, and where batches, activations and gradients are."""

    @property
    def memory_budget(self) -> int:
        """Bytes that a method's caches and batches should stay below."""

    def edges_of_share(self, share: float) -> int:
        """The number of edges that a requested size stands for."""

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
            edges: how much of each edge is kept, from 0 to 1; None keeps every edge whole.
            weights: factors on weights by name, from 0 to 1; weights not named are kept whole.
        """

    def clean(self, batch: Batch) -> Float[Tensor, "answer vocab"]:
        """The full model's logits, cached."""

    def senders(self, batch: Batch) -> Float[Tensor, "senders batch pos d_model"]:
        """Every sender's output in the full model on the clean prompts."""

    def reference(self, batch: Batch) -> Float[Tensor, "senders #batch #pos d_model"]:
        """What a removed edge carries in place of its sender's output, cached."""

    def loss(
        self, objective: Objective, logits: Float[Tensor, "*any answer vocab"], batch: Batch
    ) -> Float[Tensor, "*any"]:
        """The objective, summed over the batch's examples, not averaged; lower is better.

        Args:
            objective: what to compute.
            logits: as returned by `run`, or those of several runs stacked along leading dimensions.
            batch: the batch that was run; the full model and the empty circuit are run as well if the
                objective compares with them and they are not cached.
        """

    def losses_without(
        self,
        objective: Objective,
        batch: Batch,
        edges: Bool[Tensor, "receivers senders"],
        row: int,
        columns: Sequence[int],
    ) -> Float[Tensor, " chain"]:
        """The objective after removing a receiver's edges from columns[:1], from columns[:2], and so on.

        Summed over the batch's examples. Only what the removals reach through kept edges is recomputed, for
        all of them at once. Cheap if `edges` are those of the previous call minus edges that it tried; each
        removal counts as a forward.

        Args:
            objective: what to compute.
            batch: one of `batches`, or a part of one.
            edges: True where an edge is kept before any removal.
            row: the receiver.
            columns: senders of kept edges, in order of removal.

        Returns:
            One loss for each of `columns`; the loss of `edges` themselves is not included.
        """

    def losses_without_each(
        self,
        objective: Objective,
        batch: Batch,
        edges: Bool[Tensor, "receivers senders"],
        row: int,
        columns: Sequence[int],
    ) -> Float[Tensor, " column"]:
        """The objective after removing the edge from each of `columns` alone; otherwise as `losses_without`.

        Args:
            objective: what to compute.
            batch: one of `batches`, or a part of one.
            edges: True where an edge is kept before the removal.
            row: the receiver.
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

        In one backward pass; summed over examples, positions and d_model.

        Args:
            batch: one of `batches`, or a part of one.
            objective: what to differentiate.
            direction: by default reference minus sender output in this run, which is how removing an edge
                moves its receiver's input.
            inputs: replace the embeddings' outputs, so that the gradient is taken at another point than the
                prompt; every sender's output in this run follows from them.
            rules: what the backward pass does in place of gradients.
            replaced: columns of one of `Graph.groups`, and the outputs that replace those senders' own.
        """

    @property
    def checkpoint(self) -> Checkpoint:
        """Where a long discovery saves its state, to resume from."""

    def progress(self, done: int, total: int, note: str = "") -> None:
        """Reports progress to the user.

        Args:
            done: units done, in whatever unit the method counts.
            total: units in all.
            note: what the method is working on.
        """


@dataclass(frozen=True)
class Discovery:
    """What a method found: plain tensors, from which `bench` makes circuits.

    Give `scores` (one ranking serves all sizes), or `edges` per requested size, or both, in which
    case `edges` wins.
    """

    scores: Float[Tensor, "receivers senders"] | None = None
    """Edges with higher scores are kept first. Finite where edges exist; other entries are ignored."""
    signed: Float[Tensor, "receivers senders"] | None = None
    """The scores with their sign, if `scores` are absolute: the higher, the more removing the edge hurts, so
    edges that work against the task come last. CPR uses these and CMD their absolute values; if they are
    omitted, both use `scores`."""
    selection: Selection = "top"
    """How circuits are cut from the scores: the n best edges (top), grown from the logits (greedy), or all
    edges among the best nodes (nodes), each scored by its best outgoing edge."""
    edges: Mapping[float, Bool[Tensor, "receivers senders"]] = field(default_factory=dict)
    """Edges kept, by size as given in `Problem.sizes`. If there are fewer than requested, the best of the
    others by `scores` are added."""
    weights: Mapping[float, Mapping[str, Bool[Tensor, "..."]]] = field(default_factory=dict)
    """Weights kept, by size and name; weights not named are kept whole."""
    unaided: Bool[Tensor, "receivers senders"] | None = None
    """The circuit that the method settles on when no size is given; see `Problem.unaided`."""
    objective: str = ""
    """What was minimised or differentiated, in a few words, for the record."""
    trace: Mapping[str, Sequence[float]] = field(default_factory=dict)
    """Named series of numbers, such as losses or thresholds tried. If one is named "step", the others are
    plotted against it and must have its length."""


class Method(ABC):
    """A circuit-discovery method. Subclasses are dataclasses whose fields are the options."""

    name: ClassVar[str]
    """As users type it."""
    description: ClassVar[str]
    """One line."""
    citation: ClassVar[str]
    """BibTeX of what is implemented."""
    stochastic: ClassVar[bool] = False
    """Whether the result depends on the seed, as with training, so that one run says little."""
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    """Named sets of options, such as a paper's, all set by ``preset=NAME``."""

    def uses(self) -> Sequence[Method]:
        """Other methods that this one runs; if their code changes, its results are stale as well."""
        return ()

    def skip(self, problem: Problem) -> str | None:
        """The reason why the method declines this problem, or None."""
        return None

    @abstractmethod
    def discover(self, problem: Problem) -> Discovery:
        """Finds circuits. Timed; called once with a fresh problem."""


def find_methods() -> tuple[dict[str, type[Method]], dict[str, str]]:
    """All methods in this folder by name, and the reasons why other modules could not be imported."""
    import methods

    found: dict[str, type[Method]] = {}
    missing: dict[str, str] = {}
    for module in sorted(pkgutil.iter_modules(methods.__path__), key=lambda m: m.name):
        if module.ispkg:  # code shared by methods
            continue
        try:
            loaded = importlib.import_module(f"methods.{module.name}")
        except ImportError as error:
            missing[module.name] = f"not installed: {error.name or error}"
            continue
        found |= methods_in(loaded)
    return dict(sorted(found.items())), missing


def default_method(name: str) -> Method:
    """A method in this folder at its default options, for methods that run others.

    Raises:
        ValueError: no method has that name.
    """
    known = find_methods()[0]
    if name not in known:
        raise ValueError(f"'{name}' is not one of circuitmark's methods: choose from {', '.join(known)}")
    return known[name]()


def methods_in(module: Any) -> dict[str, type[Method]]:
    """The methods that a module defines itself, by name."""
    return {
        value.name: value
        for value in vars(module).values()
        if inspect.isclass(value)
        and issubclass(value, Method)
        and not inspect.isabstract(value)
        and value.__module__ == module.__name__
        and isinstance(getattr(value, "name", None), str)
    }
