"""How often intervals hold what they speak of, and tests find what is there; `-s` prints the figures.

KL is log-normal over prompts. What varies besides: templates (a common hardness of 0.5, a standard
deviation in nats), a method's own templates and its data seeds.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import pytest
from scipy.stats import norm

from bench.scoring.statistics import behaviours, gaps, intervals, variance
from bench.scoring.statistics.paired import equivalence, holm, paired
from bench.scoring.statistics.student import Interval, over_seeds, over_templates

pytestmark = pytest.mark.slow
GROUPS, EACH = 16, 250
"""Sets of templates, and repetitions of the prompts of each."""


def tell(what: str, share: float) -> float:
    print(f"{what}: {100 * share:.1f} %")
    return share


def templates_of(prompts: int, templates: int) -> np.ndarray:
    return np.sort(np.arange(prompts) % templates)


def kl_of(rng: np.random.Generator, level: np.ndarray, sigma: float, n: int) -> tuple[np.ndarray, np.ndarray]:
    """KL of a circuit and of the empty one, n columns of prompts whose hardness both share in part."""
    both = rng.normal(size=(2, len(level), n))
    both[1] = 0.5 * both[0] + 0.75**0.5 * both[1]
    return np.exp(level[:, None] + sigma * both[0]), np.exp(1.5 + sigma * both[1])


def these_prompts(prompts: int, templates: int, sigma: float, ratio: float) -> dict[str, float]:
    """Coverage of each interval; templates stay, prompts are drawn again."""
    rng = np.random.default_rng(0)
    template = templates_of(prompts, templates)
    found: dict[str, list[float]] = {"kl": [], "recovered": [], "log_gap": []}
    for group in range(GROUPS):
        level = (1.5 + np.log(ratio) + 0.5 * rng.normal(size=templates))[template]
        kl, empty = kl_of(rng, level, sigma, EACH)
        bootstrapped = intervals.of_kl(kl, empty, template, seed=group)
        assert not bootstrapped["kl"].reason
        mean = np.exp(level + sigma**2 / 2).mean()
        truth = {
            "kl": mean,
            "recovered": 1 - mean / np.exp(1.5 + sigma**2 / 2),
            "log_gap": gaps.template_log_gaps(*kl_of(rng, level, sigma, 4000), template).mean(),
        }
        for name, of in bootstrapped.items():
            found[name].append(float(((of.low <= truth[name]) & (truth[name] <= of.high)).mean()))
    return {
        name: tell(
            f"these prompts, {name}, {prompts} of {templates}, sigma {sigma}, ratio {ratio}",
            float(np.mean(of)),
        )
        for name, of in found.items()
    }


@pytest.mark.parametrize("templates", [pytest.param(10, marks=pytest.mark.every), 12, 24])
@pytest.mark.parametrize("sigma", [1.0, 1.5])
@pytest.mark.parametrize("ratio", [0.01, pytest.param(0.3, marks=pytest.mark.every)])
def test_these_prompts(templates: int, sigma: float, ratio: float) -> None:
    for name, covered in these_prompts(200, templates, sigma, ratio).items():
        assert 0.93 <= covered <= 0.97, name


def test_these_prompts_without_a_tail() -> None:
    """Normal scores, shares of right answers, and ratios as faithfulness is."""
    rng = np.random.default_rng(0)
    template = templates_of(200, 24)
    found: dict[str, list[float]] = {"normal": [], "share": [], "ratio": []}
    for group in range(GROUPS):
        normal, reference = rng.normal(size=(2, 200, EACH))
        share = (rng.random((200, EACH)) < 0.8).astype(float)
        ratio = intervals.of_ratio(2 + normal, 4 + reference, template, seed=group)
        one = np.ones((200, 1))
        for name, of, truth in (
            ("normal", intervals.of_ratio(normal, one, template, seed=group), 0.0),
            ("share", intervals.of_ratio(share, one, template, seed=group), 0.8),
            ("ratio", ratio, 0.5),
        ):
            found[name].append(float(((of.low <= truth) & (truth <= of.high)).mean()))
    for name, covered in found.items():
        assert 0.93 <= tell(f"these prompts, {name}, 200 of 24", float(np.mean(covered))) <= 0.97


TOO_LONG_A_TAIL = pytest.mark.xfail(
    strict=True, reason="50 prompts hold too little of a tail of sigma 1.5: the interval of kl covers 92.8 %"
)


@pytest.mark.parametrize("sigma", [1.0, pytest.param(1.5, marks=TOO_LONG_A_TAIL)])
def test_fifty_prompts_of_five_templates(sigma: float) -> None:
    for name, covered in these_prompts(50, 5, sigma, 0.3).items():
        assert 0.93 <= covered <= 0.97, name


@pytest.mark.parametrize("templates", [10, 12, 24])
def test_fifty_prompts_are_not_to_be_had(templates: int) -> None:
    template = templates_of(50, templates)
    kl, empty = kl_of(np.random.default_rng(0), np.zeros(50), 1.0, 3)
    few = int(np.bincount(template).min())
    for found in intervals.of_kl(kl, empty, template).values():
        assert found.reason == f"at least 8 prompts per template are needed, not {few}"
        assert np.isnan([found.low, found.high]).all()
        assert np.isfinite(found.estimate).all()
    assert over_templates(gaps.template_log_gaps(kl, empty, template)[:, 0], few).reason


@pytest.mark.parametrize("templates", [10, 12, 24])
@pytest.mark.parametrize("sigma", [1.0, 1.5])
def test_new_templates(templates: int, sigma: float) -> None:
    """Of the typical template, with as many prompts; at this ratio nothing is at the floor."""
    rng = np.random.default_rng(0)
    template = templates_of(200, templates)
    n = 4000
    level = (np.log(0.3) + 1.5 + 0.5 * rng.normal(size=(templates, n)))[template]
    both = rng.normal(size=(2, 200, n))
    both[1] = 0.5 * both[0] + 0.75**0.5 * both[1]
    kl, empty = np.exp(level + sigma * both[0]), np.exp(1.5 + sigma * both[1])
    few = int(np.bincount(template).min())
    found = [over_templates(y, few).interval() for y in gaps.template_log_gaps(kl, empty, template).T]
    covered = tell(f"new templates, {templates}, sigma {sigma}", held(found, np.log(0.3)))
    assert 0.93 <= covered <= 0.97


def held(found: Sequence[Interval], truth: float) -> float:
    return float(np.mean([each.low <= truth <= each.high for each in found]))


def runs(
    rng: np.random.Generator,
    levels: list[float],
    seeds: int,
    sigma: float,
    of_seed: float,
    n: int,
    templates: int = 12,
) -> np.ndarray:
    """log_gap by method, repetition, data seed and template, of 200 prompts that all runs share.

    Half of the variance over prompts is common to all methods, a quarter a method's own, a quarter a run's. A
    method's own templates vary by 0.2.
    """
    template = templates_of(200, templates)
    common = rng.normal(size=(n, 1, 200))
    empty = gaps_log(np.exp(sigma * rng.normal(size=(n, 1, 200))), template)
    found = []
    for level in levels:
        own = rng.normal(size=(n, 1, 200))
        run = rng.normal(size=(n, seeds, 200))
        log_kl = sigma * (0.5**0.5 * common + 0.5 * own + 0.5 * run)
        shift = of_seed * rng.normal(size=(n, seeds, 1)) + 0.2 * rng.normal(size=(n, 1, templates))
        found.append(level + shift + gaps_log(np.exp(log_kl), template) - empty)
    return np.stack(found)


def gaps_log(kl: np.ndarray, template: np.ndarray) -> np.ndarray:
    """The log of the mean of each template, along the last axis."""
    starts = np.flatnonzero(np.diff(template, prepend=-1))
    return np.log(np.add.reduceat(kl, starts, axis=-1) / np.bincount(template))


OF_SEEDS = [0.05, 0.15, 0.3]
"""Standard deviations over data seeds, in nats: how much a discovery set moves a method's KL."""


