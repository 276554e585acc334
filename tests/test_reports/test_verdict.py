"""Verdicts on claims: by hand, against scipy's own tests, and in simulations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from reports.claims.claim import Claim
from reports.claims.estimate import Estimate, deviation, difference, log_ratio, mean_of, slope
from reports.claims.verdict import (
    Comparison,
    at_least,
    compare,
    compare_deviation,
    compare_share,
    is_pretrained,
    judge,
)

SHOWN, REFUTED, OPEN = Comparison(0.01, 0.99), Comparison(0.99, 0.01), Comparison(0.4, 0.6)
UNTESTED, IMPOSSIBLE = Comparison(), Comparison(impossible="too few edges")


@pytest.mark.parametrize(
    ("comparisons", "verdict"),
    [
        ([SHOWN, SHOWN], "holds"),
        ([SHOWN, OPEN], "undecided"),
        ([SHOWN, UNTESTED], "undecided"),
        ([SHOWN, REFUTED], "contradicted"),
        ([SHOWN] * 5 + [REFUTED], "undecided"),  # Holm: 6 x 0.01
        ([UNTESTED] * 5 + [REFUTED], "undecided"),  # what was not tested was asked all the same
        ([SHOWN, IMPOSSIBLE], "not attainable"),
        ([REFUTED, IMPOSSIBLE], "contradicted"),
        ([IMPOSSIBLE], "not attainable"),
        ([], "undecided"),
    ],
)
def test_a_claim_that_says_several_things(comparisons: Sequence[Comparison], verdict: str) -> None:
    assert judge(comparisons) == verdict
    assert judge(comparisons[::-1]) == verdict


def test_a_claim_that_has_to_be_right_half_of_the_time() -> None:
    assert judge([SHOWN, SHOWN, REFUTED], needed=2) == "holds"  # 2 x 0.01
    assert judge([SHOWN, REFUTED, REFUTED], needed=2) == "contradicted"
    assert judge([SHOWN, OPEN, REFUTED], needed=2) == "undecided"
    assert judge([SHOWN, SHOWN, IMPOSSIBLE], needed=2) == "holds"
    assert judge([SHOWN, IMPOSSIBLE, IMPOSSIBLE], needed=2) == "not attainable"


def test_so_many_of_several() -> None:
    p = [0.2, 0.01, 0.03]
    assert at_least(3, p) == 0.2
    assert at_least(2, p) == pytest.approx(2 * 0.03)
    assert at_least(1, p) == pytest.approx(3 * 0.01)
    assert at_least(1, [*p, math.nan]) == pytest.approx(4 * 0.01)
    assert at_least(2, [0.9, 0.9, 0.9]) == 1
    assert math.isnan(at_least(4, p))
    assert math.isnan(at_least(0, p))


def test_a_mean_against_a_bound_is_students_test() -> None:
    values = [0.2, 0.5, 0.3, 0.45]
    below = compare(mean_of(values), 0.5, "below", "{}")
    above = compare(mean_of(values), 0.5, "above", "{}")
    assert below.p_for == pytest.approx(stats.ttest_1samp(values, 0.5, alternative="less").pvalue)
    assert below.p_against == pytest.approx(stats.ttest_1samp(values, 0.5, alternative="greater").pvalue)
    assert (above.p_for, above.p_against) == pytest.approx((below.p_against, below.p_for))
    assert mean_of(values).interval() == pytest.approx(
        stats.t.interval(0.95, 3, loc=np.mean(values), scale=stats.sem(values))
    )


@pytest.mark.parametrize("values", [[], [0.2], [0.2, math.nan], [0.2, math.inf], [0.3, 0.3, 0.3]])
def test_what_has_no_standard_error_has_no_p(values: list[float]) -> None:
    """0.3 thrice, whose deviation floats do not take for 0."""
    assert math.isnan(compare(mean_of(values), 0.5, "below", "{}").p_for)


def test_a_ratio_is_paired_by_seed() -> None:
    ours, theirs = pd.Series({0: 10.0, 1: 30.0, 2: 20.0}), pd.Series({2: 45.0, 1: 50.0, 0: 20.0})
    logs = [math.log(0.5), math.log(0.6), math.log(20 / 45)]
    found, by_hand = log_ratio(ours, theirs), mean_of(logs)
    assert (found.value, found.error) == pytest.approx((by_hand.value, by_hand.error))
    for unscored in (math.nan, math.inf, 0.0):
        four = pd.concat([ours, pd.Series({3: unscored})])
        assert math.isnan(log_ratio(four, pd.concat([theirs, pd.Series({3: 9.0})])).value)
    assert math.isnan(log_ratio(ours, theirs[:2]).value)  # a seed is missing


def test_a_difference_is_welchs() -> None:
    one, other = [1.0, 2.0, 4.0], [5.0, 5.5, 9.0, 7.0]
    beside = stats.ttest_ind(one, other, equal_var=False, alternative="less")
    found = difference(one, other)
    assert found.freedom == pytest.approx(beside.df)
    assert compare(found, 0.0, "below", "{}").p_for == pytest.approx(beside.pvalue)
    assert math.isnan(compare(difference([1.0], other), 0.0, "below", "{}").p_for)


def test_a_slope_is_that_of_least_squares() -> None:
    x, y = pd.Series([0.0, 1.0, 2.0, 3.0]), pd.Series([0.1, 0.9, 2.2, 2.8])
    design = np.stack([np.ones(4), x], 1)
    fitted, residual, *_ = np.linalg.lstsq(design, y, rcond=None)
    error = math.sqrt(residual[0] / 2 * np.linalg.inv(design.T @ design)[1, 1])
    found = slope(x, y)
    assert (found.value, found.error, found.freedom) == pytest.approx((fitted[1], error, 2))
    assert slope(x[:2], y[:2]).value == pytest.approx(0.8)
    assert math.isnan(slope(x[:2], y[:2]).error)
    assert math.isnan(slope(x * 0, y).value)
    assert math.isnan(slope(x, y.where(y < 2)).value)


def test_a_deviation_against_a_bound_is_chi_square() -> None:
    """Twelve values, the bound where the tables have 4.575 and 19.675 for eleven degrees of freedom."""
    values = pd.Series(np.linspace(-1, 1, 12))
    sd = float(values.std())
    low = compare_deviation(values, sd * math.sqrt(11 / 4.575))
    high = compare_deviation(values, sd * math.sqrt(11 / 19.675))
    assert low.p_for == pytest.approx(0.05, abs=1e-4)
    assert high.p_against == pytest.approx(0.05, abs=1e-4)
    assert deviation(values) == pytest.approx(
        (sd, sd * math.sqrt(11 / 21.920), sd * math.sqrt(11 / 3.816)), rel=1e-3
    )
    assert math.isnan(compare_deviation(values[:1], 0.1).p_for)
    assert math.isnan(compare_deviation(values.where(values < 1), 0.1).p_for)


@pytest.mark.parametrize(("side", "end"), [("below", 0.0), ("above", 1.0)])
def test_what_no_value_is_far_enough_to_show(side: Any, end: float) -> None:
    """The same mean, once sure and once rough."""
    bound = 0.5
    sure, rough = (compare(Estimate(0.5, error, 4), bound, side, "{}", end=end) for error in (0.1, 0.2))
    assert abs(sure.seen - bound) == pytest.approx(0.1 * (2.1318 + 0.9410), rel=1e-3)
    assert rough.seen == math.inf
    assert rough.p_for == 0.5
    assert (
        Claim("C", "", "", "", [sure, rough]).seen().endswith("1 of 2 comparisons too imprecise to show it")
    )


def test_a_share_of_runs_is_binomial() -> None:
    assert compare_share(8, 8, 0.5).p_for == pytest.approx(0.5**8)
    assert compare_share(0, 8, 0.5).p_against == pytest.approx(0.5**8)
    assert compare_share(8, 8, 0.5).p_against == 1
    assert compare_share(7, 8, 0.5).p_for == pytest.approx(9 / 256)
    seven_or_eight = stats.binom.sf(6, 8, compare_share(3, 8, 0.5).seen)
    assert seven_or_eight == pytest.approx(0.8)  # six would not do
    assert math.isnan(compare_share(4, 4, 0.5).seen)  # even all of four may be chance


def test_what_could_have_been_seen_is_found_four_times_of_five() -> None:
    """At the bound itself, one time of twenty."""
    rng = np.random.default_rng(0)
    freedom, error = 9, 1 / math.sqrt(10)
    seen = compare(Estimate(0.0, error, freedom), 3.0, "below", "{}").seen
    for truth, share in ((seen, 0.8), (3.0, 0.05)):
        tests = stats.ttest_1samp(rng.normal(truth, 1, (4000, 10)), 3.0, axis=1, alternative="less")
        assert np.mean(tests.pvalue < 0.05) == pytest.approx(share, abs=0.03)
    values = pd.Series(rng.normal(size=12))
    seen = compare_deviation(values, 0.1).seen
    for truth, share in ((seen, 0.8), (0.1, 0.05)):
        drawn = rng.normal(0, truth, (1000, 12))
        found = [compare_deviation(pd.Series(row), 0.1).p_for < 0.05 for row in drawn]
        assert np.mean(found) == pytest.approx(share, abs=0.04)


def test_a_false_claim_of_four_things_holds_one_time_of_twenty_at_most() -> None:
    """Three are on the claim's side, one is at its bound; with all at theirs it is contradicted as rarely."""
    rng = np.random.default_rng(1)

    def found(truths: Sequence[float]) -> str:
        drawn = rng.normal(truths, 1, (8, len(truths))).T
        return judge([compare(mean_of(values), 0.0, "below", "{}") for values in drawn])

    assert np.mean([found([-3, -3, -3, 0]) == "holds" for _ in range(600)]) == pytest.approx(0.05, abs=0.025)
    assert np.mean([found([0] * 4) == "contradicted" for _ in range(600)]) < 0.075


