"""Intervals over "these prompts": other draws of as many prompts of each of the same templates.

A stratified bootstrap, studentised (Efron and Tibshirani 1993, An Introduction to the Bootstrap, section
12.5): examples are resampled within each template, templates stay, and every draw is measured in its own
standard error. KL has a long tail: if a mean is too low, its standard error is too small as well, and
percentile intervals miss the truth.

Positive statistics are studentised on a log scale: the standard error of a long-tailed mean grows with the
mean, that of its log hardly does, so studentised draws are alike whatever the truth is; no end is below 0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from jaxtyping import Float, Int

from bench.scoring.statistics.gaps import FLOOR
from bench.scoring.statistics.student import too_few_prompts

WITHIN = 0.97
"""Share of the draws between the ends of a 95 % interval if a tail is long; 0.95 on a linear scale.

Calibrated, as in Loh 1987 (Journal of the American Statistical Association 82): a long tail is longer than
any sample of it. In log-normal simulations, the ends at 0.95 covered 91 to 94 % of truths, these 93 to
97 %."""
FINEST = 1e-7
"""Standard error on a log scale below which it is rounding: its square is a difference of larger ones."""
CHUNK = 32
"""Rows at a time, so that their draws stay in the processor's cache."""


@dataclass(frozen=True)
class Bootstrapped:
    """A statistic of each row, with its 95 % interval over "these prompts"."""

    estimate: Float[np.ndarray, " row"]
    standard_error: Float[np.ndarray, " row"]
    """Of the estimate on its own scale, linear or log, by the delta method."""
    low: Float[np.ndarray, " row"]
    high: Float[np.ndarray, " row"]
    reason: str = ""
    """Why no row has an interval. A row with a value that is not finite has none either."""

    def below_one(self) -> Bootstrapped:
        """1 minus the statistic: `recovered` of a share of KL, complement loss of a faithfulness."""
        return replace(self, estimate=1 - self.estimate, low=1 - self.high, high=1 - self.low)