@pytest.mark.parametrize("of_seed", OF_SEEDS)
@pytest.mark.parametrize("sigma", [1.0, 1.5])
def test_level_of_the_paired_test(sigma: float, of_seed: float) -> None:
    """Two equal methods, 5 data seeds, 12 templates."""
    rng = np.random.default_rng(0)
    p = []
    for _ in range(6):
        a, b = runs(rng, [0.0, 0.0], 5, sigma, of_seed, 2000)
        p += [paired(*pair, 16).p() for pair in zip(a, b, strict=True)]
    rejected = float((np.array(p) < 0.05).mean())
    tell(f"paired test at equality, sigma {sigma}, seeds {of_seed}, rejects", rejected)
    assert 0.04 <= rejected <= 0.06


def test_the_paired_test_is_safe_where_the_rest_outweighs() -> None:
    """Neither seeds nor templates matter: below its level, which is not to be had without knowing that."""
    values = np.random.default_rng(0).normal(size=(4000, 5, 12))
    rejected = float(np.mean([paired(each, 0 * each, 16).p() < 0.05 for each in values]))
    tell("paired test at equality, rest alone, rejects", rejected)
    assert rejected <= 0.06


FEW_SEEDS = pytest.mark.xfail(
    strict=True, reason="over 15 pairs five seeds that vary by 0.3 nats find 51 and 47 % of ratios of 0.4"
)


