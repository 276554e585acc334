"""Left-to-right order in each row of a layered drawing: few crossings, and deterministic."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

SWEEPS = 12
"""Passes that order rows by their neighbours, alternately upwards and downwards."""


@dataclass(eq=False)
class Item:
    """An item in a row: a node's box, or the bend of an edge that continues to a higher row."""

    row: int
    half: float = 0.0
    """Half the width; 0 for a bend."""
    x: float = 0.0
    """The x of its middle."""

    @property
    def is_box(self) -> bool:
        """Whether it is a node's box."""
        return self.half > 0


@dataclass(frozen=True, eq=False)
class Link:
    """The part of an edge from one row to the next."""

    lower: Item
    upper: Item
    port: float | None = None
    """Offset from the middle of a head's box at which it enters; None at other nodes and at bends."""

    @property
    def end(self) -> float:
        """The x at which it enters."""
        return self.upper.x + (self.port or 0.0)


class _Linked:
    """The x at which each item's links end, below and above it."""

    def __init__(self, links: Sequence[Link]) -> None:
        self._under: dict[Item, list[Link]] = defaultdict(list)
        self._over: dict[Item, list[Link]] = defaultdict(list)
        for link in links:
            self._under[link.upper].append(link)
            self._over[link.lower].append(link)

    def below(self, item: Item) -> list[float]:
        return [link.lower.x for link in self._under[item]]

    def above(self, item: Item) -> list[float]:
        return [link.end for link in self._over[item]]


def order_rows(boxes: Sequence[Sequence[Item]], links: Sequence[Link]) -> list[list[Item]]:
    """All items by row, each row from left to right with few crossings; boxes keep the order given.

    Items are ordered by the mean position of their neighbours; then adjacent items are swapped as long as
    that reduces crossings. Sets every item's `x` approximately.
    """
    bends = [link.upper for link in links if not link.upper.is_box]
    linked = _Linked(links)
    rows = [[*row, *(bend for bend in bends if bend.row == i)] for i, row in enumerate(boxes)]
    for row in rows:
        pack(row)
    best, fewest = rows, _crossings(links)
    for sweep in range(SWEEPS):
        upwards = sweep % 2 == 0
        rows = list(rows)
        for i in range(len(rows)) if upwards else reversed(range(len(rows))):
            rows[i] = _by_neighbours(rows[i], boxes[i], linked, upwards)
        if (crossings := _crossings(links)) < fewest:
            best, fewest = rows, crossings
    best = [list(row) for row in best]
    for row in best:
        pack(row)
    while sum(_swap_neighbours(row, linked) for row in best):
        pass
    return best


def apart(left: Item, right: Item) -> float:
    """The minimum distance between the middles of two adjacent items."""
    gaps = {0: 0.13, 1: 0.17, 2: 0.26}
    return left.half + right.half + gaps[left.is_box + right.is_box]


def pack(row: Sequence[Item]) -> None:
    """Put a row's items side by side around zero."""
    x = 0.0
    for left, item in zip([None, *row], row, strict=False):
        x += apart(left, item) if left else 0.0
        item.x = x
    for item in row:
        item.x -= x / 2


def _by_neighbours(row: Sequence[Item], boxes: Sequence[Item], linked: _Linked, upwards: bool) -> list[Item]:
    """A row in the order of its items' neighbours below (`upwards`) or above."""
    wanted = {}
    for item in row:
        near = linked.below(item) if upwards else linked.above(item)
        wanted[item] = sum(near) / len(near) if near else item.x
    fixed = iter(boxes)
    ordered = sorted(row, key=lambda item: wanted[item])
    ordered = [next(fixed) if item.is_box else item for item in ordered]
    pack(ordered)
    return ordered


def _crossings(links: Sequence[Link]) -> int:
    """How many pairs of links between the same two rows cross."""
    spans: dict[int, list[tuple[float, float]]] = {}
    for link in links:
        spans.setdefault(link.lower.row, []).append((link.lower.x, link.end))
    crossings = 0
    for span in map(np.array, spans.values()):
        lower, upper = (np.sign(np.subtract.outer(ends, ends)) for ends in span.T)
        crossings += int((lower * upper < 0).sum()) // 2
    return crossings


def _swap_neighbours(row: list[Item], linked: _Linked) -> bool:
    """Swap adjacent items in place where that reduces the crossings; returns whether any were swapped."""
    swapped = False
    for i in range(len(row) - 1):
        left, right = row[i], row[i + 1]
        if left.is_box and right.is_box:
            continue
        gain = sum((a > b) - (a < b) for a in linked.below(left) for b in linked.below(right))
        gain += sum((a > b) - (a < b) for a in linked.above(left) for b in linked.above(right))
        if gain > 0:
            row[i], row[i + 1] = right, left
            pack(row)
            swapped = True
    return swapped
