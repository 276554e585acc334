"""Two methods' values seed by seed -> one ratio with an interval."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import pandas as pd
from scipy import stats

HOLDS, FAILS, OPEN, PART = "holds", "fails", "open", "in part"
"""What can become of a claim."""


@dataclass(frozen=True)
class Ratio:
    """The geometric mean over seeds of a ratio, with Student's 95 % interval of its logarithm."""

    mean: float
    low: float
    high: float
    seeds: int

    def verdict(self, bound: float) -> str:
        """What becomes of the claim that the ratio is below `bound`: the whole interval decides."""
        return HOLDS if self.high < bound else FAILS if self.low >= bound else OPEN


def paired_ratio(ours: "pd.Series[float]", theirs: "pd.Series[float]") -> Ratio:
    """Of two methods' positive values by seed, paired.

    Unscored where a seed of either is: neither infinite values nor missing ones are left out silently.
    """
    seeds = ours.index.union(theirs.index)
    both = list(zip(ours.reindex(seeds), theirs.reindex(seeds), strict=True))
    logs = [math.log(a / b) for a, b in both if 0 < a < math.inf and 0 < b < math.inf]
    if not logs or len(logs) < len(both):
        return Ratio(math.nan, math.nan, math.nan, len(logs))
    mean = math.fsum(logs) / len(logs)
    if len(logs) < 2:
        return Ratio(math.exp(mean), math.nan, math.nan, 1)
    reach = float(stats.t.ppf(0.975, len(logs) - 1)) * float(stats.sem(logs))
    return Ratio(math.exp(mean), math.exp(mean - reach), math.exp(mean + reach), len(logs))


def overall(verdicts: Iterable[str]) -> str:
    """What becomes of a claim that makes several comparisons.

    It holds where all of them do; where one fails it fails, or holds in part if another one holds.
    """
    found = set(verdicts)
    if FAILS in found:
        return PART if HOLDS in found else FAILS
    return HOLDS if found == {HOLDS} else OPEN


def judged(holds: bool, *figures: float) -> str:
    """What becomes of one comparison; open where a figure is unscored."""
    return OPEN if any(math.isnan(figure) for figure in figures) else HOLDS if holds else FAILS
