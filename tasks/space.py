"""Splits and drawing: every example is one point of a product of lists, every point has one split.

A task names its slots (template, names, place, ...) as `Slot`s. A point's key is the mixed-radix
number of its indices into the *full* lists, and a hash of the key says which split the point is
in. So splits are disjoint whatever the seed and the number of examples, nothing needs to be
stored, and a prompt keeps its split under every tokenizer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, get_args

import numpy as np
from jaxtyping import Int, UInt64

Split = Literal["training", "discovery", "validation", "evaluation"]
"""`training` is for models trained on the tasks themselves (the embedded one), never for methods."""

SHARES: Final[dict[Split, float]] = {
    "training": 0.5, "discovery": 0.3, "validation": 0.05, "evaluation": 0.15,
}  # fmt: skip

_FEW: Final = 1 << 16  # spaces up to this size are enumerated: no chance that a split looks full but is empty


@dataclass(frozen=True)
class Slot:
    """One factor of the product: a list, and which of its entries may be drawn."""

    size: int
    """Length of the full list, whatever the tokenizer."""
    allowed: Int[np.ndarray, " choice"]
    """Indices into the full list that this tokenizer (or this task) can use."""
    decides_split: bool = True
    """False: points that differ in this slot only share their split."""

    @classmethod
    def whole(cls, size: int) -> Slot:
        """Every entry allowed."""
        return cls(size, np.arange(size))


def generator(split: Split, seed: int) -> np.random.Generator:
    """The random stream of a split and a seed; two splits never share one."""
    return np.random.default_rng([seed, get_args(Split).index(split)])


def draw(
    slots: Sequence[Slot], split: Split, n: int, rng: np.random.Generator
) -> tuple[Int[np.ndarray, " example"], ...]:
    """Random points of one split: for each slot, the indices into its full list.

    No point comes twice while the split has as many points as asked for. Beyond that every point
    comes equally often, give or take one. Time grows with `n`, not with the size of the space.

    Args:
        slots: the factors of the space.
        split: of which the points are.
        n: how many.
        rng: as `generator` makes it.

    Returns:
        An array per slot, empty when the split has no point at all.
    """
    size = int(np.prod([len(slot.allowed) for slot in slots], dtype=object))
    if size <= _FEW or size * SHARES[split] < 4 * n:
        members = _members(np.arange(size), slots, split)
        rounds = -(-n // len(members)) if len(members) else 0
        points = np.concatenate([rng.permutation(members) for _ in range(rounds)] or [members])
    else:
        points = np.empty(0, np.int64)
        while len(points) < n:  # at least four times as many points exist: ends after a few rounds
            fresh = rng.integers(size, size=int((n - len(points)) / SHARES[split]) + 64)
            points = np.concatenate([points, _members(fresh, slots, split)])
            points = points[np.sort(np.unique(points, return_index=True)[1])]
    return _columns(points[:n], slots)


def split_of(key: Int[np.ndarray, " example"]) -> Int[np.ndarray, " example"]:
    """The split of each key, as an index into `Split`: a fixed hash, cut at the cumulated `SHARES`."""
    uniform = (_splitmix64(key.astype(np.uint64)) >> np.uint64(11)) * 2.0**-53
    cuts = np.cumsum(list(SHARES.values()))[:-1]
    return np.searchsorted(cuts, uniform, side="right")


def _members(
    points: Int[np.ndarray, " point"], slots: Sequence[Slot], split: Split
) -> Int[np.ndarray, " member"]:
    """Those of the points that belong to the split."""
    key = np.zeros(len(points), np.int64)
    for slot, column in zip(slots, _columns(points, slots), strict=True):
        if slot.decides_split:
            key = key * slot.size + column
    return points.compress(split_of(key) == get_args(Split).index(split))


def _columns(
    points: Int[np.ndarray, " example"], slots: Sequence[Slot]
) -> tuple[Int[np.ndarray, " example"], ...]:
    """Points (numbers among the allowed entries) taken apart into indices into the full lists."""
    columns = []
    for slot in reversed(slots):
        points, digit = np.divmod(points, max(len(slot.allowed), 1))
        columns.append(slot.allowed[digit])
    return tuple(reversed(columns))


def _splitmix64(x: UInt64[np.ndarray, " example"]) -> UInt64[np.ndarray, " example"]:
    """The output function of SplitMix64 (Steele et al. 2014): mixes all 64 bits, wraps on overflow."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: UInt64[np.ndarray, " example"] = x ^ (x >> np.uint64(31))
    return mixed
