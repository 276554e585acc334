"""What becomes of a claim: comparisons, each with a bound that the code states -> one of five words.

A claim *holds* where all that it says is shown, every comparison by a one-sided test of 5 %
(intersection-union, Berger 1982, Technometrics 24). It is *contradicted* where the contrary of one comparison
is shown, at 5 % over all of them (Holm 1979: the smallest p decides whether there is any). It is *not
attainable* where arithmetic alone keeps anybody from meeting it. Otherwise it is *undecided*, and what could
have been seen is told. On models that were trained for this benchmark it is *not tested*.
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
"""Of each one-sided test; and how often what is told as seen is found."""
OURS = r"embedded(:\d+)?|tracr:.*"
"""Models that are not pretrained: no paper's claim is about them."""


@dataclass(frozen=True)
class Comparison:
    """One thing that a claim says, and what runs say for it and against it."""

    p_for: float = math.nan
    """Of "it is not so": small where it is shown. NaN where no test could be made."""
    p_against: float = math.nan
    """Of "it is so": small where the contrary is shown."""
    seen: float = math.nan
    """The true value, on the claim's side of the bound, that the test finds four times of five; infinite
    where there can be none so far from it."""
    visible: str = "{}"
    """That value in words."""
    impossible: str = ""
    """Why no result whatever could meet it; empty where one could."""


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
    p where there is no standard error, nor where it is 0.

    Args:
        estimate: of the quantity.
        bound: on the estimate's scale.
        side: where the claim says that it is.
        visible: "a ratio of {} or less", where {} is the value that could have been seen.
        shown: from that scale to the one on which it is told: exp of a log.
        end: the furthest value on the claim's side that there can be.
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
        bound: in their unit.
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
    """Whether something comes about more often than a bound says, by the binomial distribution.

    Args:
        hits: runs in which it did.
        runs: all of them, independent.
        bound: a share.
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
    """p of "fewer than so many of them are so" (Benjamini and Heller 2008, Biometrics 64, by Bonferroni).

    Of all of them it is the largest p, the intersection-union test; of one it is Holm's first step. A test
    that could not be made counts as one that found nothing. NaN where there are not so many.

    Args:
        wanted: how many are to be shown.
        p: of each.
    """
    if not 1 <= wanted <= len(p):
        return math.nan
    made = sorted(1.0 if math.isnan(each) else each for each in p)
    return min(1.0, (len(made) - wanted + 1) * made[wanted - 1])


def judge(comparisons: Sequence[Comparison], needed: int | None = None) -> Verdict:
    """What becomes of a claim on models that it is about.

    Args:
        comparisons: all that it says.
        needed: in how many of them it has to be right; in all if left out.
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
    """Which rows are of models that papers' claims are about: of none that was trained for this benchmark."""
    return ~table["model"].astype(str).str.fullmatch(OURS)
