"""Every score of the leaderboard: pure functions of raw outputs.

Raw outputs are per answer and small (`Outputs`), so that a run can be scored again without its model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from methods.training.precision import widest


@dataclass(frozen=True)
class Outputs:
    """Outputs of one run (full model, circuit, complement) at every answer."""

    candidate_logits: Float[Tensor, "answer candidate"]
    log_z: Float[Tensor, " answer"]
    """logsumexp of the logits over the whole vocabulary."""
    argmax: Int[Tensor, " answer"]
    """Token with the highest logit."""
    kl: Float[Tensor, " answer"]
    """KL(full || this run) in nats, over the whole vocabulary; 0 for the full model."""


@dataclass(frozen=True)
class Answers:
    """What the prompts ask: the candidates, which of them are right, and each answer's template."""

    candidates: Int[Tensor, "answer candidate"]
    correct: Bool[Tensor, "answer candidate"]
    template: Int[Tensor, " answer"]
    held_out: Bool[Tensor, " answer"]
    """Whether no method saw a prompt of its template."""


def outputs_of(
    logits: Float[Tensor, "answer vocab"],
    full: Float[Tensor, "answer vocab"],
    candidates: Int[Tensor, "answer candidate"],
) -> Outputs:
    """The raw outputs of a run, compared with the full model's logits and summed in float64.

    On the CPU if the device has no float64. KL is clamped at 0: if the two differ only by rounding, the sum
    may be -1e-17.

    Args:
        logits: of the run, at every answer.
        full: the full model's at the same answers; KL is taken from them.
        candidates: token ids, not indices.
    """
    if widest(logits.device) != torch.float64:
        logits, full, candidates = logits.cpu(), full.cpu(), candidates.cpu()
    logits, full = logits.double(), full.double()
    log_full = full.log_softmax(-1)
    kl = (log_full.exp() * (log_full - logits.log_softmax(-1))).sum(-1).clamp(min=0)
    return Outputs(logits.gather(1, candidates), logits.logsumexp(-1), logits.argmax(-1), kl)


def accuracy(outputs: Outputs, answers: Answers) -> Bool[Tensor, " answer"]:
    """Whether the most likely token of the vocabulary is a correct answer; higher is better, never NaN."""
    hit = answers.candidates == outputs.argmax[:, None]
    return (hit & answers.correct).any(1)


def choice_accuracy(outputs: Outputs, answers: Answers) -> Float[Tensor, " answer"]:
    """Whether the most likely candidate is a correct answer; of several that tie, the share that is correct.

    From 0 to 1, higher is better; NaN where a candidate's logit is.
    """
    logits = outputs.candidate_logits
    top = (logits == logits.amax(1, keepdim=True)).double()  # all False, hence NaN, where logits are NaN
    return (top * answers.correct).sum(1) / top.sum(1)


def choice_probability(outputs: Outputs, answers: Answers) -> Float[Tensor, " answer"]:
    """Probability of the correct candidates among the candidates, not in the vocabulary.

    From 0 to 1, higher is better, for a complement nearer the empty circuit's; NaN where a candidate's logit
    is. If no candidate is preferred, the most likely one is an accident, and this is not.
    """
    return (outputs.candidate_logits.softmax(1) * answers.correct).sum(1)


def kl_candidates(full: Outputs, run: Outputs) -> Float[Tensor, " answer"]:
    """KL(full || run) in nats among the candidates, renormalised. Lower is better; NaN where a logit is."""
    log_full = full.candidate_logits.log_softmax(-1)
    return (log_full.exp() * (log_full - run.candidate_logits.log_softmax(-1))).sum(-1).clamp(min=0)


def kendall_tau(full: Outputs, run: Outputs) -> Float[Tensor, " answer"]:
    """Kendall's tau-b between the full model's and the run's order of the candidates.

    From -1 to 1, higher is better; NaN where all candidates tie in either. All answers at once; scipy's, with
    which a test compares it, takes a second for a thousand.
    """

    def order(outputs: Outputs) -> Tensor:
        logits = outputs.candidate_logits
        return (logits[:, :, None] - logits[:, None, :]).sign()

    x, y = order(full), order(run)
    untied = x.square().sum((1, 2)) * y.square().sum((1, 2))
    return (x * y).sum((1, 2)) / untied.sqrt()


