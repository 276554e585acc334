"""Tests of a circuit by hand, by slow references, and where there is nothing to test."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from bench.scoring.statistics.circuit_tests import beside_random, equivalence, independence, minimality


def test_equivalence_by_hand() -> None:
    """Twelve templates, eleven of which say the same; ties count half."""
    behind = equivalence(np.array([-1.0] * 11 + [1.0]), 0.0)
    assert behind.value == pytest.approx(1 / 12)
    expected = stats.binom.sf(10, 12, 0.6) + stats.binom.cdf(1, 12, 0.6)
    assert behind.p == pytest.approx(expected) == pytest.approx(0.0199, abs=1e-4)
    assert equivalence(-np.array([-1.0] * 11 + [1.0]), 0.0).p == pytest.approx(expected), "either way"
    tied = equivalence(np.array([-1e-3] * 11 + [1.0]), 1e-2)
    expected = stats.binom.sf(6, 12, 0.6) + stats.binom.cdf(5, 12, 0.6)
    assert [tied.value, tied.p] == pytest.approx([6.5 / 12, expected])
    assert equivalence(np.zeros(12), 0.0).p == 1.0


@pytest.mark.parametrize("ahead", [0.4, 0.5, 0.6])
def test_equivalence_keeps_its_level(ahead: float) -> None:
    """Within the border it is rejected in no more than 5 % of cases, at it in most of these."""
    drawn = np.random.default_rng(0).random((4000, 24)) < ahead
    rejected = np.mean([equivalence(each - 0.5, 0.0).p < 0.05 for each in drawn])
    assert rejected <= 0.055
    assert (rejected > 0.03) == (ahead != 0.5)


def clustered(rng: np.random.Generator, both: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two values of 96 prompts of twelve templates that shift them; prompts share `both` as well."""
    stratum = np.repeat(np.arange(12), 8)
    shift = 3 * rng.normal(size=12)[stratum]
    x, y, shared = rng.normal(size=(3, 96))
    return (shift + x + both * shared)[:, None], (2 * shift + y + both * shared)[:, None], stratum


def test_independence_looks_within_templates() -> None:
    """What templates do to both is no dependence, and what prompts do is."""
    rng = np.random.default_rng(0)
    p = {both: np.array([independence(*clustered(rng, both), draws=99).p for _ in range(150)])
         for both in (0.0, 1.5)}  # fmt: skip
    assert (p[0.0] < 0.05).mean() < 0.09
    assert 0.4 < p[0.0].mean() < 0.6
    assert (p[1.5] < 0.05).mean() > 0.9


def test_the_criterion_by_hand() -> None:
    """One stratum: the normalised criterion is centred kernel alignment; a monotone copy depends on it."""
    x = np.random.default_rng(0).normal(size=(40, 1))
    found = independence(x, 7 - 3 * x, np.zeros(40))
    assert found.value == pytest.approx(1.0, abs=1e-4)
    assert found.p == pytest.approx(1 / 500)
    y = np.random.default_rng(1).normal(size=(40, 2))

    def kernel(values: np.ndarray, nothing: float = 0.0) -> tuple[np.ndarray, float]:
        distance = np.square(values[:, None] - values).sum(-1)
        pairs = distance[np.triu_indices(40, 1)]
        width = np.median(pairs[pairs > nothing])
        centre = np.eye(40) - 1 / 40
        return centre @ np.exp(-distance / (2 * width)) @ centre, float(width)

    k, width = kernel(x)
    other, _ = kernel(y, 1e-4 * width)
    alignment = np.sum(k * other) / math.sqrt(np.sum(k * k) * np.sum(other * other))
    assert independence(x, y, np.zeros(40)).value == pytest.approx(alignment)


def test_a_complement_that_says_one_thing_is_independent() -> None:
    """Rounding that goes with the prompt is no word of its own."""
    x = np.random.default_rng(0).normal(size=(40, 1))
    found = independence(x, 1 + 1e-6 * x, np.zeros(40))
    assert found.value == pytest.approx(0.0, abs=1e-12)
    assert found.p == pytest.approx(0.5, abs=0.01)


def test_minimality_by_hand() -> None:
    """One edge below all added ones, one among them, one that ties with all, one above all."""
    added = np.arange(40.0)
    tested, adjusted = minimality(np.array([-1.0, 30.5, 50.0]), added, 0.0)
    p = np.asarray(stats.binom.cdf([0, 31, 40], 40, 0.9))
    assert adjusted == pytest.approx([3 * p[0], 2 * p[1], 1.0])
    assert tested.p == adjusted.min()
    assert tested.value == pytest.approx(1 / 3 + (2 * p[1] < 0.05) / 3)
    idle, _ = minimality(np.zeros(3), np.zeros(40), 0.0)
    assert [idle.value, idle.p] == pytest.approx([1.0, 3 * stats.binom.cdf(20, 40, 0.9)])


def test_beside_random_by_hand() -> None:
    others = np.arange(1.0, 21.0)
    best, middle = beside_random(0.0, others), beside_random(5.0, others)
    assert [best.value, best.p] == pytest.approx([1.0, 1 / 21])
    assert middle.value == pytest.approx(15.5 / 20), "fifteen are worse, one is as good"
    assert middle.p == pytest.approx(5.5 / 21)
    assert beside_random(1.0, np.full(20, 1 + 1e-9)).p == pytest.approx(11 / 21), "rounding is a tie"


def test_what_is_too_small_is_said_and_has_no_p() -> None:
    few = [
        equivalence(np.ones(9), 0.0),
        independence(np.ones((30, 1)), np.ones((30, 1)), np.zeros(30)),
        independence(np.ones((60, 1)), np.ones((60, 1)), np.arange(60)),
        minimality(np.zeros(0), np.zeros(40), 0.0)[0],
        minimality(np.zeros(3), np.zeros(5), 0.0)[0],
        beside_random(0.0, np.ones(19)),
        beside_random(math.nan, np.ones(20)),
        equivalence(np.array([math.nan] * 12), 0.0),
        independence(np.full((60, 1), math.nan), np.ones((60, 1)), np.zeros(60)),
        minimality(np.array([math.nan]), np.zeros(40), 0.0)[0],
    ]
    assert [each.reason for each in few] == [
        "at least 10 templates are needed, not 9",
        "at least 40 prompts that share a template are needed, not 30",
        "at least 40 prompts that share a template are needed, not 0",
        "no edge",
        "at least 20 random paths are needed, not 5",
        "at least 20 random circuits of the same size are needed, not 19",
        *["unscored"] * 4,
    ]
    assert np.isnan([[each.value, each.p] for each in few]).all()
