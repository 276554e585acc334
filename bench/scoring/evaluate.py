"""Circuits of one model on one task's evaluation data -> raw outputs -> scores.

Every circuit, whatever method made it, goes through the same two functions: `run_circuits` computes the
model's outputs, `score` turns them into numbers and needs no model.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TypeVar, get_type_hints

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from bench.engine.ablation import Reference
from bench.engine.circuit import Circuit
from bench.engine.masked_model import MaskedModel
from bench.scoring import metrics
from bench.scoring.measures import Measure, logit_diff, prob_diff
from bench.scoring.metrics import Answers, Outputs, outputs_of
from bench.scoring.statistics.gaps import recovered, template_log_gaps
from bench.scoring.statistics.intervals import of_kl, of_ratio
from bench.scoring.statistics.student import over_templates, too_few_prompts, too_few_templates
from methods.base import Batch

T = TypeVar("T", Outputs, Answers)
FULL, EMPTY, ONES = "full", "empty", "ones"
REFERENCES = (FULL, EMPTY, ONES)
"""Runs that circuits are compared with: the model itself, nothing kept, and the mask that keeps every edge.

The last one equals the first but for rounding: it is the noise floor of a masked forward."""
ABSOLUTE, SIGNED = "absolute", "signed"
"""Curves: circuits cut from a method's scores by absolute value, or with their sign; see
`Discovery.signed`."""
OF_SEVERAL = ("_low", "_high", "faithfulness", "complement_loss")
"""Endings of the scores that one prompt cannot give."""


OF_CHOICES = (
    "kl_candidates", "choice_accuracy", "chance", "logit_diff", "prob_diff", "complement_choice_accuracy",
    "complement_choice_probability",
)  # fmt: skip
"""The scores that exist only if wrong answers are named."""


def complement_of(size: float) -> str:
    """The name of the outputs of a circuit's complement."""
    return f"complement {size:g}"


def rewired_of(size: float) -> str:
    """The name of the outputs of a circuit's null, some of whose edges are rewired."""
    return f"rewired {size:g}"


@dataclass(frozen=True)
class RawOutputs:
    """Outputs of named runs over all evaluation examples; `full` and `empty` are always there.

    `ones` is missing if an older version stored them.
    """

    runs: Mapping[str, Outputs]
    answers: Answers

    def tensors(self) -> dict[str, Tensor]:
        """Flat, to be stored."""
        named = {f"answers.{f.name}": getattr(self.answers, f.name) for f in fields(Answers)}
        for run, outputs in self.runs.items():
            named |= {f"outputs.{run}.{f.name}": getattr(outputs, f.name) for f in fields(Outputs)}
        return named

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> RawOutputs:
        """Reads what `tensors` returned; other names are ignored.

        Raises:
            KeyError: a part is missing.
            ValueError: a part has a wrong type or shape.
        """
        tensors = {**_before(tensors), **tensors}
        kl = {name: each.clamp(min=0) for name, each in tensors.items() if name.endswith(".kl")}
        tensors |= kl  # an earlier version stored -1e-17 for 0
        names = {name.split(".", 1)[1].rsplit(".", 1)[0] for name in tensors if name.startswith("outputs.")}
        shape = tensors["answers.candidates"].shape
        runs = {n: _part(Outputs, tensors, f"outputs.{n}", shape) for n in sorted(names | {FULL, EMPTY})}
        return cls(runs, _part(Answers, tensors, "answers", shape))


