"""From comparisons, each with a bound that the code states, to the verdict on a claim: one of five words.

A claim *holds* if every comparison that it makes is shown by a one-sided test at 5 % (intersection-union,
Berger 1982, Technometrics 24). It is *contradicted* if the contrary of one comparison is shown, at 5 % over
all of them (Holm 1979: the smallest p decides whether there is any). It is *not attainable* if arithmetic
alone rules it out. Otherwise it is *undecided*, and the effect that could have been seen is reported. On
models that were trained for this benchmark it is *not tested*.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import pandas as pd
from scipy import stats

from reports.claims.estimate import Estimate

Verdict = Literal["holds", "contradicted", "not attainable", "undecided", "not tested"]
LEVEL, POWER = 0.05, 0.8
"""The level of each one-sided test, and the power at which the reported effect would be detected."""
OURS = r"embedded(:\d+)?|tracr:.*"
"""Models that are not pretrained: no paper's claim is about them."""


@dataclass(frozen=True)
class Comparison:
    """One comparison that a claim makes, and what the runs say for and against it."""

    p_for: float = math.nan
    """p of the null "the claim is false": small where the claim is shown. NaN if no test was possible."""
    p_against: float = math.nan
    """p of the null "the claim is true": small where the contrary is shown."""
    seen: float = math.nan
    """The true value, on the claim's side of the bound, that the test detects with 80 % power; infinite if no
    value so far from the bound is possible."""
    visible: str = "{}"
    """Wording of that value."""
    impossible: str = ""
    """Why no result could meet the claim; empty where one could."""


def compare(
    estimate: Estimate,
    bound: float,
    side: Literal["below", "above"],
    visible: str,
    shown: Callable[[float], float] = float,
    end: float = math.inf,
) -> Comparison:
    """Whether a quantity lies on one side of a bound, by Student's t.

    What could have been seen is the minimum detectable effect (Bloom 1995, Evaluation Review 19). There is no
    p if there is no standard error, or if it is 0.

    Args:
        estimate: the estimate of the quantity.
        bound: the bound, on the estimate's scale.
        side: the side of the bound on which the claim puts the quantity.
        visible: "a ratio of {} or less", where {} is the value that could have been seen.
        shown: maps that scale to the one reported, such as exp for a log.
        end: the furthest possible value on the claim's side.
    """
    if not estimate.error > 0:
        return Comparison()
    sign = 1 if side == "below" else -1
    t = sign * (estimate.value - bound) / estimate.error
    reach = float(stats.t.ppf(1 - LEVEL, estimate.freedom) + stats.t.ppf(POWER, estimate.freedom))
    seen = bound - sign * reach * estimate.error
    within = math.isinf(end) or sign * seen >= sign * end
    return Comparison(
        float(stats.t.cdf(t, estimate.freedom)),
        float(stats.t.sf(t, estimate.freedom)),
        shown(seen) if within else math.inf,
        visible,
    )


def compare_deviation(values: "pd.Series[float]", bound: float) -> Comparison:
    """Whether a standard deviation lies below a bound, by chi-square.

    Args:
        values: a sample, normal or nearly so.
        bound: the bound, in their unit.
    """
    freedom = len(values) - 1
    squares = float(values.var(skipna=False)) * freedom if freedom > 0 else math.nan
    if not math.isfinite(squares):
        return Comparison()
    ratio = squares / bound**2
    seen = bound * math.sqrt(stats.chi2.ppf(LEVEL, freedom) / stats.chi2.ppf(POWER, freedom))
    p_for, p_against = float(stats.chi2.cdf(ratio, freedom)), float(stats.chi2.sf(ratio, freedom))
    return Comparison(p_for, p_against, seen, "a standard deviation of {} or less")


def compare_share(hits: int, runs: int, bound: float) -> Comparison:
    """Whether something happens in more than a given share of runs, by the binomial distribution.

    Args:
        hits: number of runs in which it happened.
        runs: number of runs, all independent.
        bound: the share, from 0 to 1.
    """
    enough = min((k for k in range(runs + 1) if stats.binom.sf(k - 1, runs, bound) < LEVEL), default=None)
    seen = math.nan if enough is None else float(stats.beta.ppf(POWER, enough, runs - enough + 1))
    return Comparison(
        float(stats.binom.sf(hits - 1, runs, bound)),
        float(stats.binom.cdf(hits, runs, bound)),
        seen,
        "a share of {} or more",
    )


def at_least(wanted: int, p: Sequence[float]) -> float:
    """p of "fewer than `wanted` of them are true" (Benjamini and Heller 2008, Biometrics 64, by Bonferroni).

    For all of them it is the largest p, the intersection-union test; for one it is Holm's first step. A test
    that could not be made counts as one that found nothing. NaN if there are fewer than `wanted` tests.

    Args:
        wanted: how many must be shown.
        p: the p of each.
    """
    if not 1 <= wanted <= len(p):
        return math.nan
    made = sorted(1.0 if math.isnan(each) else each for each in p)
    return min(1.0, (len(made) - wanted + 1) * made[wanted - 1])


def judge(comparisons: Sequence[Comparison], needed: int | None = None) -> Verdict:
    """The verdict on a claim, from runs on the models that it is about.

    Args:
        comparisons: all comparisons that the claim makes.
        needed: how many of them must support it; all if left out.
    """
    needed = len(comparisons) if needed is None else needed
    possible = [comparison for comparison in comparisons if not comparison.impossible]
    contrary = len(comparisons) - needed + 1
    if at_least(contrary, [comparison.p_against for comparison in possible]) < LEVEL:
        return "contradicted"
    if len(possible) < needed:
        return "not attainable"
    shown = [math.nan if comparison.impossible else comparison.p_for for comparison in comparisons]
    return "holds" if at_least(needed, shown) < LEVEL else "undecided"


def is_pretrained(table: pd.DataFrame) -> "pd.Series[bool]":
    """Which rows are of models that papers' claims are about: those not made for this benchmark."""
    return ~table["model"].astype(str).str.fullmatch(OURS)