def squared_error(full: Outputs, run: Outputs) -> Float[Tensor, " answer"]:
    """Squared difference of the candidates' logits, summed, not averaged: for outputs that are numbers.

    From 0, in squares of the output's unit, lower is better; NaN where a logit is.
    """
    return (full.candidate_logits - run.candidate_logits).square().sum(1)


def recovered_share(
    run: Float[Tensor, " answer"], full: Float[Tensor, " answer"], empty: Float[Tensor, " answer"]
) -> float:
    """(m(run) - m(empty)) / (m(full) - m(empty)), each m a mean over answers: faithfulness of a circuit.

    A share, nearer 1 is better; never clipped, so it may be below 0 and above 1.

    Args:
        run: the difference metric m of the circuit, per answer.
        full: of the full model, at the same answers.
        empty: of the empty circuit.

    Returns:
        NaN if full and empty differ by no more than two standard errors of their paired difference, since the
        denominator is then noise; and for a single answer, which has no standard error.
    """
    gap = (full - empty).double()
    n = len(gap)
    if n < 2:
        return float("nan")
    error = float(gap.std()) / n**0.5
    if abs(float(gap.mean())) <= max(2 * error, 1e-9):
        return float("nan")
    return float((run - empty).double().mean() / gap.mean())


def removed_share(
    run: Float[Tensor, " answer"], full: Float[Tensor, " answer"], empty: Float[Tensor, " answer"]
) -> float:
    """(m(full) - m(complement)) / (m(full) - m(empty)): complement loss.

    A share, nearer 1 is better; not clipped; NaN as `recovered_share`.

    Args:
        run: the difference metric m of the complement, not of the circuit, per answer.
        full: of the full model, at the same answers.
        empty: of the empty circuit.
    """
    return 1 - recovered_share(run, full, empty)


CURVE_SHARES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
"""Shares of edges at which MIB (Mueller et al. 2025, arXiv:2504.13151) samples its two areas."""


def areas(shares: Sequence[float], faithfulness: Sequence[float], right: Sequence[float]) -> dict[str, float]:
    """Areas under faithfulness (`cpr`, higher is better) and |1 - faithfulness| (`cmd`, lower is better).

    By the trapezoidal rule, linear in the share of edges as in MIB; and over log share, divided by its range,
    as `cpr_log` and `cmd_log`, since half of the linear area lies above 50 %. Faithfulness of 1 everywhere
    has a `cpr` of 0.999, the range of shares. Not clipped; NaN if a point is. `acc_auc` is the mean over log
    share of the share of examples that are right.

    Args:
        shares: of edges, above 0, ascending.
        faithfulness: of the circuit of each share.
        right: the share of examples whose difference metric is above 0.
    """
    x, y = np.asarray(shares, float), np.asarray(faithfulness, float)
    gap = np.abs(1 - y)
    log_x = np.log(x)
    span = log_x[-1] - log_x[0]
    return {
        "cpr": float(np.trapezoid(y, x)),
        "cmd": float(np.trapezoid(gap, x)),
        "cpr_log": float(np.trapezoid(y, log_x) / span),
        "cmd_log": float(np.trapezoid(gap, log_x) / span),
        "acc_auc": float(np.trapezoid(np.asarray(right, float), log_x) / span),
    }