@dataclass(frozen=True)
class _Moments:
    """Means of two columns in every draw, and the variances and covariance of these means."""

    x: Float[np.ndarray, "draw row"]
    y: Float[np.ndarray, " draw #row"]
    xx: Float[np.ndarray, "draw row"]
    xy: Float[np.ndarray, "draw row"]
    yy: Float[np.ndarray, " draw #row"]

    def share(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean over mean, and the variance of its log."""
        x, y = self.x, np.where(self.y == 0, np.nan, self.y)
        return x / y, np.maximum(self.xx / x**2 - 2 * self.xy / (x * y) + self.yy / y**2, 0)


_Drawn = tuple[np.ndarray, np.ndarray]
"""A statistic and its standard error: as observed in the first row, then in every draw."""


def of_ratio(
    values: Float[np.ndarray, "answer row"],
    reference: Float[np.ndarray, " answer #row"],
    template: Int[np.ndarray, " answer"],
    draws: int = 2000,
    seed: int = 0,
) -> Bootstrapped:
    """The mean of each column over that of its reference at the same answers, as in `faithfulness`.

    Args:
        values: one column per row of the result.
        reference: a column for each row or one for all.
        template: of each answer.
        draws: number of draws; rows with the same templates share them.
        seed: of the draws.
    """

    def statistics(parts: list[_Moments], weights: np.ndarray) -> tuple[_Drawn, ...]:
        return (_ratio(_whole(parts, weights)),)

    return _bootstrap(statistics, ("linear",), values, reference, template, draws, seed)[0]


def of_kl(
    kl: Float[np.ndarray, "answer row"],
    empty: Float[np.ndarray, " answer #row"],
    template: Int[np.ndarray, " answer"],
    draws: int = 2000,
    seed: int = 0,
) -> dict[str, Bootstrapped]:
    """`kl`, `recovered` and `log_gap` of each row at once.

    Templates on which the empty circuit's KL is 0 are left out of log_gap.

    The interval of log_gap is about the average of other draws of as many prompts, so draws are measured from
    their own mean. That is not the value of infinitely many: the log of a mean of few is too low, the more so
    the longer the tail. Log_gaps are comparable if templates have equally many prompts.

    Args:
        kl: of the circuits.
        empty: of the empty circuit, a column for each row or one for all.
        template: of each answer.
        draws: number of draws; rows with the same templates share them.
        seed: of the draws.
    """

    def statistics(parts: list[_Moments], weights: np.ndarray) -> tuple[_Drawn, ...]:
        whole = _whole(parts, weights)
        return _mean(whole), _share(whole), _gap(parts)

    mean, share, gap = _bootstrap(statistics, ("log", "log", "gap"), kl, empty, template, draws, seed)
    return {"kl": mean, "recovered": share.below_one(), "log_gap": gap}


def _mean(whole: _Moments) -> _Drawn:
    return np.log(whole.x), np.sqrt(whole.xx) / whole.x


def _share(whole: _Moments) -> _Drawn:
    share, of_log = whole.share()
    return np.log(share), np.sqrt(of_log)


def _ratio(whole: _Moments) -> _Drawn:
    share = whole.x / whole.y
    variance = whole.xx - 2 * share * whole.xy + share**2 * whole.yy
    return share, np.sqrt(np.maximum(variance, 0)) / np.abs(whole.y)


def _gap(parts: list[_Moments]) -> _Drawn:
    """The standard error ignores the floor: a draw with every template at the floor has one, too.

    A template on which the empty circuit's KL is 0 has no share, and is left out.
    """
    gap, variance, counted = (np.zeros_like(parts[0].x) for _ in range(3))
    for part in parts:
        share, of_log = part.share()
        tells = np.broadcast_to(part.y[0] != 0, share.shape)
        gap += np.where(tells, np.log(np.maximum(share, FLOOR)), 0)
        variance += np.where(tells & (share > 0), of_log, 0)
        counted += tells
    return gap / counted, np.sqrt(variance) / counted


def _whole(parts: list[_Moments], weights: Float[np.ndarray, " template"]) -> _Moments:
    """Over all answers, from each template: these are drawn independently, so variances add up."""
    pairs = list(zip(weights, parts, strict=True))
    return _Moments(
        sum(w * part.x for w, part in pairs),
        sum(w * part.y for w, part in pairs),
        sum(w * w * part.xx for w, part in pairs),
        sum(w * w * part.xy for w, part in pairs),
        sum(w * w * part.yy for w, part in pairs),
    )


def _bootstrap(
    statistics: Callable[[list[_Moments], np.ndarray], tuple[_Drawn, ...]],
    scales: tuple[str, ...],
    values: np.ndarray,
    reference: np.ndarray,
    template: np.ndarray,
    draws: int,
    seed: int,
) -> list[Bootstrapped]:
    """Some statistics of every row, in chunks of rows."""
    numbers = np.ascontiguousarray(template, dtype=np.int64)
    strata = _draws(numbers.tobytes(), draws, seed)
    sizes = np.array([len(places) for places, _ in strata])
    found: list[list[np.ndarray]] = [[] for _ in scales]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        for start in range(0, values.shape[1], CHUNK):
            rows = slice(start, start + CHUNK)
            shared = reference if reference.shape[1] == 1 else reference[:, rows]
            parts = [_moments(values[places, rows], shared[places], counts) for places, counts in strata]
            for column, drawn, scale in zip(
                found, statistics(parts, sizes / len(template)), scales, strict=True
            ):
                column.append(_ends(*drawn, scale))
    reason = too_few_prompts(int(sizes.min()))
    results = []
    for column in found:
        estimate, error, low, high = np.concatenate(column, axis=1)
        if reason:
            error, low, high = (np.full_like(estimate, np.nan) for _ in range(3))
        results.append(Bootstrapped(estimate, error, low, high, reason))
    return results


@lru_cache(maxsize=8)
def _draws(template: bytes, draws: int, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Of each template: where its answers are, and how often each is drawn; once in the first row."""
    numbers = np.frombuffer(template, dtype=np.int64)
    rng = np.random.default_rng(seed)
    strata = []
    for number in np.unique(numbers):
        places = np.flatnonzero(numbers == number)
        n = len(places)
        counts = rng.multinomial(n, np.full(n, 1 / n), size=draws)
        strata.append((places, np.vstack([np.ones(n), counts])))
    return strata


def _moments(x: np.ndarray, y: np.ndarray, counts: Float[np.ndarray, "draw answer"]) -> _Moments:
    """The moments of one template; a value that is not finite makes its row so in every draw."""
    n = counts.shape[1]
    shares = counts / n
    x_mean, y_mean = x.mean(0), y.mean(0)
    x, y = x - x_mean, y - y_mean  # centred, so that their squares may be subtracted
    x_drawn, y_drawn = shares @ x, shares @ y
    freedom = max(n - 1, 1)
    return _Moments(
        x_mean + x_drawn,
        y_mean + y_drawn,
        np.maximum(shares @ (x * x) - x_drawn**2, 0) / freedom,
        (shares @ (x * y) - x_drawn * y_drawn) / freedom,
        np.maximum(shares @ (y * y) - y_drawn**2, 0) / freedom,
    )


def _ends(drawn: np.ndarray, error: np.ndarray, scale: str) -> Float[np.ndarray, "4 row"]:
    """Estimate, standard error, low and high."""
    estimate, its_error = drawn[0], error[0]
    centre = drawn[1:].mean(0) if scale == "gap" else estimate
    studentised = (drawn[1:] - centre) / error[1:]
    within = 0.95 if scale == "linear" else WITHIN
    top, bottom = np.quantile(studentised, [(1 + within) / 2, (1 - within) / 2], axis=0)
    varies = its_error > (0 if scale == "linear" else FINEST)
    low, high = (np.where(varies, estimate - end * its_error, estimate) for end in (top, bottom))
    if scale == "log":
        estimate, low, high = np.exp(estimate), np.exp(low), np.exp(high)
    whole = np.isfinite(low) & np.isfinite(high)
    return np.stack([estimate, its_error, np.where(whole, low, np.nan), np.where(whole, high, np.nan)])