@cache
def six_methods(sigma: float, of_seed: float) -> tuple[float, float]:
    """One of six has 0.4 of the others' KL: how many of its pairs Holm finds, how often another."""
    rng = np.random.default_rng(0)
    pairs = [(i, j) for i in range(6) for j in range(i + 1, 6)]
    seen, false = [], []
    for _ in range(8):
        y = runs(rng, [float(np.log(0.4)), 0, 0, 0, 0, 0], 5, sigma, of_seed, 250)
        for one in y.swapaxes(0, 1):
            found = holm(np.array([paired(one[i], one[j], 16).p() for i, j in pairs])) < 0.05
            seen.append(found[:5].mean())
            false.append(found[5:].any())
    return float(np.mean(seen)), float(np.mean(false))


@pytest.mark.parametrize("of_seed", [0.05, 0.15, pytest.param(0.3, marks=FEW_SEEDS)])
@pytest.mark.parametrize("sigma", [1.0, 1.5])
def test_power_of_the_paired_test(sigma: float, of_seed: float) -> None:
    power, _ = six_methods(sigma, of_seed)
    assert tell(f"power at a ratio of 0.4 among 15 pairs, sigma {sigma}, seeds {of_seed}", power) > 0.8


@pytest.mark.parametrize("of_seed", OF_SEEDS)
@pytest.mark.parametrize("sigma", [1.0, 1.5])
def test_holm_keeps_the_level_of_a_family(sigma: float, of_seed: float) -> None:
    _, false = six_methods(sigma, of_seed)
    assert tell(f"a false one among ten equal pairs of 15, sigma {sigma}, seeds {of_seed}", false) <= 0.06


@pytest.mark.parametrize("apart", [np.log(1.25), 0.0])
def test_equivalence(apart: float) -> None:
    """At the bound it is said in 5 % of cases at most; at equality in a good part, of 24 templates."""
    a, b = runs(np.random.default_rng(0), [apart, 0.0], 5, 1.0, 0.05, 2000, templates=24)
    p = np.array([equivalence(paired(*pair, 8)) for pair in zip(a, b, strict=True)])
    said = tell(f"said to be equal at a ratio of {np.exp(apart):.2f}", float((p < 0.05).mean()))
    assert said > 0.4 if apart == 0 else said <= 0.06


@pytest.mark.parametrize("seeds", [pytest.param(3, marks=pytest.mark.every), 5])
@pytest.mark.parametrize("of_seed", OF_SEEDS)
@pytest.mark.parametrize("sigma", [1.0, 1.5])
def test_over_seeds(sigma: float, of_seed: float, seeds: int) -> None:
    rng = np.random.default_rng(0)
    values = np.concatenate([runs(rng, [0.0], seeds, sigma, of_seed, 2000)[0] for _ in range(3)])
    found = [over_seeds(each, 16).interval() for each in values]
    covered = tell(f"over seeds, {seeds} of {of_seed}, sigma {sigma}", held(found, 0.0))
    assert 0.93 <= covered <= 0.97


