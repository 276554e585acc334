"""The x of every item of a layered drawing: near its neighbours, in row order, none too close."""

from collections.abc import Sequence

from reports.circuits.order import Item, Link, apart

SWEEPS = 40
"""Passes that place every row by its neighbours."""


def spread_out(rows: Sequence[Sequence[Item]], links: Sequence[Link]) -> None:
    """Set every item's `x`: long edges run straight, boxes sit between the items they link to."""
    pulls: dict[Item, list[tuple[Link, Item]]] = {item: [] for row in rows for item in row}
    for link in links:
        pulls[link.lower].append((link, link.upper))
        pulls[link.upper].append((link, link.lower))
    for sweep in range(SWEEPS):
        for row in rows if sweep % 2 == 0 else reversed(rows):
            wanted, weights = [], []
            for item in row:
                total = weight = 0.0
                for link, other in pulls[item]:
                    pull = (1.0, 3.0, 8.0)[(not item.is_box) + (not other.is_box)]
                    shift = link.port or 0.0
                    total += pull * (other.x + (shift if link.lower is item else -shift))
                    weight += pull
                wanted.append(total / weight if weight else item.x)
                weights.append(weight or 1.0)
            for item, x in zip(row, _keep_apart(row, wanted, weights), strict=True):
                item.x = x


def _keep_apart(row: Sequence[Item], wanted: Sequence[float], weights: Sequence[float]) -> list[float]:
    """The positions nearest to the wanted ones (weighted least squares) that keep order and distances.

    Pool adjacent violators, on positions minus the room that the items to the left need.
    """
    offsets = [0.0] * len(row)
    for i in range(1, len(row)):
        offsets[i] = offsets[i - 1] + apart(row[i - 1], row[i])
    blocks: list[tuple[float, float, int]] = []  # place, weight, how many items
    for want, offset, own in zip(wanted, offsets, weights, strict=True):
        place, weight, count = want - offset, own, 1
        while blocks and blocks[-1][0] >= place:
            before, heavy, many = blocks.pop()
            place = (before * heavy + place * weight) / (heavy + weight)
            weight, count = heavy + weight, many + count
        blocks.append((place, weight, count))
    places = [place for place, _, count in blocks for _ in range(count)]
    return [place + offset for place, offset in zip(places, offsets, strict=True)]
