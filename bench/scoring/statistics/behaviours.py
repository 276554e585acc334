"""Over behaviours: one number per method, and how often it beats another, after rliable.

Agarwal, Schwarzer, Castro, Courville and Bellemare 2021, "Deep reinforcement learning at the edge of the
statistical precipice", NeurIPS: runs, one per data seed, are resampled within each behaviour; behaviours
stay.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float

from bench.scoring.statistics.gaps import ABOVE_FLOOR, LOG_FLOOR
from bench.scoring.statistics.intervals import WITHIN
from bench.scoring.statistics.student import NONE, Interval

FEWEST_RUNS = 5
"""Runs of a behaviour below which resampling them says too little."""
OVER = "new runs of these behaviours"


def area(sizes: Sequence[float], values: Float[np.ndarray, "*any size"]) -> Float[np.ndarray, "*any"]:
    """The mean of values over log size, by trapezoids, in the values' unit; NaN if one is.

    Args:
        sizes: of the circuits, above 0, ascending, at least two.
        values: at each size.
    """
    x = np.log(np.asarray(sizes, float))
    found: Float[np.ndarray, "*any"] = np.asarray(np.trapezoid(values, x, axis=-1) / (x[-1] - x[0]))
    return found


def progress(
    y: Float[np.ndarray, "*any size"], y_random: Float[np.ndarray, "*any size"]
) -> Float[np.ndarray, "*any size"]:
    """(y_random - y) / (y_random - log 0.01): the share covered of the way from random circuits to the floor.

    1 is the floor, 0 no better than random, below 0 worse; never clipped. No other method's entry moves it.
    NaN if random circuits are at the floor themselves.

    Args:
        y: log_gap of the method.
        y_random: of random connected circuits of the same sizes.
    """
    room = y_random - LOG_FLOOR
    found: Float[np.ndarray, "*any size"] = (y_random - y) / np.where(y_random > ABOVE_FLOOR, room, np.nan)
    return found


def interquartile_mean(scores: Float[np.ndarray, "*any run behaviour"]) -> Float[np.ndarray, "*any"]:
    """The mean of the middle half of all runs of all behaviours; NaN if one is.

    Exactly a half: runs at its ends count in part. scipy's `trim_mean`, as in rliable, rounds to whole runs,
    so that five runs of three behaviours would be weighted differently from the four drawn for an interval.

    Args:
        scores: of one method.
    """
    ordered = np.sort(scores.reshape(*scores.shape[:-2], -1), axis=-1)  # NaN come last
    n = ordered.shape[-1]
    place = np.arange(n)
    inside = np.clip(np.minimum(place + 1, 0.75 * n) - np.maximum(place, 0.25 * n), 0, None)
    mean = (ordered * inside).sum(-1) / inside.sum()
    found: Float[np.ndarray, "*any"] = np.where(np.isnan(ordered[..., -1]), NONE, mean)
    return found


def beats(
    a: Float[np.ndarray, "*any run behaviour"], b: Float[np.ndarray, "*any other behaviour"]
) -> Float[np.ndarray, "*any"]:
    """P(a beats b): the share of pairs of runs in which a is higher, ties counting half, averaged over
    behaviours.

    Args:
        a: scores of one method.
        b: of the other.
    """
    difference = a[..., :, None, :] - b[..., None, :, :]
    found: Float[np.ndarray, "*any"] = np.asarray((0.5 + 0.5 * np.sign(difference)).mean((-3, -2, -1)))
    return found


def interval(
    statistic: Callable[..., np.ndarray],
    *scores: Float[np.ndarray, "_ behaviour"],
    draws: int = 2000,
    seed: int = 0,
) -> Interval:
    """A statistic's interval over new runs of the same behaviours: stratified bootstrap.

    One run fewer than a behaviour has is drawn; as many would vary too little, with five by a fifth of the
    variance (Rao and Wu 1988, Journal of the American Statistical Association 83). Ends are those of
    `WITHIN`. The interquartile mean of three behaviours far apart is that of one behaviour's few runs, and
    its interval is too short; if a is ahead in every pair of runs, P is 1 at both ends.

    Args:
        statistic: of the scores of one method or several, each with a leading axis of draws.
        scores: of each method that the statistic takes, drawn independently.
        draws: number of draws.
        seed: of the draws.
    """
    if reason := _refusal(scores):
        return Interval(NONE, NONE, OVER, reason)
    rng = np.random.default_rng(seed)
    return _ends(statistic(*(_redrawn(each, draws, rng) for each in scores)))


def ranks(
    scores: Float[np.ndarray, "method run behaviour"], draws: int = 2000, seed: int = 0
) -> list[Interval]:
    """The interval of each method's rank by interquartile mean; 1 is best, ties share their mean rank.

    Args:
        scores: higher is better.
        draws: number of draws.
        seed: of the draws.
    """
    from scipy.stats import rankdata

    if reason := _refusal(scores):
        return [Interval(NONE, NONE, OVER, reason)] * len(scores)
    rng = np.random.default_rng(seed)
    means = np.stack([interquartile_mean(_redrawn(each, draws, rng)) for each in scores])
    return [_ends(of_method) for of_method in rankdata(-means, axis=0)]


def _refusal(scores: Sequence[np.ndarray] | np.ndarray) -> str:
    runs = min(len(each) for each in scores)
    if runs < FEWEST_RUNS:
        return f"at least {FEWEST_RUNS} runs of a behaviour are needed, not {runs}"
    return "" if all(np.isfinite(each).all() for each in scores) else "unscored"


def _redrawn(
    scores: Float[np.ndarray, "run behaviour"], draws: int, rng: np.random.Generator
) -> Float[np.ndarray, "draw fewer behaviour"]:
    runs, behaviours = scores.shape
    chosen = rng.integers(0, runs, (draws, runs - 1, behaviours))
    found: Float[np.ndarray, "draw fewer behaviour"] = scores[chosen, np.arange(behaviours)]
    return found


def _ends(drawn: Float[np.ndarray, " draw"]) -> Interval:
    low, high = np.quantile(drawn, [(1 - WITHIN) / 2, (1 + WITHIN) / 2])
    return Interval(float(low), float(high), OVER)
