"""Drawing: which points there are, in which order, and what each seed takes of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product
from typing import get_args

import numpy as np
import pytest

from tasks import Split, space
from tasks.space import SHARES, Slot, draw, split_of

SPLITS: tuple[Split, ...] = get_args(Split)
OTHERS = [
    Slot(50, np.arange(1, 50, 3)),
    Slot.whole(4),
    Slot(9, np.array([8, 1, 5, 2, 7]), alike=9),
]
TEMPLATES = Slot(30, np.array([4, 0, 17]))
PAIRED = Slot(30, np.array([4, 0, 5]), alike=2)


def slowly(
    template: Slot, others: Sequence[Slot], split: Split, n: int, seed: int, *, enumerated: bool
) -> list[tuple[int, ...]]:
    """One point after the other, as `draw` is described."""
    points = list(product(*(slot.allowed.tolist() for slot in others)))

    def belongs(entry: int, point: tuple[int, ...]) -> bool:
        key = entry // template.alike
        for slot, index in zip(others, point, strict=True):
            key = key * math.ceil(slot.size / slot.alike) + index // slot.alike
        return SPLITS[int(split_of(np.array([key]))[0])] == split

    orders = []
    for entry in template.allowed.tolist():
        rng = np.random.default_rng([SPLITS.index(split), entry, 1])
        members = [point for point in points if belongs(entry, point)]
        if enumerated:
            order = [members[i] for i in rng.permutation(len(members))]
        else:
            order = []
            while len(order) < min(len(members), int(len(points) * SHARES[split] / 4)):
                point = points[rng.integers(len(points), size=1)[0]]
                if point in members and point not in order:
                    order.append(point)
        orders.append([(entry, *point) for point in order])
    turns = [orders[i % len(orders)] for i in range(seed * n, (seed + 1) * n)]
    return [turn[i // len(orders) % len(turn)] for i, turn in enumerate(turns, start=seed * n)]


def drawn(split: Split, n: int, seed: int, template: Slot = TEMPLATES) -> list[tuple[int, ...]]:
    return list(zip(*(column.tolist() for column in draw(template, OTHERS, split, n, seed)), strict=True))


@pytest.mark.parametrize("template", [TEMPLATES, PAIRED], ids=["apart", "paired"])
@pytest.mark.parametrize("enumerated", [True, False])
@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize(("n", "seed"), [(11, 0), (11, 1), (7, 3), (3, 1000), (1, 2)])
def test_drawing_equals_reading_one_point_after_the_other(
    template: Slot, enumerated: bool, split: Split, n: int, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a space that is enumerated, and as if it were large."""
    if not enumerated:
        monkeypatch.setattr(space, "_FEW", 0)
    expected = slowly(template, OTHERS, split, n, seed, enumerated=enumerated)
    assert drawn(split, n, seed, template) == expected


def test_entries_that_are_alike_share_their_points() -> None:
    """Of a pair of templates either has the points that the other has; of two that are apart it has not."""

    def points(entry: int, alike: int) -> set[tuple[int, ...]]:
        return {point[1:] for point in drawn("discovery", 400, 0, Slot(30, np.array([entry]), alike=alike))}

    assert points(4, 2) == points(5, 2) != points(6, 2)
    assert points(4, 1) != points(5, 1)


def test_a_part_of_a_large_space_comes_again_when_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(space, "_FEW", 0)
    monkeypatch.setattr(space, "_PART", 24)
    once = [drawn("discovery", 6, seed) for seed in range(4)]
    assert len({point for each in once for point in each}) == 24
    assert [drawn("discovery", 6, 4 + seed) for seed in range(4)] == once


def test_every_point_comes_equally_often() -> None:
    """However many seeds it takes."""
    allowed = list(product(TEMPLATES.allowed.tolist(), *(slot.allowed.tolist() for slot in OTHERS)))
    keys = np.array([(t * 50 + a) * 4 + b for t, a, b, _ in allowed])
    everything = {
        point for point, split in zip(allowed, split_of(keys), strict=True) if SPLITS[split] == "discovery"
    }
    for template in TEMPLATES.allowed:
        members = {point for point in everything if point[0] == template}
        one = Slot(30, np.array([template]))
        assert set(drawn("discovery", len(members), 0, one)) == members
        half = len(members) // 2
        found = [point for seed in range(6) for point in drawn("discovery", half, seed, one)]
        assert {found.count(point) for point in members} <= {2, 3}


def test_a_late_seed_costs_no_more_than_the_part_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted in points that are looked at, of a space of 64 million."""
    looked, members = [], space._members

    def counting(points: np.ndarray, *rest: object) -> np.ndarray:
        looked.append(len(points))
        return members(points, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(space, "_members", counting)
    others, costs = [Slot.whole(8000), Slot.whole(8000)], []
    for seed in (0, 10, 2**32 - 1):
        looked.clear()
        assert len(draw(Slot.whole(12), others, "discovery", 200, seed)[0]) == 200
        costs.append(sum(looked))
    assert costs[0] < 3000
    assert costs[1] < 20 * 3000
    assert costs[2] < 1.5 * space._PART / SHARES["discovery"]


def test_shares_of_the_splits_are_as_stated() -> None:
    assert list(SHARES) == list(SPLITS)
    assert sum(SHARES.values()) == pytest.approx(1)
    found = np.bincount(split_of(np.arange(200_000))) / 200_000
    assert found == pytest.approx(list(SHARES.values()), abs=0.005)


def test_a_template_without_points_has_no_turn() -> None:
    keys = np.arange(100)
    training = keys[split_of(keys) == SPLITS.index("training")]
    lone = [Slot.whole(1)]
    assert len(draw(Slot(100, training[:1]), lone, "evaluation", 5, 0)[0]) == 0
    evaluation = keys[split_of(keys) == SPLITS.index("evaluation")]
    mixed = Slot(100, np.array([training[0], evaluation[0], evaluation[1]]))
    assert draw(mixed, lone, "evaluation", 5, 0)[0].tolist() == evaluation[[0, 1, 0, 1, 0]].tolist()