@pytest.mark.parametrize(
    ("model", "counts"),
    [
        ("embedded", False),
        ("embedded:3", False),
        ("tracr:reverse", False),
        ("smollm2-135m", True),
        ("openai-community/gpt2", True),
        ("embedded-large", True),
    ],
)
def test_models_that_were_trained_for_the_benchmark_decide_nothing(model: str, counts: bool) -> None:
    assert is_pretrained(pd.DataFrame({"model": [model]})).tolist() == [counts]
    claim = Claim("C1", "", "", "", [SHOWN])
    assert claim.verdict(pretrained=counts) == ("holds" if counts else "not tested")
    on_programs: Any = {"on_programs": True}
    assert Claim("C3", "", "", "", [SHOWN], **on_programs).verdict(pretrained=counts) == "holds"


def test_what_could_have_been_seen_in_words() -> None:
    ratios = [Comparison(0.1, 0.9, seen, "a ratio of {} or less") for seen in (0.41, 0.352, math.nan)]
    slopes = [Comparison(0.1, 0.9, 0.0625, "a slope of {} or less")]
    claim = Claim("C", "", "", "", [*ratios, UNTESTED, *slopes, IMPOSSIBLE])
    assert claim.seen() == (
        "a ratio of 0.352 to 0.410 or less; a slope of 0.0625 or less; 1 of 6 comparisons without a test; "
        "too few edges"
    )
    assert Claim("C", "", "", "", [SHOWN]).seen() == ""
