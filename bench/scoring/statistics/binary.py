"""Yes-or-no outcomes on the same programs: their share with an interval, and two methods compared."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool


def wilson(yes: int, n: int) -> tuple[float, float]:
    """The 95 % interval of a share, from `yes` successes in `n` (Wilson 1927, JASA 22).

    Ends are shares from 0 to 1; both NaN if n is 0. It is about other programs like these.

    Args:
        yes: number of successes.
        n: number of cases.
    """
    from scipy.stats import binomtest

    if n == 0:
        return float("nan"), float("nan")
    ends = binomtest(yes, n).proportion_ci(0.95, "wilson")
    return float(ends.low), float(ends.high)


def mcnemar(a: Bool[np.ndarray, " case"], b: Bool[np.ndarray, " case"]) -> float:
    """Exact two-sided p of "a and b are as often right" (McNemar 1947, Psychometrika 12).

    Of the cases in which only one is right, each is as likely to be a's as b's; 1 if there are none.

    Args:
        a: whether one method is right, by case.
        b: whether the other is, on the same cases.
    """
    from scipy.stats import binomtest

    a_alone, b_alone = int((a & ~b).sum()), int((b & ~a).sum())
    return float(binomtest(a_alone, a_alone + b_alone).pvalue) if a_alone + b_alone else 1.0