ONE_BEHAVIOUR = pytest.mark.xfail(
    strict=True, reason="of three behaviours far apart the middle one's five runs decide: 92 % are covered"
)
COARSE = pytest.mark.xfail(
    strict=True, reason="P of five runs and three behaviours goes in steps: 97.5 % are covered"
)
DESIGNS = [(5, 3, 0.05), (5, 3, 0.15), (5, 6, 0.05), (10, 3, 0.05), (10, 3, 0.15)]
"""Runs, behaviours, and the standard deviation of runs about their behaviour."""


def but(design: tuple[int, int, float], mark: pytest.MarkDecorator) -> list[object]:
    """All designs, one of which is known to fail."""
    return [pytest.param(*each, marks=mark) if each == design else each for each in DESIGNS]


@cache
def over_behaviours(count: int, behaviour_count: int, noise: float) -> tuple[float, float]:
    """Coverage of the interquartile mean and of P(a beats b); areas are normal, a is ahead by 0.1."""
    rng = np.random.default_rng(0)
    better = float(norm.cdf(0.1 / (noise * 2**0.5)))
    means, beats = [], []
    for _ in range(40):
        about = rng.uniform(0.2, 0.9, behaviour_count)
        many = about + noise * rng.normal(size=(4000, count, behaviour_count))
        truth = float(behaviours.interquartile_mean(many).mean())
        for seed in range(50):
            a, b = about + noise * rng.normal(size=(2, count, behaviour_count))
            mean = behaviours.interval(behaviours.interquartile_mean, b, draws=500, seed=seed)
            p = behaviours.interval(behaviours.beats, a + 0.1, b, draws=500, seed=seed)
            means.append(held([mean], truth))
            beats.append(held([p], better))
    return float(np.mean(means)), float(np.mean(beats))


@pytest.mark.parametrize(("count", "behaviour_count", "noise"), but((5, 3, 0.05), ONE_BEHAVIOUR))
def test_interquartile_mean(count: int, behaviour_count: int, noise: float) -> None:
    covered, _ = over_behaviours(count, behaviour_count, noise)
    tell(f"interquartile mean, {count} runs of {behaviour_count} behaviours, noise {noise}", covered)
    assert 0.93 <= covered <= 0.97


@pytest.mark.parametrize(("count", "behaviour_count", "noise"), but((5, 3, 0.15), COARSE))
def test_who_beats_whom(count: int, behaviour_count: int, noise: float) -> None:
    _, covered = over_behaviours(count, behaviour_count, noise)
    tell(f"P(a beats b), {count} runs of {behaviour_count} behaviours, noise {noise}", covered)
    assert 0.93 <= covered <= 0.97


def test_components_of_variance() -> None:
    """Known ones, on the average of many tables; templates have unequal numbers of prompts."""
    rng = np.random.default_rng(0)
    known = {"model": 1.0, "data": 0.5, "method": 0.25, "template": 0.6, "prompt": 0.4}
    known |= {"rest_of_run": 0.3, "rest_of_prompt": 0.2}
    template = np.concatenate([np.full(n, i) for i, n in enumerate((8, 8, 9, 12, 3, 20, 8, 8, 10, 14))])
    shapes: dict[str, tuple[int, ...]] = {
        "model": (3, 1, 1, 1),
        "data": (1, 3, 1, 1),
        "method": (1, 1, 3, 1),
        "template": (10,),
        "prompt": (100,),
        "rest_of_run": (3, 3, 3, 1),
        "rest_of_prompt": (3, 3, 3, 100),
    }
    tables = []
    for _ in range(2000):
        parts = {name: known[name] ** 0.5 * rng.normal(size=shape) for name, shape in shapes.items()}
        parts["template"] = parts["template"][template]
        tables.append(variance.components(np.asarray(sum(parts.values())), template))
    for name, value in known.items():
        of = np.array([table[name] for table in tables])
        error = of.std() / len(of) ** 0.5
        print(f"{name}: {value} is found as {of.mean():.3f} ± {2 * error:.3f}")
        assert abs(of.mean() - value) < 4 * error
