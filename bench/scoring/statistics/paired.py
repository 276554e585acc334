"""Two methods compared: which is ahead, whether they are equal, and which cells can tell."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float

from bench.scoring.statistics.gaps import ABOVE_FLOOR
from bench.scoring.statistics.student import Mean, over_seeds, over_templates

SAME_FACTOR = 1.25
"""Two methods are equal if neither's share of the empty circuit's KL is this times the other's or more."""
LEVEL = 0.05
SEEDS_TO_TEST = 5
"""Data seeds below which a test is about the seeds at hand alone."""
Verdict = Literal["a ahead", "b ahead", "equal", "undecided", "all the same"]


def paired(
    a: Float[np.ndarray, "seed template"], b: Float[np.ndarray, "seed template"], fewest_prompts: int
) -> Mean:
    """The mean of y_a - y_b over data seeds and templates: below 0 where a is ahead; exp of it is a ratio.

    Over new data seeds and new templates, as `over_seeds`, from five data seeds on. Below that it is
    Student's t over templates, on means over the seeds at hand; `over` says so. A template with both at the
    floor is a tie, a difference of 0.

    Args:
        a: log_gap of one method, or its area over sizes, by data seed and template.
        b: of the other, on the same seeds and templates.
        fewest_prompts: number of prompts of the smallest template.
    """
    difference = a - b
    seeds = len(difference)
    if seeds >= SEEDS_TO_TEST:
        return over_seeds(difference, fewest_prompts)
    at_hand = "this data seed" if seeds == 1 else f"these {seeds} data seeds"
    return over_templates(difference.mean(0), fewest_prompts, f"new templates, {at_hand}")


def equivalence(difference: Mean) -> float:
    """p of "one is ahead by `SAME_FACTOR` or more": two one-sided tests on the difference's standard error.

    Schuirmann 1987, Journal of Pharmacokinetics and Biopharmaceutics 15. NaN where `Mean.p` is. It is not
    adjusted for the number of pairs.

    Args:
        difference: of logs, of two methods.
    """
    within = math.log(SAME_FACTOR)
    return max(difference.p_above(-within), difference.p_below(within))


def flip_rate(by_seed: Float[np.ndarray, " seed"]) -> float:
    """The share of all pairs of data seeds in which a difference has opposite signs; NaN for one seed.

    Args:
        by_seed: the mean difference of each seed; a tie of 0 never flips.
    """
    seeds = len(by_seed)
    ahead, behind = int((by_seed < 0).sum()), int((by_seed > 0).sum())
    return ahead * behind / math.comb(seeds, 2) if seeds > 1 else math.nan


def holm(p: Float[np.ndarray, " test"]) -> Float[np.ndarray, " test"]:
    """Adjusted p of a family of tests (Holm 1979, Scandinavian Journal of Statistics 6), in the order given.

    A test that could not be made stays NaN and counts as one that found nothing: the family is fixed before
    any result is seen.

    Args:
        p: of each test.
    """
    made = np.where(np.isnan(p), 1.0, p)
    order = np.argsort(made, kind="stable")
    steps = np.maximum.accumulate(made[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(steps, 1.0)
    adjusted[np.isnan(p)] = np.nan
    return adjusted


def verdict(difference: Mean, adjusted: float, ranks: bool = True) -> Verdict:
    """The result in words, as seen from method a. Two that do not differ in any template or seed are equal.

    Args:
        difference: a's y minus b's.
        adjusted: its p after `holm`.
        ranks: whether the cell does (`cell_ranks`); if not, neither ahead nor equal has a meaning.
    """
    if not ranks:
        return "all the same"
    if adjusted < LEVEL:
        return "a ahead" if difference.value < 0 else "b ahead"
    never_differ = difference.value == difference.standard_error == 0
    return "equal" if never_differ or equivalence(difference) < LEVEL else "undecided"


def cell_ranks(
    log_gap: Float[np.ndarray, " method"],
    standard_error: Float[np.ndarray, " method"],
    null: Bool[np.ndarray, " method"],
) -> bool:
    """Whether two methods that are not nulls are above the floor by two standard errors.

    Otherwise all are the same in this cell. What is unscored is not above it.

    Args:
        log_gap: of each method in the cell.
        standard_error: of each.
        null: whether it is full, empty, random or rewired circuits.
    """
    above = log_gap - 2 * standard_error > ABOVE_FLOOR
    return int((above & ~null).sum()) >= 2
