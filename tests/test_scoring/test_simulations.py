"""How often intervals hold what they speak of, and tests find what is there; `-s` prints the figures.

KL is log-normal over prompts. What varies besides: templates (a common hardness of 0.5, a standard
deviation in nats), a method's own templates and its data seeds.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from bench.scoring.statistics import behaviours, gaps, intervals, paired, variance
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


def share_held(low: np.ndarray, high: np.ndarray, truth: np.ndarray | float) -> float:
    return float(((low <= truth) & (truth <= high)).mean())


def these_prompts(prompts: int, templates: int, sigma: float, ratio: float) -> dict[str, float]:
    """Coverage of each interval; templates stay, prompts are drawn again."""
    rng = np.random.default_rng(0)
    template = templates_of(prompts, templates)
    held: dict[str, list[float]] = {"kl": [], "recovered": [], "log_gap": []}
    for group in range(GROUPS):
        level = (1.5 + np.log(ratio) + 0.5 * rng.normal(size=templates))[template]
        kl, empty = kl_of(rng, level, sigma, EACH)
        found = intervals.of_kl(kl, empty, template, seed=group)
        assert not found["kl"].reason
        mean = np.exp(level + sigma**2 / 2).mean()
        truth = {
            "kl": mean,
            "recovered": 1 - mean / np.exp(1.5 + sigma**2 / 2),
            "log_gap": gaps.log_gap(*kl_of(rng, level, sigma, 4000), template).mean(),
        }
        for name, of in found.items():
            held[name].append(share_held(of.low, of.high, truth[name]))
    return {
        name: tell(
            f"these prompts, {name}, {prompts} of {templates}, sigma {sigma}, ratio {ratio}",
            float(np.mean(of)),
        )
        for name, of in held.items()
    }


@pytest.mark.parametrize("templates", [10, 12, 24])
@pytest.mark.parametrize("sigma", [1.0, 1.5])
@pytest.mark.parametrize("ratio", [0.3, 0.01])
def test_these_prompts(templates: int, sigma: float, ratio: float) -> None:
    for name, covered in these_prompts(200, templates, sigma, ratio).items():
        assert 0.93 <= covered <= 0.97, name


@pytest.mark.parametrize("sigma", [1.0, 1.5])
def test_fifty_prompts_of_five_templates(sigma: float) -> None:
    for name, covered in these_prompts(50, 5, sigma, 0.3).items():
        assert 0.93 <= covered <= 0.97, name


@pytest.mark.parametrize("templates", [10, 12, 24])
def test_fifty_prompts_are_not_to_be_had(templates: int) -> None:
    template = templates_of(50, templates)
    kl, empty = kl_of(np.random.default_rng(0), np.zeros(50), 1.0, 3)
    few = int(np.bincount(template).min())
    for found in intervals.of_kl(kl, empty, template).values():
        assert found.reason == f"a template of {few} prompts, 8 needed"
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
    gap = gaps.template_log_gaps(np.exp(level + sigma * both[0]), np.exp(1.5 + sigma * both[1]), template)
    few = int(np.bincount(template).min())
    ends = np.array([(i.low, i.high) for i in (over_templates(y, few).interval() for y in gap.T)])
    covered = tell(f"new templates, {templates}, sigma {sigma}", share_held(*ends.T, np.log(0.3)))
    assert 0.93 <= covered <= 0.97


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