def _before(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What versions without held-out templates did not store."""
    return {"answers.held_out": torch.zeros_like(tensors["answers.template"], dtype=torch.bool)}


_HINTS = {kind: get_type_hints(kind) for kind in (Outputs, Answers)}
"""Looked up once: it takes longer than reading a run."""


def _part(kind: type[T], tensors: Mapping[str, Tensor], prefix: str, shape: torch.Size) -> T:
    """Outputs or answers from their stored parts, whose lengths must fit the candidates' `shape`."""
    parts = {name: (tensors[f"{prefix}.{name}"], hint) for name, hint in _HINTS[kind].items()}
    for name, (part, hint) in parts.items():
        if not isinstance(part, hint) or not len(part) or part.shape != shape[: part.ndim]:
            raise ValueError(f"'{prefix}.{name}' is {part.dtype} {list(part.shape)}")
    return kind(**{name: part for name, (part, _) in parts.items()})


@torch.no_grad()
def run_circuits(
    model: MaskedModel,
    batches: Sequence[Batch],
    template: Tensor,
    circuits: Mapping[str, Circuit],
    reference: Reference,
    progress: Callable[[int, int, str], None] | None = None,
    held_out: Tensor | None = None,
) -> RawOutputs:
    """Runs the full model, the empty circuit, the mask of ones and the given circuits; equal ones once.

    Each batch's full run and reference are computed once for all circuits, and only the effective part of a
    circuit is run.

    Args:
        model: the circuits' model.
        batches: the evaluation prompts.
        template: one per answer of all batches, in order.
        circuits: by name, other than those of `REFERENCES`.
        reference: what removed edges carry.
        progress: called after each batch.
        held_out: one per answer, whether methods saw none of its template; False for all if left out.
    """
    named = {EMPTY: Circuit.empty(model.graph), ONES: Circuit.full(model.graph), **circuits}
    first: dict[str, str] = {}
    twins = {name: first.setdefault(circuit.digest, name) for name, circuit in named.items() if name != ONES}
    runs = {name: circuit for name, circuit in named.items() if twins.get(name, name) == name}
    masks = {name: circuit.effective(reference.ablation.name).kept.to(model.device, model.dtype)
             for name, circuit in runs.items()}  # fmt: skip
    collected: dict[str, list[Outputs]] = {name: [] for name in (FULL, *runs)}
    for done, batch in enumerate(batches):
        at = (batch.examples, batch.positions)
        full = model.run(batch.clean, answers=at, lengths=batch.lengths)
        activations = reference.of(model, batch.corrupted, batch.lengths)
        collected[FULL].append(outputs_of(full, full, batch.candidates))
        for name, circuit in runs.items():
            if name != ONES and len(circuit) == model.graph.n_edges and not circuit.weights:
                collected[name].append(collected[FULL][-1])  # but for rounding it is the full model
                continue
            logits = model.run(batch.clean, masks[name], activations, circuit.weights, at, batch.lengths)
            collected[name].append(outputs_of(logits, full, batch.candidates))
        if progress:
            progress(done + 1, len(batches), "evaluating")
    answers = Answers(
        torch.cat([batch.candidates for batch in batches]).cpu(),
        torch.cat([batch.correct for batch in batches]).cpu(),
        template,
        torch.zeros_like(template, dtype=torch.bool) if held_out is None else held_out,
    )
    twins |= {name: name for name in (FULL, ONES)}
    return RawOutputs({name: joined(collected[twin]) for name, twin in twins.items()}, answers)


def joined(parts: Sequence[Outputs]) -> Outputs:
    """One run's outputs of several batches, in order, on the host."""
    return Outputs(*(torch.cat([getattr(part, f.name) for part in parts]).cpu() for f in fields(Outputs)))


def score(raw: RawOutputs, run: str, complement: str | None, measure: Measure) -> dict[str, float]:
    """Every metric of one run, and of its complement if there is one. What is unscored is left out.

    One prompt says nothing about others: shares and the ends of intervals are then NaN.

    Args:
        raw: outputs of all runs.
        run: the circuit's name among them.
        complement: its complement's name; None where it was not run.
        measure: the task's difference metric m.

    Raises:
        KeyError: there is no run of that name.
    """
    m = {name: _m(raw, name, measure) for name in (FULL, EMPTY, run, complement) if name is not None}
    scores = (_number_scores if measure.of_numbers else _scores)(raw, run, complement, measure, m)
    if _is_one_prompt(raw.answers, measure):
        scores |= {name: math.nan for name in scores if name.endswith(OF_SEVERAL)}
    return scores


def _is_one_prompt(answers: Answers, measure: Measure) -> bool:
    return len(answers.template.unique() if measure.per_position else answers.template) < 2


def _scores(
    raw: RawOutputs, run: str, complement: str | None, measure: Measure, m: Mapping[str, Tensor]
) -> dict[str, float]:
    """Scores if an answer is chosen among candidates."""
    full, outputs, answers = raw.runs[FULL], raw.runs[run], raw.answers
    scores = {
        "kl": _mean(outputs.kl),
        "kl_candidates": _mean(metrics.kl_candidates(full, outputs)),
        "accuracy": _mean(metrics.accuracy(outputs, answers)),
        "exact_match": _mean(outputs.argmax == full.argmax),
        "choice_accuracy": _mean(metrics.choice_accuracy(outputs, answers)),
        "chance": _mean(answers.correct),
        "logit_diff": _mean(logit_diff(outputs.candidate_logits, outputs.log_z, answers.correct)),
        "prob_diff": _mean(prob_diff(outputs.candidate_logits, outputs.log_z, answers.correct)),
        "faithfulness": metrics.recovered_share(m[run], m[FULL], m[EMPTY]),
        "templates": len(answers.template.unique()),
    }
    if measure.orders:
        scores["kendall_tau"] = _mean(metrics.kendall_tau(full, outputs))
    if complement is not None:
        rest = raw.runs[complement]
        scores |= {
            "complement_kl": _mean(rest.kl),
            "complement_accuracy": _mean(metrics.accuracy(rest, answers)),
            "complement_choice_accuracy": _mean(metrics.choice_accuracy(rest, answers)),
            "complement_choice_probability": _mean(metrics.choice_probability(rest, answers)),
            "complement_loss": metrics.removed_share(m[complement], m[FULL], m[EMPTY]),
        }
    if answers.correct.all():
        scores = {name: value for name, value in scores.items() if name not in OF_CHOICES}
    return scores | _intervals(raw, run, complement, m, scores)


def _m(raw: RawOutputs, run: str, measure: Measure) -> Tensor:
    """The difference metric of one run, per answer."""
    return measure.each(raw.runs[run], raw.runs[FULL], raw.runs[EMPTY], raw.answers)


def _number_scores(
    raw: RawOutputs, run: str, complement: str | None, measure: Measure, m: Mapping[str, Tensor]
) -> dict[str, float]:
    """Scores if the output is one number: there is nothing to choose among, and no distribution."""
    scores = {
        "squared_error": _mean(metrics.squared_error(raw.runs[FULL], raw.runs[run])),
        "faithfulness": metrics.recovered_share(m[run], m[FULL], m[EMPTY]),
        "templates": len(raw.answers.template.unique()),
    }
    if complement is not None:
        scores["complement_loss"] = metrics.removed_share(m[complement], m[FULL], m[EMPTY])
    return scores


def _intervals(
    raw: RawOutputs, run: str, complement: str | None, m: Mapping[str, Tensor], scores: Mapping[str, float]
) -> dict[str, float]:
    """The headline scores, and the ends of all intervals over these prompts; an unscored one has none."""
    template = raw.answers.template.numpy()
    own, empty = _column(raw.runs[run].kl), _column(raw.runs[EMPTY].kl)
    found = dict(of_kl(own, empty, template))
    shown = {name: float(found[name].estimate[0]) for name in ("recovered", "log_gap")}
    whole = _column(m[FULL] - m[EMPTY])
    if not math.isnan(scores["faithfulness"]):
        found["faithfulness"] = of_ratio(_column(m[run] - m[EMPTY]), whole, template)
        if complement is not None:
            found["complement_loss"] = of_ratio(_column(m[FULL] - m[complement]), whole, template)
    ends = {
        f"{name}_{end}": float(getattr(statistic, end)[0])
        for name, statistic in found.items()
        for end in ("low", "high")
    }
    return {**shown, **ends, **_over_new_templates(raw, run)}


def recovered_by(raw: RawOutputs, run: str) -> float:
    """`recovered` of a run alone, over all prompts; NaN if it was not run, or its output is a number.

    Args:
        raw: outputs of all runs.
        run: its name among them.
    """
    if run not in raw.runs:
        return math.nan
    return float(recovered(_column(raw.runs[run].kl), _column(raw.runs[EMPTY].kl))[0])


def _over_new_templates(raw: RawOutputs, run: str) -> dict[str, float]:
    """The headline scores on a typical template that no method saw, with Student's interval over
    templates."""
    gaps, few = new_log_gaps(raw, run)
    if not len(gaps):
        return {}
    mean = over_templates(gaps, few)
    interval = mean.interval()
    return {
        "log_gap_new": mean.value,
        "log_gap_new_low": interval.low,
        "log_gap_new_high": interval.high,
        "recovered_new": 1 - math.exp(mean.value),
        "recovered_new_low": 1 - math.exp(interval.high),
        "recovered_new_high": 1 - math.exp(interval.low),
    }


def new_log_gaps(raw: RawOutputs, run: str) -> tuple[Float[np.ndarray, " template"], int]:
    """log_gap of a run on each template that no method saw, and the number of prompts of the smallest.

    Args:
        raw: outputs of all runs; if no template is held out, the result is empty.
        run: the circuit's name among them.
    """
    new = telling(raw).numpy()
    if not new.any():
        return np.empty(0), 0
    template = raw.answers.template.numpy()[new]
    own, empty = (_column(raw.runs[name].kl)[new] for name in (run, EMPTY))
    return template_log_gaps(own, empty, template)[:, 0], fewest(template)


def telling(raw: RawOutputs) -> Bool[Tensor, " answer"]:
    """Which answers belong to a template that no method saw and on which the empty circuit's KL is above 0.

    If it is 0, as for two inputs with the same output in a compiled program, no share of it is defined.

    Args:
        raw: outputs of all runs.
    """
    templates, each = raw.answers.template.unique(return_inverse=True)
    total = torch.zeros(len(templates), dtype=torch.float64).index_add(0, each, raw.runs[EMPTY].kl.double())
    return raw.answers.held_out & (total != 0)[each]


def unsaid(answers: Answers) -> dict[str, str]:
    """Why intervals over these prompts, and over new templates, are missing; empty if they are not."""
    template, new = answers.template.numpy(), answers.template[answers.held_out].numpy()
    few = too_few_templates(len(np.unique(new)))
    return {
        "these_prompts": too_few_prompts(fewest(template)),
        "new_templates": few or too_few_prompts(fewest(new)),
    }


def fewest(template: np.ndarray) -> int:
    """Number of prompts of the smallest template."""
    return int(np.unique(template, return_counts=True)[1].min())


def _column(values: Tensor) -> Float[np.ndarray, "answer 1"]:
    return values.double().numpy()[:, None]


def curves(
    raw: RawOutputs, absolute: Mapping[float, str], signed: Mapping[float, str], measure: Measure
) -> dict[str, float]:
    """The areas under the curves of `metrics.CURVE_SHARES`: as in MIB, and over log share.

    CPR and the area of examples that are right are of the signed ranking, in which harmful edges come last;
    CMD is of the absolute one. MIB's evaluator gives the same numbers, except that it divides by a gap of any
    size (`metrics.recovered_share`). Left out if a share was not run, or for one prompt.

    Args:
        raw: outputs of all runs.
        absolute: names of the circuits by their share of edges, cut from the absolute scores.
        signed: the same for the signed scores; empty if there are none, so that one ranking serves both.
        measure: the task's difference metric.
    """
    if any(share not in absolute for share in metrics.CURVE_SHARES) or _is_one_prompt(raw.answers, measure):
        return {}
    signed = signed or absolute
    m = {name: _m(raw, name, measure) for name in (FULL, EMPTY, *absolute.values(), *signed.values())}

    def areas(names: Mapping[float, str]) -> dict[str, float]:
        runs = [m[names[share]] for share in metrics.CURVE_SHARES]
        points = [metrics.recovered_share(run, m[FULL], m[EMPTY]) for run in runs]
        right = [_mean(run > 0) for run in runs]
        found = metrics.areas(metrics.CURVE_SHARES, points, right)
        return {
            name: area for name, area in found.items() if name != "acc_auc" or not raw.answers.correct.all()
        }

    return areas(signed) | {n: area for n, area in areas(absolute).items() if n.startswith("cmd")}


def _mean(values: Tensor) -> float:
    return float(values.double().mean())
