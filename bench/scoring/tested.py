"""The columns of the tests of one circuit, computed from its stored outputs, and why one is missing.

Tests that need random circuits of its size are made where all rows are at hand (`beside_random.py`).
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from bench.scoring.evaluate import EMPTY, FULL, RawOutputs
from bench.scoring.knockouts import FEWEST_EDGES, MOST_EDGES, KnockOuts
from bench.scoring.measures import DIVERGENCE, Measure
from bench.scoring.metrics import Outputs, recovered_share
from bench.scoring.statistics.circuit_tests import Tested, equivalence, independence, minimality
from bench.scoring.statistics.gaps import FLOOR
from bench.scoring.statistics.student import NONE

IDLE = FLOOR
"""Share of the empty circuit's distance to the model: an edge whose removal costs less is idle."""
ROUNDING = 1e-6
"""Of the same: costs that differ by no more are equal."""
ONE_SIDED = "without wrong answers KL is measured, which is 0 for the model, so no circuit is ahead of it"


def columns_of(
    raw: RawOutputs, run: str, complement: str, measure: Measure, knocked: KnockOuts | None, edges: int
) -> dict[str, float | str]:
    """The columns of one circuit; what could not be tested is left out, and `untested` says why.

    Args:
        raw: outputs of all runs.
        run: the circuit's name among them.
        complement: its complement's.
        measure: the task's difference metric m.
        knocked: its knock-outs; None if there were none.
        edges: number that it keeps.
    """
    unseen = _of_unseen(raw)
    said: dict[str, float | str] = {}
    equal = _equivalence(unseen, run, measure)
    said |= {"ahead_share": equal.value, "p_equivalence": equal.p}
    for name, other in (("", complement), ("_empty", EMPTY)):
        alone = _independence(unseen, other, measure)
        said |= {f"dependence{name}": alone.value, f"p_independence{name}": alone.p}
    reasons = {"equivalence": equal.reason, "independence": alone.reason}
    if knocked is None:
        reasons["knock-outs"] = _why_none(edges)
    else:
        needed, costs = _minimality(raw, run, measure, knocked)
        said |= {"unneeded_share": needed.value, "p_minimality": needed.p}
        if not needed.reason:
            said["idle_share"] = float((costs < IDLE).mean())
        apart = _incompleteness(raw, measure, knocked)
        said |= {"incompleteness_mean": float(apart.mean()), "incompleteness_max": float(apart.max())}
        reasons["minimality"] = needed.reason
        reasons["incompleteness"] = "" if np.isfinite(apart).all() else "full and empty hardly differ"
    told = [f"{name}: {reason}" for name, reason in reasons.items() if reason]
    return {**said, "untested": "; ".join(told)}


def _why_none(edges: int) -> str:
    if edges < FEWEST_EDGES:
        return f"a circuit of fewer than {FEWEST_EDGES} edges"
    if edges > MOST_EDGES:
        return f"a circuit of more than {MOST_EDGES} edges"
    return "not made in this run"


def _of_unseen(raw: RawOutputs) -> RawOutputs:
    """The answers of templates that no method saw; all if none is held out."""
    new = raw.answers.held_out
    if not new.any():
        return raw
    return RawOutputs.from_tensors({name: part[new] for name, part in raw.tensors().items()})


def _equivalence(raw: RawOutputs, run: str, measure: Measure) -> Tested:
    """One value per template, or per input of a program; below 1 % of the full-empty difference is a tie."""
    if measure is DIVERGENCE:
        return Tested.not_to_be_had(ONE_SIDED)
    runs, answers = raw.runs, raw.answers
    ours, full, empty = (
        by_template(measure.each(runs[name], runs[FULL], runs[EMPTY], answers), answers.template)
        for name in (run, FULL, EMPTY)
    )
    return equivalence(ours - full, FLOOR * float(np.abs(full - empty).mean()))


def _independence(raw: RawOutputs, other: str, measure: Measure) -> Tested:
    if measure is DIVERGENCE:
        return Tested.not_to_be_had(ONE_SIDED)
    full, stratum = _units(raw, FULL, measure)
    rest, _ = _units(raw, other, measure)
    return independence(full, rest, stratum)


def _units(
    raw: RawOutputs, run: str, measure: Measure
) -> tuple[Float[np.ndarray, "unit feature"], Int[np.ndarray, " unit"]]:
    """m of each prompt, and its template.

    m of a compiled program is weighted by the full model's outputs, on which the complement's would depend
    for that alone: there, a unit is all outputs of an input, among inputs with as many.
    """
    outputs, answers = raw.runs[run], raw.answers
    template = answers.template.numpy()
    if not measure.per_position:
        m = measure.each(outputs, raw.runs[FULL], raw.runs[EMPTY], answers)
        return m.double().numpy()[:, None], template
    said = outputs.candidate_logits.double().numpy()
    each = [said[template == number].ravel() for number in np.unique(template)]
    units = np.zeros((len(each), max(map(len, each))))
    for unit, values in zip(units, each, strict=True):
        unit[: len(values)] = values
    return units, np.array([len(values) for values in each])


def _minimality(
    raw: RawOutputs, run: str, measure: Measure, knocked: KnockOuts
) -> tuple[Tested, Float[np.ndarray, " edge"]]:
    """The test, and the cost of removing each edge as a share of the empty circuit's distance to the
    model."""
    own, empty = (_apart(raw.runs[name], raw, measure)[knocked.answers].mean() for name in (run, EMPTY))
    empty = empty if empty > 0 else empty.new_tensor(NONE)  # if it equals the model, no edge is needed
    costs = ((knocked.removed.mean(1) - own) / empty).numpy()
    added = ((knocked.deflated - knocked.inflated).mean(1) / empty).numpy()
    return minimality(costs, added, ROUNDING)[0], costs


def _incompleteness(raw: RawOutputs, measure: Measure, knocked: KnockOuts) -> Float[np.ndarray, " set"]:
    """|m(C without K) - m(M without K)| as shares of |m(full) - m(empty)|; NaN where that is noise."""
    full, empty = (
        measure.each(raw.runs[name], raw.runs[FULL], raw.runs[EMPTY], raw.answers)[knocked.answers].double()
        for name in (FULL, EMPTY)
    )
    is_told = recovered_share(full, full, empty)  # 1, or NaN
    apart = (knocked.circuit_m - knocked.model_m).mean(1) / (full - empty).mean()
    found: Float[np.ndarray, " set"] = (is_told * apart.abs()).numpy()
    return found


def _apart(run: Outputs, raw: RawOutputs, measure: Measure) -> Tensor:
    return measure.apart(run, raw.runs[FULL]).double()


def by_template(values: Tensor, template: Tensor) -> Float[np.ndarray, " template"]:
    """The mean of each template, in the order of their numbers."""
    _, place = template.unique(return_inverse=True)
    sums = values.new_zeros(int(place.max()) + 1, dtype=values.dtype).index_add_(0, place, values)
    means: Float[np.ndarray, " template"] = (sums / place.bincount()).double().numpy()
    return means
