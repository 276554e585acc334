"""The order from left to right in each row of a layered drawing: few crossings, the same every time."""

from collections.abc import Sequence
from dataclasses import dataclass

SWEEPS = 12
"""Times that the rows are ordered by their neighbours, upwards and downwards in turn."""


@dataclass(eq=False)
class Item:
    """What has a place in a row: a node's box, or the bend of an edge that goes on to a higher row."""

    row: int
    half: float = 0.0
    """Half the width; a bend has none."""
    x: float = 0.0
    """The middle."""

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
    """Where it enters a head, from the middle of its box; None at other nodes and at bends."""

    @property
    def end(self) -> float:
        """The x at which it enters."""
        return self.upper.x + (self.port or 0.0)


def order_rows(boxes: Sequence[Sequence[Item]], links: Sequence[Link]) -> list[list[Item]]:
    """All items by row, each row from left to right with few crossings; boxes stay in the order given.

    Rows are ordered by the mean place of their neighbours, then neighbours change places while that
    takes crossings away. Every item's `x` is set, roughly.
    """
    bends = [link.upper for link in links if not link.upper.is_box]
    rows = [[*row, *(bend for bend in bends if bend.row == i)] for i, row in enumerate(boxes)]
    for row in rows:
        pack(row)
    best, fewest = rows, _crossings(links)
    for sweep in range(SWEEPS):
        upwards = sweep % 2 == 0
        rows = list(rows)
        for i in range(len(rows)) if upwards else reversed(range(len(rows))):
            rows[i] = _by_neighbours(rows[i], boxes[i], links, upwards)
        if (crossings := _crossings(links)) < fewest:
            best, fewest = rows, crossings
    best = [list(row) for row in best]
    for row in best:
        pack(row)
    while sum(_swap_neighbours(row, links) for row in best):
        pass
    return best


def apart(left: Item, right: Item) -> float:
    """The least distance between the middles of two items side by side."""
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


def _by_neighbours(
    row: Sequence[Item], boxes: Sequence[Item], links: Sequence[Link], upwards: bool
) -> list[Item]:
    """A row in the order of its items' neighbours below (`upwards`) or above."""
    wanted = {}
    for item in row:
        near = _below(item, links) if upwards else _above(item, links)
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
    return sum(
        (a[0] - b[0]) * (a[1] - b[1]) < 0 for s in spans.values() for i, a in enumerate(s) for b in s[:i]
    )


def _swap_neighbours(row: list[Item], links: Sequence[Link]) -> bool:
    """Swap items side by side, in place, where that takes crossings away; whether any were."""
    swapped = False
    for i in range(len(row) - 1):
        left, right = row[i], row[i + 1]
        if left.is_box and right.is_box:
            continue
        gain = sum((a > b) - (a < b) for a in _below(left, links) for b in _below(right, links))
        gain += sum((a > b) - (a < b) for a in _above(left, links) for b in _above(right, links))
        if gain > 0:
            row[i], row[i + 1] = right, left
            pack(row)
            swapped = True
    return swapped


def _below(item: Item, links: Sequence[Link]) -> list[float]:
    return [link.lower.x for link in links if link.upper is item]


def _above(item: Item, links: Sequence[Link]) -> list[float]:
    return [link.end for link in links if link.lower is item]
