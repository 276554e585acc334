"""Statistics by hand on small numbers, against scipy, and against slow references."""

from __future__ import annotations

import math
import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from bench.scoring.statistics import behaviours, gaps, intervals, paired, variance
from bench.scoring.statistics.student import Mean, over_seeds, over_templates

SETTINGS = settings(max_examples=30, deadline=None)
SEEDS = st.integers(0, 2**32 - 1)


def long_tailed(seed: int, answers: int = 48, rows: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """kl of some rows and of the empty circuit, on six templates in no order."""
    rng = np.random.default_rng(seed)
    template = rng.permutation(np.arange(answers) % 6)
    return np.exp(rng.normal(size=(answers, rows))), np.exp(2 + rng.normal(size=(answers, 1))), template


def test_log_gap_by_hand() -> None:
    """Templates weigh alike; at the floor there is nothing more to win."""
    template = np.array([7, 7, 2])
    kl, empty = np.array([[1.0, 0.0], [3.0, 0.0], [1.0, 1.0]]), np.array([[4.0], [4.0], [1.0]])
    expected = [[0.0, 0.0], [math.log(0.5), math.log(0.01)]]
    assert gaps.template_log_gaps(kl, empty, template) == pytest.approx(np.array(expected))
    assert gaps.recovered(kl, empty) == pytest.approx([4 / 9, 8 / 9])
    assert np.isnan(gaps.recovered(kl, 0 * empty)).all()
    assert np.isnan(gaps.template_log_gaps(kl, empty * [[1], [1], [0]], template).mean(0)).all(), (
        "no empty circuit to be beside"
    )


def test_new_templates_by_hand() -> None:
    values = np.arange(10.0)
    mean = over_templates(values, fewest_prompts=8)
    interval = mean.interval()
    assert (mean.value, mean.freedom, mean.over, interval.over) == (4.5, 9, "new templates", "new templates")
    assert mean.standard_error == pytest.approx((55 / 6 / 10) ** 0.5)
    assert interval.high == pytest.approx(4.5 + 2.262157 * (55 / 6 / 10) ** 0.5)
    theirs = stats.ttest_1samp(values, 0)
    ends = theirs.confidence_interval()
    assert (interval.low, interval.high) == pytest.approx((ends.low, ends.high))
    assert mean.p() == pytest.approx(theirs.pvalue)
    assert mean.p_above(3.0) == pytest.approx(stats.ttest_1samp(values, 3, alternative="greater").pvalue)
    assert mean.p_below(3.0) == pytest.approx(stats.ttest_1samp(values, 3, alternative="less").pvalue)


@pytest.mark.parametrize(
    ("values", "prompts", "reason"),
    [
        (np.arange(9.0), 8, "at least 10 templates are needed, not 9"),
        (np.arange(0.0), 8, "at least 10 templates are needed, not 0"),
        (np.arange(1.0), 8, "at least 10 templates are needed, not 1"),
        (np.arange(10.0), 7, "at least 8 prompts per template are needed, not 7"),
        (np.array([*range(9), np.nan]), 8, "unscored"),
        (np.array([*range(9), np.inf]), 8, "unscored"),
    ],
)
@pytest.mark.filterwarnings("ignore:invalid value")
def test_not_to_be_had(values: np.ndarray, prompts: int, reason: str) -> None:
    mean = over_templates(values, prompts)
    interval = mean.interval()
    assert mean.reason == interval.reason == reason
    assert np.isnan([interval.low, interval.high, mean.p(), mean.p_above(0.0), mean.p_below(0.0)]).all()


def test_a_standard_error_of_0_gives_no_p() -> None:
    """Its interval is a point. Sums that round differently do not make a standard error."""
    for value in (0.0, 0.1, math.log(0.01)):
        mean = over_templates(np.full(11, value), 8)
        assert mean.reason == "a standard error of 0"
        assert np.isnan([mean.p(), mean.p_above(0.0), mean.p_below(0.0), paired.equivalence(mean)]).all()
        interval = mean.interval()
        assert interval.low == interval.high == mean.value
        assert not interval.reason
    assert over_seeds(np.full((5, 11), 0.1), 8).reason == "a standard error of 0"


def slow_over_seeds(values: np.ndarray) -> tuple[float, float, float]:
    """The mean, its variance and Satterthwaite's degrees of freedom, from mean squares of a two-way table."""
    d, g = values.shape
    m = values.mean()
    square_d = g * sum((values[i].mean() - m) ** 2 for i in range(d)) / (d - 1)
    square_g = d * sum((values[:, j].mean() - m) ** 2 for j in range(g)) / (g - 1)
    rest = 0.0
    for i in range(d):
        for j in range(g):
            rest += (values[i, j] - values[i].mean() - values[:, j].mean() + m) ** 2
    square = rest / ((d - 1) * (g - 1))
    whole = max(square_d + square_g - square, square_d, square_g)
    spread = square_d**2 / (d - 1) + square_g**2 / (g - 1) + square**2 / ((d - 1) * (g - 1))
    return float(m), whole / (d * g), whole**2 / spread


@given(SEEDS, st.integers(5, 8), st.integers(10, 14), st.sampled_from([0.0, 1.0]))
@SETTINGS
def test_over_seeds_against_mean_squares(seed: int, d: int, g: int, effects: float) -> None:
    rng = np.random.default_rng(seed)
    shifts = effects * rng.normal(size=(d, 1)) + effects * rng.normal(size=g)
    values = shifts + rng.normal(size=(d, g))
    mean = over_seeds(values, 8)
    assert (mean.value, mean.standard_error**2, mean.freedom) == pytest.approx(slow_over_seeds(values))
    assert over_seeds(values[::-1, ::-1], 8).p() == pytest.approx(mean.p()), "whatever their order"


def test_paired() -> None:
    """Over seeds from five on; below that the seeds at hand; ties at the floor are differences of 0."""
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 6, 12))
    assert paired.paired(a, b, 8) == over_seeds(a - b, 8)
    three = paired.paired(a[:3], b[:3], 8)
    assert three.over == "new templates, these 3 data seeds"
    assert three.p() == pytest.approx(stats.ttest_rel(a[:3].mean(0), b[:3].mean(0)).pvalue)
    one = paired.paired(a[:1], b[:1], 8)
    assert one.over == "new templates, this data seed"
    assert one.p() == pytest.approx(stats.ttest_rel(a[0], b[0]).pvalue)
    swapped = paired.paired(b, a, 8)
    assert swapped.value == -paired.paired(a, b, 8).value
    assert swapped.p() == paired.paired(a, b, 8).p()
    floor = np.full((5, 12), gaps.LOG_FLOOR)
    tie = paired.paired(floor, floor, 8)
    assert (tie.value, tie.standard_error, tie.reason) == (0, 0, "a standard error of 0")
    assert paired.verdict(tie, tie.p()) == "equal", "both at the floor in all templates"
    assert paired.verdict(replace(tie, value=0.1), tie.p()) == "undecided"
    assert paired.paired(a[:, :9], b[:, :9], 8).reason == "at least 10 templates are needed, not 9"


