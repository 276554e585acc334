"""Where to cut a ranking when no size is asked for: where loss and price are least together."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

GROWTH, FINE = 1.05, 50
"""Between the sizes tried first; how many are tried near the best of them."""


def cheapest_cut(cost: Callable[[int], float], n_edges: int) -> int:
    """The number from 0 to n_edges of least cost: on a coarse grid, then around its best point."""
    known = cache(cost)
    grid = [0, *sorted({round(GROWTH**k) for k in range(math.ceil(math.log(n_edges, GROWTH)))}), n_edges]
    at = grid.index(min(grid, key=known))
    low, high = grid[max(at - 1, 0)], grid[min(at + 1, len(grid) - 1)]
    between = range(low, high + 1, max(1, (high - low) // FINE))
    best: int = min([grid[at], *between], key=known)
    return best