def circuit_recovery(
    kept: Bool[Tensor, "receivers senders"],
    true: Sequence[Bool[Tensor, "receivers senders"]],
    exists: Bool[Tensor, "receivers senders"],
) -> dict[str, float | bool]:
    """A circuit compared with the true one: `tpr`, `fpr`, `f1` over the graph's edges, and `exact`.

    Shares from 0 to 1; of `fpr` lower is better, of the others higher. A share of nothing is NaN: the true
    circuit is empty under resample where all inputs of a length give one output.

    Args:
        kept: the circuit's edges.
        true: true circuits, several where paths are redundant: the one with the best f1 counts.
        exists: the graph's edges.
    """

    def share(part: int, whole: int) -> float:
        return part / whole if whole else float("nan")

    def beside(truth: Tensor) -> dict[str, float | bool]:
        hits, size, n_true = int((kept & truth).sum()), int(kept.sum()), int(truth.sum())
        return {
            "tpr": share(hits, n_true),
            "fpr": share(size - hits, int(exists.sum()) - n_true),
            "f1": share(2 * hits, size + n_true),
            "exact": torch.equal(kept, truth),
        }

    return max(map(beside, true), key=lambda scores: scores["f1"])


def ranking_recovery(
    scores: Float[Tensor, "receivers senders"],
    true: Sequence[Bool[Tensor, "receivers senders"]],
    exists: Bool[Tensor, "receivers senders"],
) -> dict[str, float | bool]:
    """Scores compared with the true edges:
    `auroc`, `average_precision`, `exact_at_true_size`, and its `margin`.

    Higher is better. The first two are from 0 to 1; constant scores (a bare diagonal) have an auroc of 0.5.
    Exact means that every true edge scores above every other one, so a tie does not count; the margin, from
    -2 to 2, is by how much, divided by the largest score (below 1e-6 or so it depends on the machine's
    arithmetic).

    Args:
        scores: higher is kept sooner; read where edges exist.
        true: true circuits; the one with the best auroc counts.
        exists: the graph's edges.

    Returns:
        All NaN where every edge or none is true.
    """
    from sklearn.metrics import average_precision_score, roc_auc_score

    names = ("auroc", "average_precision", "exact_at_true_size", "margin")
    flat = scores[exists].double()

    def beside(truth: Tensor) -> dict[str, float | bool]:
        edges = truth[exists]
        if edges.all() or not edges.any():
            return dict.fromkeys(names, float("nan"))
        margin = float(flat[edges].min() - flat[~edges].max())
        return {
            # sums of shares, which rounding may carry beyond 1
            "auroc": min(1.0, float(roc_auc_score(edges.numpy(), flat.numpy()))),
            "average_precision": min(1.0, float(average_precision_score(edges.numpy(), flat.numpy()))),
            "exact_at_true_size": margin > 0,
            "margin": margin / float(flat.abs().max()) if margin else 0.0,
        }

    return max(map(beside, true), key=lambda found: found["auroc"])


def exact_cuts(
    scores: Float[Tensor, "receivers senders"],
    true: Sequence[Bool[Tensor, "receivers senders"]],
    exists: Bool[Tensor, "receivers senders"],
) -> dict[str, float | None]:
    """Thresholds at which the edges that score above are a true circuit: `cut_low` to below `cut_high`.

    There are none if these are not in order. None means no bound; `top_score` is the largest score.

    Args:
        scores: of every edge; read where edges exist.
        true: true circuits; the one with the widest range counts.
        exists: the graph's edges.
    """
    flat = scores[exists].double()

    def room(truth: Tensor) -> tuple[float, float]:
        edges = truth[exists]
        low = float(flat[~edges].max()) if not edges.all() else -float("inf")
        return low, float(flat[edges].min()) if edges.any() else float("inf")

    low, high = max(map(room, true), key=lambda ends: ends[1] - ends[0])
    ends = {"cut_low": low, "cut_high": high}
    return {**{n: v if np.isfinite(v) else None for n, v in ends.items()}, "top_score": float(flat.max())}


def jaccard(circuits: Bool[Tensor, "circuit edge"]) -> Float[Tensor, "circuit circuit"]:
    """Of each pair of circuits: edges in both over edges in either, a share from 0 to 1, never NaN.

    Two circuits without edges have 1. Neither direction is better by itself.
    """
    held = circuits.double()
    both = held @ held.T
    either = held.sum(1)[:, None] + held.sum(1) - both
    return torch.where(either > 0, both / either, 1.0)
