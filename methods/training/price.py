"""What an open gate costs, so that as many stay open as are wanted."""

from __future__ import annotations

import math
from collections.abc import Collection

import torch
from torch import Tensor

GROWTH = 1.02
"""Of the price in a step, at most: it doubles in 35."""
FAR = 0.1
"""How far from the size wanted, in log gates, the price moves at full speed."""
NEAR = 0.02
"""A size is met when the gates open differ by that share of it at most, or by one."""
RETURN = 4
"""A size of which too few gates are open ends after so many times `hold` steps: until then gates may come
back as the price falls, and those that no gradient pulls never do."""
PATIENCE = 3000
"""Steps after which a size is given up, beyond those that it is held at least."""


class Price:
    """Rises while more gates are open than wanted and falls while fewer are; for one size after the other.

    The nearer the size, the slower it moves. A size ends after some steps when it is met, so that the gates
    which do best at that price are open, or, somewhat later, when fewer are open still. Where no size is
    wanted the price stays.
    """

    def __init__(self, start: float, sizes: Collection[int], hold: int) -> None:
        """`sizes` are above 0."""
        self.now = start
        self.sizes, self._hold = sorted(set(sizes), reverse=True), hold
        self.stage, self._steps = 0, 0

    @property
    def ended(self) -> bool:
        """Whether all sizes have been met and held; the last one stays wanted."""
        return self.stage == len(self.sizes)

    def advance(self, n_open: int, ready: bool = True) -> int | None:
        """Takes note of a step after which so many gates were open; returns the size that it ended.

        Only when `ready` may a size end: others may have to be met first.

        Raises:
            ValueError: a size is not met.
        """
        if not self.sizes:
            return None
        target = self.sizes[min(self.stage, len(self.sizes) - 1)]
        away = math.log(max(n_open, 0.5) / target) / FAR
        self.now *= GROWTH ** max(-1.0, min(away, 1.0))
        if self.ended or not ready:
            return None
        self._steps += 1
        over = n_open - target
        met = abs(over) <= max(NEAR * target, 1)
        if (self._steps >= self._hold and met) or (self._steps >= RETURN * self._hold and over < 0):
            self.stage, self._steps = self.stage + 1, 0
            return target
        if self._steps > RETURN * self._hold + PATIENCE:
            raise ValueError(
                f"a circuit of {target} was not reached: {n_open} gates are open after {self._steps} steps: "
                "try a higher rate or another temperature"
            )
        return None

    def state(self) -> Tensor:
        """Where it stands."""
        return torch.tensor([self.now, self.stage, self._steps], dtype=torch.float64)

    def restore(self, state: Tensor) -> None:
        """Stands where `state` was taken."""
        self.now, *counts = state.tolist()
        self.stage, self._steps = map(int, counts)