def test_holm_by_hand() -> None:
    """Holm's own steps; what is not to be had counts and is not told."""
    assert paired.holm(np.array([0.01, 0.04, 0.03, 0.005])) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert paired.holm(np.array([0.5, 0.6])) == pytest.approx([1, 1])
    missing = paired.holm(np.array([0.01, np.nan, 0.02]))
    assert missing[[0, 2]] == pytest.approx([0.03, 0.04])
    assert np.isnan(missing[1])
    assert paired.holm(np.array([])).size == 0


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
@SETTINGS
def test_holm_against_steps(p: list[float]) -> None:
    """The smallest is held to level / m, the next to level / (m - 1), until the first that is not below."""
    adjusted = paired.holm(np.array(p))
    for level in (0.01, 0.05, 0.3):
        rejected = set()
        for step, test in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
            if p[test] * (len(p) - step) >= level:
                break
            rejected.add(test)
        assert {i for i, value in enumerate(adjusted) if value < level} == rejected
    assert paired.holm(np.array(p[::-1])) == pytest.approx(adjusted[::-1])


def test_verdicts() -> None:
    def about(value: float, error: float) -> tuple[str, str]:
        mean = Mean(value, error, 20.0, "new data seeds and templates")
        return paired.verdict(mean, mean.p()), paired.verdict(mean, mean.p(), ranks=False)

    assert about(-1.0, 0.1) == ("a ahead", "all the same")
    assert about(1.0, 0.1) == ("b ahead", "all the same")
    assert about(0.02, 0.05) == ("equal", "all the same")
    assert about(0.1, 0.2) == ("undecided", "all the same")
    mean = Mean(0.1, 0.05, 7.0, "")
    low, high = stats.t.sf((0.1 + np.log(1.25)) / 0.05, 7), stats.t.cdf((0.1 - np.log(1.25)) / 0.05, 7)
    assert paired.equivalence(mean) == pytest.approx(max(low, high))


