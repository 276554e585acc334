"""Difference metrics: how strongly correct answers are
preferred. A task's measure is one of these objects."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from bench.scoring.metrics import Answers, Outputs, squared_error
from methods.base import Batch


def logit_diff(
    candidate_logits: Float[Tensor, "*any answer candidate"],
    log_z: Float[Tensor, "*any answer"],
    correct: Bool[Tensor, "answer candidate"],
) -> Float[Tensor, "*any answer"]:
    """Mean logit of the correct candidates minus the mean of the wrong ones, in logits; higher is better.

    Args:
        candidate_logits: of each candidate at each answer.
        log_z: unused; part of the signature for `prob_diff`.
        correct: which candidates are right, at least one and not all; NaN otherwise.
    """
    right = correct.to(candidate_logits.dtype)
    wrong = 1 - right
    return (candidate_logits * (right / right.sum(1, True) - wrong / wrong.sum(1, True))).sum(-1)


def prob_diff(
    candidate_logits: Float[Tensor, "*any answer candidate"],
    log_z: Float[Tensor, "*any answer"],
    correct: Bool[Tensor, "answer candidate"],
) -> Float[Tensor, "*any answer"]:
    """Probability of the correct candidates minus that of the wrong ones, from -1 to 1; higher is better.

    Args:
        candidate_logits: of each candidate at each answer.
        log_z: logsumexp of the logits over the whole vocabulary, so the two need not sum to 1.
        correct: which candidates are right.
    """
    signs = torch.where(correct, 1.0, -1.0).to(candidate_logits.dtype)
    return ((candidate_logits - log_z[..., None]).exp() * signs).sum(-1)


class Measure(ABC):
    """The metric m of a task, per answer of an evaluation, or summed over a batch for a method."""

    name: str
    """Its name in records."""
    orders: bool
    """Whether the order of all candidates matters, so that Kendall's tau is meaningful."""
    of_numbers: bool = False
    """Whether an output is one number: then there is nothing to choose among, and no distribution."""
    per_position: bool = False
    """Whether a prompt has several answers; the template of an answer is then its prompt."""

    def apart(self, run: Outputs, full: Outputs) -> Float[Tensor, " answer"]:
        """How far a run is from the full model at every answer: KL, or the squared error of numbers."""
        return squared_error(full, run) if self.of_numbers else run.kl

    @abstractmethod
    def each(self, run: Outputs, full: Outputs, empty: Outputs, answers: Answers) -> Float[Tensor, " answer"]:
        """m of a run at every answer; higher is better.

        Args:
            run: the outputs to measure.
            full: the full model's outputs, at the same answers.
            empty: the empty circuit's; a run's m is mostly between those of these two.
            answers: the candidates, and which of them are right.
        """

    @abstractmethod
    def summed(
        self,
        logits: Float[Tensor, "*any answer vocab"],
        batch: Batch,
        full: Callable[[], Tensor],
        empty: Callable[[], Tensor],
    ) -> Float[Tensor, "*any"]:
        """m over a batch, the sum and not the mean over its answers; differentiable.

        Args:
            logits: of one run or several, over the whole vocabulary.
            batch: the prompts and their answers.
            full: returns the full model's logits; called only if m needs them.
            empty: returns the empty circuit's, likewise.
        """


@dataclass(frozen=True)
class _Candidates(Measure):
    """Right candidates against wrong ones."""

    name: str
    orders: bool
    of: Callable[[Tensor, Tensor, Tensor], Tensor]

    def each(self, run: Outputs, full: Outputs, empty: Outputs, answers: Answers) -> Tensor:
        return self.of(run.candidate_logits, run.log_z, answers.correct)

    def summed(
        self, logits: Tensor, batch: Batch, full: Callable[[], Tensor], empty: Callable[[], Tensor]
    ) -> Tensor:
        candidates = logits.gather(-1, batch.candidates.expand(*logits.shape[:-1], -1))
        return self.of(candidates, logits.logsumexp(-1), batch.correct).sum(-1)


@dataclass(frozen=True)
class _OutputDiff(Measure):
    """<out, out_full - out_empty> over all outputs of a compiled program, the bracket held fixed."""

    name: str
    of_numbers: bool
    orders: bool = False
    per_position: bool = True

    def each(self, run: Outputs, full: Outputs, empty: Outputs, answers: Answers) -> Tensor:
        return (run.candidate_logits * (full.candidate_logits - empty.candidate_logits)).sum(1)

    def summed(
        self, logits: Tensor, batch: Batch, full: Callable[[], Tensor], empty: Callable[[], Tensor]
    ) -> Tensor:
        return (logits * (full() - empty()).to(logits.dtype)).sum((-2, -1))


@dataclass(frozen=True)
class _Divergence(Measure):
    """-KL(full || run), for answers without wrong ones beside them; its gradient at the full model is 0."""

    name: str = "kl"
    orders: bool = False

    def each(self, run: Outputs, full: Outputs, empty: Outputs, answers: Answers) -> Tensor:
        return -run.kl

    def summed(
        self, logits: Tensor, batch: Batch, full: Callable[[], Tensor], empty: Callable[[], Tensor]
    ) -> Tensor:
        log_p = full().to(logits.dtype).log_softmax(-1)
        return -kl_terms(log_p, logits.log_softmax(-1)).sum((-2, -1))


def kl_terms(
    log_p: Float[Tensor, "*any vocab"], log_q: Float[Tensor, "*many vocab"]
) -> Float[Tensor, "*many vocab"]:
    """Terms of KL(p || q), none of them negative.

    p log(p/q) + q - p sums to the same, since p and q both sum to 1, and where p and q are near it is
    p (r + exp(-r) - 1) with r = log(p/q): of second order, so that a small KL survives the rounding of r.
    """
    ratio = log_p - log_q
    far = ratio < -10  # where the exponential would overflow
    near = ratio.masked_fill(far, 0.0)
    p = log_p.exp()
    return torch.where(far, p * ratio + log_q.exp() - p, p * (near + torch.expm1(-near)))


LOGIT_DIFF = _Candidates("logit_diff", False, logit_diff)
PROB_DIFF = _Candidates("prob_diff", True, prob_diff)
OUTPUT_DIFF = _OutputDiff("output_diff", False)
NUMBER_DIFF = _OutputDiff("number_diff", True)
DIVERGENCE = _Divergence()
MEASURES: dict[str, Measure] = {
    each.name: each for each in (LOGIT_DIFF, PROB_DIFF, OUTPUT_DIFF, NUMBER_DIFF, DIVERGENCE)
}
"""By name, as a task and a record name them."""
