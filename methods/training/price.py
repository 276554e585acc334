"""The price of an open gate, which adapts so that the requested number stay open."""

from __future__ import annotations

import math
from collections.abc import Collection

import torch
from torch import Tensor

GROWTH = 1.02
"""Maximum factor on the price per step: it doubles in 35 steps."""
FAR = 0.1
"""Distance from the requested size, in log gates, beyond which the price moves at full speed."""
NEAR = 0.02
"""A size is met when the number of open gates differs from it by at most this share, or by one."""
RETURN = 4
"""With too few gates open, a size ends after this many times `hold` steps. Until then gates may reopen as the
price falls; those that no gradient pulls never do."""
PATIENCE = 3000
"""A size fails this many steps after the end of that wait (RETURN times `hold`)."""


class Price:
    """Rises while more gates are open than requested and falls while fewer are, for one size after another.

    The nearer the size, the slower it moves. A size ends once it is met after `hold` steps, so that the gates
    that do best at that price are open, or later if still too few are open. If no size is requested, the
    price is constant.
    """

    def __init__(self, start: float, sizes: Collection[int], hold: int) -> None:
        """`sizes` must be above 0."""
        self.now = start
        self.sizes, self._hold = sorted(set(sizes), reverse=True), hold
        self.stage, self._steps = 0, 0

    @property
    def ended(self) -> bool:
        """Whether all sizes have been met and held; the price then keeps adapting to the last one."""
        return self.stage == len(self.sizes)

    def advance(self, n_open: int, ready: bool = True) -> int | None:
        """Records a step after which `n_open` gates were open; returns the size it completed, if any.

        A size can end only when `ready`, since other groups may have to meet theirs first.

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
                f"a size of {target} was not reached: {n_open} gates are open after {self._steps} steps: "
                "try a higher rate or another temperature"
            )
        return None

    def state(self) -> Tensor:
        """The current state."""
        return torch.tensor([self.now, self.stage, self._steps], dtype=torch.float64)

    def restore(self, state: Tensor) -> None:
        """Restores what `state` returned."""
        self.now, *counts = state.tolist()
        self.stage, self._steps = map(int, counts)