def test_cells() -> None:
    """Two methods that are no nulls, two standard errors above the floor."""
    floor = gaps.LOG_FLOOR
    y, error = np.array([floor + 1, floor + 1, floor]), np.array([0.4, 0.4, 0.0])
    no, third = np.array([False, False, False]), np.array([True, False, False])
    assert paired.cell_ranks(y, error, no)
    assert not paired.cell_ranks(y, error, third)
    assert not paired.cell_ranks(y, error * [1, 1.5, 1], no)
    assert not paired.cell_ranks(y, np.array([np.nan, 0.4, 0.4]), no)


def test_variance_by_hand() -> None:
    """Two models, two data seeds, two method seeds and two templates of two prompts; nothing interacts."""
    parts = [
        np.array([0.0, 4.0]),
        np.array([0.0, 2.0]),
        np.array([0.0, 1.0]),
        np.array([0.0, 1.0, 10.0, 11.0]),
    ]
    values = sum(np.expand_dims(part, [i for i in range(4) if i != axis]) for axis, part in enumerate(parts))
    found = variance.components(np.asarray(values), np.array([0, 0, 1, 1]))
    within = 0.5
    expected = {"model": 8, "data": 2, "method": 0.5, "template": (100 - within) / 2, "prompt": within}
    assert found == pytest.approx({**expected, "rest_of_run": 0, "rest_of_prompt": 0}, abs=1e-12)


def test_variance_that_cannot_be_seen() -> None:
    """One level says nothing of its factor; an unscored value says nothing of any."""
    values = np.random.default_rng(0).normal(size=(1, 3, 3, 40))
    found = variance.components(values, np.arange(40) % 4)
    assert [name for name, value in found.items() if np.isnan(value)] == ["model"]
    values[0, 0, 0, 0] = np.nan
    assert np.isnan(list(variance.components(values, np.arange(40) % 4).values())).all()


