"""What an open gate costs, so that as many stay open as are wanted."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

GROWTH = 1.02
"""Of the price, in a step: it doubles in 35."""
PATIENCE = 3000
"""Steps after which a size is given up."""


class Price:
    """Rises while more gates are open than wanted and falls while fewer are; for one size after the other.

    A size is first met, then held for some steps, so that the gates which do best at that price stay. Where
    no size is wanted the price stays.
    """

    def __init__(self, start: float, sizes: Iterable[int], hold: int) -> None:
        self.now = start
        self.sizes, self._hold = sorted(set(sizes), reverse=True), hold
        self._stage, self._steps, self._met = 0, 0, -1

    @property
    def ended(self) -> bool:
        """Whether all sizes have been met and held; the last one stays wanted."""
        return self._stage == len(self.sizes)

    def advance(self, n_open: int) -> int | None:
        """Takes note of a step after which so many gates were open; gives the size that it ended.

        Raises:
            ValueError: a size is not met.
        """
        if not self.sizes:
            return None
        target = self.sizes[min(self._stage, len(self.sizes) - 1)]
        self.now *= GROWTH if n_open > target else 1 / GROWTH
        if self.ended:
            return None
        self._steps += 1
        if self._met < 0 and n_open <= target:
            self._met = self._steps
        if self._met >= 0 and self._steps >= self._met + self._hold:
            self._stage, self._steps, self._met = self._stage + 1, 0, -1
            return self.sizes[self._stage - 1]
        if self._met < 0 and self._steps > PATIENCE:
            raise ValueError(
                f"a circuit of {target} was not reached: {n_open} gates are open after {self._steps} "
                "steps: try a higher rate or another temperature"
            )
        return None

    def state(self) -> Tensor:
        """Where it stands."""
        return torch.tensor([self.now, self._stage, self._steps, self._met], dtype=torch.float64)

    def restore(self, state: Tensor) -> None:
        """Stands where `state` was taken."""
        self.now, *counts = state.tolist()
        self._stage, self._steps, self._met = map(int, counts)
