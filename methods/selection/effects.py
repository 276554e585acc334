"""Shared by methods that estimate the effect of every edge: how effects become a ranking."""

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
"""Approximate number of parts that examples are cut into to estimate how certain an effect's sign is; no part
spans batches."""


@dataclass(frozen=True)
class OfEffects(Method):
    """A method whose scores are signed effects of removing edges: above 0 if removal hurts."""

    absolute: bool = True
    """Rank by absolute value; otherwise by signed score, with edges that hurt the task last."""
    selection: Selection = "top"
    """How circuits are cut from the scores: the best edges (top), grown from the logits (greedy), or all
    edges among the best nodes (nodes), each scored by the sum of its outgoing edges' signed scores."""
    positive: float = 0.0
    """Share of every circuit's edges taken by signed score; the rest are taken by absolute score."""
    stable: float = 0.0
    """Edges whose sign stays the same in a smaller share of bootstrap samples of the examples rank last; 0
    turns this off."""
    threshold: float = 0.01
    """The unaided circuit keeps edges whose score is above this share of the largest."""

    def __post_init__(self) -> None:
        for name in ("positive", "stable", "threshold"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be from 0 to 1, not {getattr(self, name):g}")
        if self.positive and not self.absolute:
            raise ValueError("positive mixes the signed and the absolute order: leave absolute=false out")
        if self.stable and self.selection == "nodes":
            raise ValueError("stable filters edges, not nodes: leave selection=nodes out")

    @abstractmethod
    def effects(
        self, problem: Problem, parts: Sequence[Batch]
    ) -> Iterator[Float[Tensor, "receivers senders"]]:
        """Yields, part by part, the signed effect of every edge, summed over the part's examples."""

    def loss_used(self) -> str:
        """The objective whose change is measured, for the record."""
        return "difference"

    def examples_used(self, problem: Problem) -> Sequence[Batch]:
        """The discovery prompts on which effects are measured."""
        return problem.batches

    def discover(self, problem: Problem) -> Discovery:
        """Sums the effects part by part, then ranks the edges."""
        exists, batches = problem.graph.exists, self.examples_used(problem)
        n_examples = sum(map(len, batches))
        parts = parts_of(batches, -(-n_examples // PARTS)) if self.stable else list(batches)
        total = torch.zeros(exists.shape, dtype=torch.float64)
        squares = torch.zeros_like(total)
        for part, effect in zip(parts, self.effects(problem, parts), strict=True):
            effect = effect.cpu().double()
            total += effect
            squares += effect.square() / len(part)
        # the variance of a mean over parts weighted by their number of examples
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
            # below all certain edges, in their own order
            scores = torch.where(unsure, scores - scores[exists].max() + scores[exists].min() - 1, scores)
        return Discovery(
            scores=scores,
            signed=signed,
            selection=self.selection,
            unaided=unaided,
            objective=self.loss_used(),
        )