def test_progress_and_area() -> None:
    """1 at the floor, 0 at random, and what lies between linear in log size."""
    floor, random = gaps.LOG_FLOOR, np.array([-1.0, -2.0, -3.0])
    assert behaviours.progress(random, random) == pytest.approx([0, 0, 0])
    assert behaviours.progress(np.full(3, floor), random) == pytest.approx([1, 1, 1])
    assert (behaviours.progress(np.zeros(3), random) < 0).all()
    rounded = gaps.template_log_gaps(np.zeros((240, 3)), np.ones((240, 1)), np.arange(240) // 10).mean(0)
    for at_floor in (np.full(3, floor), rounded, rounded + 1e-15):
        assert np.isnan(behaviours.progress(random, at_floor)).all()
    assert behaviours.area([4.0, 8.0, 16.0], np.array([[0.0, 1.0, 2.0], [3.0, 3.0, 3.0]])) == pytest.approx(
        [1, 3]
    )
    assert behaviours.area([1.0, 10.0, 1000.0], np.array([0.0, 1.0, 1.0])) == pytest.approx((0.5 + 2) / 3)


def slow_of_kl(kl: np.ndarray, empty: np.ndarray, template: np.ndarray) -> dict[str, tuple[float, ...]]:
    """One row, draw by draw: estimate, low and high of each statistic, from the same draws."""
    strata = [np.flatnonzero(template == number) for number in np.unique(template)]
    rng = np.random.default_rng(0)
    counts = [rng.multinomial(len(s), np.full(len(s), 1 / len(s)), size=300) for s in strata]

    def statistics(drawn: list[np.ndarray]) -> list[tuple[float, float]]:
        whole_kl, whole_empty = (x[np.concatenate(drawn)].mean() for x in (kl, empty))
        values, errors = [], np.zeros((3, len(drawn)))
        for i, places in enumerate(drawn):
            x, y, n = kl[places], empty[places], len(places)
            values.append(np.log(max(x.mean() / y.mean(), 0.01)))
            weight = n / len(kl)
            errors[0, i] = weight**2 * x.var(ddof=1) / n / whole_kl**2
            errors[1, i] = weight**2 * (x / whole_kl - y / whole_empty).var(ddof=1) / n
            errors[2, i] = (x / x.mean() - y / y.mean()).var(ddof=1) / n / len(drawn) ** 2
        estimates = [np.log(whole_kl), np.log(whole_kl / whole_empty), np.mean(values)]
        return list(zip(map(float, estimates), map(float, errors.sum(1) ** 0.5), strict=True))

    seen = statistics(strata)
    redrawn = [
        statistics([np.repeat(s, c[i]) for s, c in zip(strata, counts, strict=True)]) for i in range(300)
    ]
    found = {}
    for k, name in enumerate(("kl", "recovered", "log_gap")):
        values, errors = np.array(redrawn)[:, k].T
        centre = values.mean() if name == "log_gap" else seen[k][0]
        top, bottom = np.quantile((values - centre) / errors, [0.985, 0.015])
        ends = [seen[k][0], seen[k][0] - top * seen[k][1], seen[k][0] - bottom * seen[k][1]]
        if name != "log_gap":
            ends = [float(np.exp(end)) for end in ends]
        found[name] = (1 - ends[0], 1 - ends[2], 1 - ends[1]) if name == "recovered" else tuple(ends)
    return found


@given(SEEDS)
@settings(max_examples=5, deadline=None)
def test_these_prompts_against_draws_one_by_one(seed: int) -> None:
    kl, empty, template = long_tailed(seed, answers=51)
    found = intervals.of_kl(kl, empty, template, draws=300)
    for name, expected in slow_of_kl(kl[:, 1], empty[:, 0], template).items():
        of = found[name]
        assert (of.estimate[1], of.low[1], of.high[1]) == pytest.approx(expected, rel=1e-9)
    assert found["recovered"].estimate == pytest.approx(gaps.recovered(kl, empty))
    assert found["log_gap"].estimate == pytest.approx(gaps.template_log_gaps(kl, empty, template).mean(0))


def test_templates_on_which_the_empty_circuit_is_the_model_have_no_log_gap() -> None:
    """Of the others it is what it is without them, with the same interval; of none it is unscored."""
    kl, empty, template = long_tailed(0)
    idle = np.full((16, 1), 7)
    more = np.vstack([kl, np.zeros((16, 3))]), np.vstack([empty, 0 * idle]), np.append(template, idle)
    without, found = intervals.of_kl(kl, empty, template)["log_gap"], intervals.of_kl(*more)["log_gap"]
    for name in ("estimate", "standard_error", "low", "high"):
        assert getattr(found, name) == pytest.approx(getattr(without, name)), name
    none = intervals.of_kl(kl, 0 * empty, template)
    assert np.isnan([none["log_gap"].estimate, none["recovered"].estimate]).all()


def test_these_prompts_by_hand() -> None:
    """Standard errors of two templates of eight, one of which does not vary."""
    template = np.repeat([0, 1], 8)
    kl = np.array([1.0, 3.0] * 4 + [2.0] * 8)[:, None]
    one = np.ones_like(kl)
    found = intervals.of_ratio(kl, one, template)
    assert found.estimate == pytest.approx([2])
    assert found.standard_error == pytest.approx([(0.25 * 8 / 7 / 8) ** 0.5])
    assert intervals.of_kl(kl, one, template)["kl"].standard_error == pytest.approx(found.standard_error / 2)
    twice = intervals.of_ratio(2 * kl, kl, template)
    for values in (twice.estimate, twice.low, twice.high):
        assert values == pytest.approx([2])
    assert twice.below_one().low == pytest.approx([-1])


@given(SEEDS, st.floats(0.01, 100))
@SETTINGS
def test_these_prompts_do_not_hang_on_units_or_company(seed: int, factor: float) -> None:
    """A row has the same interval alone and among others, and in other units; rows of one template vector."""
    kl, empty, template = long_tailed(seed, rows=40)
    together = intervals.of_kl(kl, empty, template, draws=100)
    for row in (0, 39):
        alone = intervals.of_kl(kl[:, [row]], empty, template, draws=100)
        for name, of in alone.items():
            assert (of.low[0], of.high[0]) == pytest.approx(
                (together[name].low[row], together[name].high[row])
            )
    scaled = intervals.of_kl(factor * kl, factor * empty, template, draws=100)
    assert scaled["kl"].low == pytest.approx(factor * together["kl"].low)
    for name in ("recovered", "log_gap"):
        assert scaled[name].low == pytest.approx(together[name].low)
    swapped = intervals.of_kl(kl[:, ::-1], np.broadcast_to(empty, kl.shape), template + 5, draws=100)
    assert swapped["recovered"].high[::-1] == pytest.approx(together["recovered"].high)


def test_what_is_unscored_stays_so() -> None:
    """NaN and inf in a row, nothing in its neighbours; the full model's ends are its own value."""
    kl, empty, template = long_tailed(0, rows=5)
    kl[0, 0], kl[1, 1], kl[:, 2] = np.nan, np.inf, 0
    for name, of in intervals.of_kl(kl, empty, template).items():
        assert np.isnan([of.low, of.high])[:, :2].all()
        assert np.isfinite([of.low, of.high])[:, 2:].all()
        best = {"kl": 0, "recovered": 1, "log_gap": gaps.LOG_FLOOR}[name]
        assert of.low[2] == of.estimate[2] == of.high[2] == pytest.approx(best)
        assert ((of.low < of.estimate) & (of.estimate < of.high))[3:].all()
    few = intervals.of_kl(kl, empty, np.arange(48) % 7)
    assert few["kl"].reason == "at least 8 prompts per template are needed, not 6"
    assert np.isnan([few["kl"].low, few["kl"].high, few["kl"].standard_error]).all()
    assert np.isfinite(few["kl"].estimate[2:]).all()


def test_near_the_floor_there_is_an_interval() -> None:
    """One template just above the floor, the others well below: many draws have all of them at it."""
    kl, empty, template = long_tailed(0, rows=1)
    kl *= np.where(template == 0, 0.1, 0.001)[:, None]
    found = intervals.of_kl(kl, empty, template)["log_gap"]
    assert found.estimate[0] > gaps.LOG_FLOOR
    assert found.low[0] <= found.estimate[0] <= found.high[0]


def test_what_differs_by_rounding_has_an_interval_of_no_width() -> None:
    """A random circuit without an effect; some draws of it have no standard error at all."""
    rng = np.random.default_rng(0)
    template, empty = np.repeat(np.arange(24), 8), rng.lognormal(size=(192, 1))
    kl = empty * (1 + 1e-9 * rng.normal(size=(192, 1)) * (rng.random((192, 1)) < 0.02))
    for found in intervals.of_kl(kl, empty, template).values():
        assert np.isfinite(found.low[0])
        assert found.low[0] <= found.estimate[0] <= found.high[0]
    share = intervals.of_kl(kl, empty, template)["recovered"]
    assert share.low[0] == share.estimate[0] == share.high[0]


def test_interquartile_mean_and_who_beats_whom() -> None:
    scores = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0, 100.0]])
    assert behaviours.interquartile_mean(scores) == pytest.approx(4.5)
    odd = np.array([[0.0, 10.0, 20.0]])  # the middle half of three: the middle one, a quarter of either other
    assert behaviours.interquartile_mean(odd) == pytest.approx((0.25 * 0 + 10 + 0.25 * 20) / 1.5)
    assert np.isnan(behaviours.interquartile_mean(np.where(scores == 1, np.nan, scores)))
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 4, (2, 6, 3)).astype(float)
    u = [stats.mannwhitneyu(a[:, i], b[:, i]).statistic / 36 for i in range(3)]
    assert behaviours.beats(a, b) == pytest.approx(np.mean(u))
    assert behaviours.beats(a, b) + behaviours.beats(b, a) == pytest.approx(1)


