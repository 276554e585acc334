"""From values of single runs to an estimate: a mean, ratio, difference or slope, and its standard error."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

ROUNDING = 1e-12
"""A standard error below this share of the largest value is rounding error and counts as 0."""


@dataclass(frozen=True)
class Estimate:
    """A value with its standard error and the degrees of freedom of Student's t."""

    value: float = math.nan
    error: float = math.nan
    """NaN where there are too few runs; 0 where they are all equal."""
    freedom: float = math.nan

    def interval(self) -> tuple[float, float]:
        """Student's 95 % interval; both ends are NaN without a standard error."""
        reach = float(stats.t.ppf(0.975, self.freedom)) * self.error
        return self.value - reach, self.value + reach


def mean_of(values: Iterable[float]) -> Estimate:
    """The mean of independent runs. Unscored if one of them is: none is left out silently."""
    found = np.array([*values], dtype=float)
    if not (found.size and np.isfinite(found).all()):
        return Estimate()
    if len(found) < 2:
        return Estimate(float(found[0]))
    error = float(found.std(ddof=1)) / math.sqrt(len(found))
    varies = error > ROUNDING * float(np.abs(found).max())
    return Estimate(float(found.mean()), error if varies else 0.0, len(found) - 1)


def logs(values: "pd.Series[float]") -> "pd.Series[float]":
    """Natural logarithms; NaN where there is none."""
    return values.where(values > 0).astype(float).map(math.log)


def log_ratio(ours: "pd.Series[float]", theirs: "pd.Series[float]") -> Estimate:
    """Mean log ratio of two methods' values, seed by seed; unscored if one of them is unscored or 0."""
    return mean_of(logs(ours).sub(logs(theirs)))


def difference(ours: Iterable[float], theirs: Iterable[float]) -> Estimate:
    """The difference of the means of two unpaired samples (Welch 1947, Biometrika 34)."""
    one, other = mean_of(ours), mean_of(theirs)
    parts = np.array([one.error, other.error]) ** 2
    total = float(parts.sum())
    freedom = total**2 / float((parts**2 / [one.freedom, other.freedom]).sum()) if total else math.nan
    return Estimate(one.value - other.value, math.sqrt(total), freedom)


def slope(x: "pd.Series[float]", y: "pd.Series[float]") -> Estimate:
    """The slope of the least-squares line through points; with two points it has no standard error."""
    if x.nunique() < 2 or not np.isfinite([*x, *y]).all():
        return Estimate()
    line = stats.linregress(x, y)
    if len(x) < 3:
        return Estimate(float(line.slope))
    return Estimate(float(line.slope), float(line.stderr), len(x) - 2)


def deviation(values: "pd.Series[float]") -> tuple[float, float, float]:
    """A sample's standard deviation with its 95 % interval, by chi-square, assuming normal values."""
    freedom = len(values) - 1
    found = float(values.std(skipna=False)) if freedom > 0 else math.nan
    low, high = (found * math.sqrt(freedom / stats.chi2.ppf(at, freedom)) for at in (0.975, 0.025))
    return found, low, high
