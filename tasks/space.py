"""Splits and drawing: every example is a point in a product of lists, and every point has one split.

A task names its slots (template, names, place, ...) as `Slot`s. A point's key is the mixed-radix
number of its indices into the *full* lists, and a hash of the key says which split the point is
in. So splits are disjoint whatever the seed and the number of examples, nothing needs to be
stored, and a prompt keeps its split under every tokenizer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, get_args

import numpy as np
from jaxtyping import Int, UInt64

Split = Literal["training", "discovery", "validation", "evaluation", "untrained"]
"""`training` and `untrained` are for models trained on the tasks themselves (the embedded one), never for
methods: the prompts they are trained on, and those in wordings they never saw."""

SHARES: Final[dict[Split, float]] = {
    "training": 0.45, "discovery": 0.3, "validation": 0.05, "evaluation": 0.15, "untrained": 0.05,
}  # fmt: skip

WORDINGS_OF: Final[dict[Split, range]] = {
    "training": range(24), "discovery": range(12), "validation": range(12), "evaluation": range(24),
    "untrained": range(24, 28),
}  # fmt: skip
"""Which of a task's 28 wordings each split uses."""
HELD_OUT: Final = frozenset(WORDINGS_OF["evaluation"]) - frozenset(WORDINGS_OF["discovery"])
"""The wordings that no method has seen."""

_FEW: Final = 1 << 16  # templates with up to this many points are enumerated, larger ones sampled
_PART: Final = 1 << 18  # points in the samples of all templates together


@dataclass(frozen=True)
class Slot:
    """One factor of the product: a list, and which of its entries may be drawn."""

    size: int
    """Length of the full list, whatever the tokenizer."""
    allowed: Int[np.ndarray, " choice"]
    """Indices into the full list that this tokenizer (or this task) can use."""
    alike: int = 1
    """This many consecutive entries at a time share their split; all do if it equals `size`."""

    @classmethod
    def whole(cls, size: int) -> Slot:
        """Every entry allowed."""
        return cls(size, np.arange(size))

    def joined(
        self, key: Int[np.ndarray, " point"], entry: Int[np.ndarray, " point"]
    ) -> Int[np.ndarray, " point"]:
        """The keys of points, extended by this slot."""
        joined: Int[np.ndarray, " point"] = key * -(-self.size // self.alike) + entry // self.alike
        return joined


def wording_slot(split: Split) -> Slot:
    """The wordings of a split as a slot."""
    return Slot(max(WORDINGS_OF["untrained"]) + 1, np.array(WORDINGS_OF[split]))


def generator(split: Split, seed: int) -> np.random.Generator:
    """The random stream of a split and a seed; two splits never share one."""
    return np.random.default_rng([seed, get_args(Split).index(split)])


def draw(
    template: Slot, others: Sequence[Slot], split: Split, n: int, seed: int
) -> tuple[Int[np.ndarray, " example"], ...]:
    """Draws points of one split: for each slot, the template first, the indices into its full list.

    The points of a template have one fixed, shuffled order (a different one if `n` is large for the
    size of the space). Templates take turns, which makes one endless sequence of points, and each
    seed takes the next `n` of it, starting with seed 0. So every template occurs equally often, give
    or take one; no point occurs twice while its template has enough of them; and no two seeds share
    one before the points run out, after which they come again in the same order. Large spaces are
    sampled, enough for hundreds of seeds at common sizes: time grows neither with the space nor,
    beyond that sample, with the seed.

    Args:
        template: its allowed entries take turns, in their order.
        others: the other factors of the space.
        split: the split to draw from.
        n: the number of points.
        seed: which part of the sequence.

    Returns:
        An array per slot, empty if the split has no points at all.
    """
    turns = max(len(template.allowed), 1)
    most = -(-n // turns)
    reach = min(-(-(seed + 1) * n // turns), max(most, _PART // turns))
    found = [_order(template, int(entry), others, split, most, reach) for entry in template.allowed]
    entries, orders = template.allowed[[len(o) > 0 for o in found]], [o for o in found if len(o)]
    number = seed * n + np.arange(n if orders else 0)
    rank, turn = np.divmod(number, max(len(orders), 1))
    points = np.empty(len(number), np.int64)
    for i, order in enumerate(orders):
        points[turn == i] = order[rank[turn == i] % len(order)]
    return entries[turn], *_columns(points, others)


def _order(
    template: Slot, entry: int, others: Sequence[Slot], split: Split, most: int, reach: int
) -> Int[np.ndarray, " member"]:
    """The points of a template in their order; for a large space only the first ones.

    Args:
        template: the template's slot.
        entry: its entry in that slot.
        others: the other slots.
        split: the split of the points.
        most: how many one seed takes.
        reach: how many it and the seeds before it take, up to a bound.
    """
    rng = np.random.default_rng([get_args(Split).index(split), entry, 1])
    told = entry // template.alike
    size = math.prod(len(slot.allowed) for slot in others)
    if size <= _FEW or size * SHARES[split] < 4 * most:
        return rng.permutation(_members(np.arange(size), told, others, split))
    enough = min(reach, int(size * SHARES[split] / 4))
    points = np.empty(0, np.int64)
    while len(points) < enough:  # four times as many exist: ends after a few rounds
        fresh = rng.integers(size, size=int((enough - len(points)) / SHARES[split]) + 64)
        points = np.concatenate([points, _members(fresh, told, others, split)])
        points = points[np.sort(np.unique(points, return_index=True)[1])]
    return points[:enough]


def split_of(key: Int[np.ndarray, " example"]) -> Int[np.ndarray, " example"]:
    """The split of each key, as an index into `Split`: a fixed hash, cut at the cumulative `SHARES`."""
    uniform = (mixed(key.astype(np.uint64)) >> np.uint64(11)) * 2.0**-53
    cuts = np.cumsum(list(SHARES.values()))[:-1]
    return np.searchsorted(cuts, uniform, side="right")


def _members(
    points: Int[np.ndarray, " point"], template: int, others: Sequence[Slot], split: Split
) -> Int[np.ndarray, " member"]:
    """The points of a template that belong to the split."""
    key = np.full(len(points), template, np.int64)
    for slot, column in zip(others, _columns(points, others), strict=True):
        key = slot.joined(key, column)
    return points.compress(split_of(key) == get_args(Split).index(split))


def _columns(
    points: Int[np.ndarray, " example"], slots: Sequence[Slot]
) -> tuple[Int[np.ndarray, " example"], ...]:
    """Points (numbers among the allowed entries) as indices into the full lists."""
    columns = []
    for slot in reversed(slots):
        points, digit = np.divmod(points, max(len(slot.allowed), 1))
        columns.append(slot.allowed[digit])
    return tuple(reversed(columns))


def mixed(x: UInt64[np.ndarray, "*any"]) -> UInt64[np.ndarray, "*any"]:
    """The output function of SplitMix64 (Steele et al. 2014): mixes all 64 bits, wraps on overflow."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    spread: UInt64[np.ndarray, "*any"] = x ^ (x >> np.uint64(31))
    return spread