def test_intervals_over_behaviours() -> None:
    """Runs move within their behaviour alone; fewer than five, or an unscored one, give no interval."""
    apart = np.repeat([[0.1, 0.5, 0.9]], 5, axis=0)
    same = behaviours.interval(behaviours.interquartile_mean, apart)
    assert same.low == same.high == pytest.approx(behaviours.interquartile_mean(apart))
    a, b = np.random.default_rng(0).normal(size=(2, 5, 3))
    found = behaviours.interval(behaviours.beats, a, b)
    assert 0 <= found.low < behaviours.beats(a, b) < found.high <= 1
    assert (
        behaviours.interval(behaviours.beats, a, b[:4]).reason
        == "at least 5 runs of a behaviour are needed, not 4"
    )
    b[0, 0] = np.nan
    assert behaviours.interval(behaviours.beats, a, b).reason == "unscored"
    assert {each.reason for each in behaviours.ranks(np.stack([a, b]))} == {"unscored"}


def test_ranks() -> None:
    noise = np.random.default_rng(0).normal(size=(4, 6, 3))
    best, *tied, last = behaviours.ranks(noise + np.array([50, 0, 0, -50])[:, None, None])
    assert (best.low, best.high, last.low, last.high) == (1, 1, 4, 4)
    assert [(each.low, each.high) for each in tied] == [(2, 3)] * 2


def test_hundreds_of_rows_take_a_moment() -> None:
    """Rows of the same templates share their draws."""
    rng = np.random.default_rng(0)
    kl, empty = np.exp(rng.normal(size=(200, 300))), np.exp(rng.normal(size=(200, 1)))
    start = time.process_time()
    intervals.of_kl(kl, empty, np.arange(200) % 24)
    assert time.process_time() - start < 4  # half a second on an idle machine
