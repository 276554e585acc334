"""What methods share that estimate the effect of every edge: how a ranking is made of effects."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from methods.base import Batch, Discovery, Method, Problem, Selection
from methods.selection.nodes import by_sender
from methods.selection.order import sign_kept, with_positive
from methods.training.parts import parts_of

PARTS = 20
"""Where it is asked how sure an effect's sign is, examples are cut into about so many parts; each is of one
batch."""


@dataclass(frozen=True)
class OfEffects(Method):
    """A method whose scores are effects of removing edges, with a sign: above 0 where it hurts."""

    absolute: bool = True
    """Rank by absolute value; otherwise by the signed score, edges that hurt the task last."""
    selection: Selection = "top"
    """How circuits are cut from the scores: the best edges (top), grown from the logits (greedy), or all
    edges among the best nodes, of which each has the sum of the signed scores of its outgoing edges."""
    positive: float = 0.0
    """Share of every circuit's edges that are taken by the signed score, before the others are by the
    absolute one; 0 takes none so."""
    stable: float = 0.0
    """An edge comes last if its sign stays the same in a smaller share of bootstrap samples of the examples;
    0 does not ask."""
    threshold: float = 0.01
    """Unaided, edges are kept whose score is above this share of the largest."""

    def __post_init__(self) -> None:
        for name in ("positive", "stable", "threshold"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is from 0 to 1, not {getattr(self, name):g}")
        if self.positive and not self.absolute:
            raise ValueError("positive mixes the signed and the absolute order: leave absolute=false out")
        if self.stable and self.selection == "nodes":
            raise ValueError("stable asks how sure each edge is, not a node: leave selection=nodes out")

    @abstractmethod
    def effects(
        self, problem: Problem, parts: Sequence[Batch]
    ) -> Iterator[Float[Tensor, "receivers senders"]]:
        """The effect of every edge, with its sign, summed over the examples of each part, in order."""

    def loss_used(self) -> str:
        """What the effects are on, for the record."""
        return "difference"

    def examples_used(self, problem: Problem) -> Sequence[Batch]:
        """The discovery examples that effects are taken on."""
        return problem.batches

    def discover(self, problem: Problem) -> Discovery:
        """The effects, part by part; then the ranking."""
        exists, batches = problem.graph.exists, self.examples_used(problem)
        n_examples = sum(map(len, batches))
        parts = parts_of(batches, -(-n_examples // PARTS)) if self.stable else list(batches)
        total = torch.zeros(exists.shape, dtype=torch.float64)
        squares = torch.zeros_like(total)
        for part, effect in zip(parts, self.effects(problem, parts), strict=True):
            effect = effect.cpu().double()
            total += effect
            squares += effect.square() / len(part)
        # the variance of a mean over parts that count by their examples
        spread = (squares / n_examples - (total / n_examples).square()) / len(parts)
        total /= n_examples
        signed = by_sender(total, exists) if self.selection == "nodes" else total
        scores = signed.abs() if self.absolute else signed
        largest = scores[exists].max()
        unaided = exists & (scores > self.threshold * largest)
        if self.positive:
            scores = with_positive(scores, signed, exists, self.positive)
        if self.stable:
            unsure = sign_kept(total, spread) < self.stable
            unaided &= ~unsure
            # below all that are sure, in their order
            scores = torch.where(unsure, scores - scores[exists].max() + scores[exists].min() - 1, scores)
        return Discovery(
            scores=scores,
            signed=signed,
            selection=self.selection,
            unaided=unaided,
            objective=self.loss_used(),
        )
