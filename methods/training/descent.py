"""The target number of edges of a training, as it falls from all edges through the requested sizes."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Literal

import torch
from torch import Tensor

Evenly = Literal["log", "share"]
"""Scale on which a target falls evenly: the logarithm of the number of edges, or their share."""
NEAR = 0.02
"""A size is reached when the expected number of open edges is within this share of it, or within one."""
PATIENCE = 1000
"""Number of steps to wait for a size after its rest is over."""


class Descent:
    """Falls by half every `halving` steps; rests at each size for `hold` steps, and until it is reached."""

    def __init__(
        self,
        n_edges: int,
        sizes: Iterable[int],
        halving: int,
        hold: int,
        evenly: Evenly = "log",
        afresh: bool = False,
    ) -> None:
        """With `evenly` "share" the target falls at a constant rate, by half of all edges in `halving` steps.

        With `afresh` it falls to every size from all edges.
        """
        self._evenly = evenly
        self.sizes = sorted((n for n in set(sizes) if 0 < n < n_edges), reverse=True)
        above = [n_edges] * len(self.sizes) if afresh else [n_edges, *self.sizes]
        halves = [
            math.log2(a / n) if evenly == "log" else 2 * (a - n) / n_edges
            for a, n in zip(above, self.sizes, strict=False)
        ]
        self._falls = [math.ceil(halving * each) for each in halves]
        self._above, self._hold = above, hold
        self._stage, self._done = 0, 0
        self.taken = 0
        """Steps taken, including those of extended rests."""

    @property
    def ended(self) -> bool:
        """Whether all sizes have been reached."""
        return self._stage == len(self.sizes)

    @property
    def steps(self) -> tuple[int, int]:
        """Steps done and steps in all, without those of extended rests."""
        all_steps = [fall + self._hold for fall in self._falls]
        within = min(self._done, all_steps[self._stage]) if not self.ended else 0
        return sum(all_steps[: self._stage]) + within, sum(all_steps)

    @property
    def target(self) -> float:
        """Number of edges to aim at in the next step."""
        above, n = self._above[self._stage], self.sizes[self._stage]
        fall = self._falls[self._stage]
        share = min(1.0, (self._done + 1) / fall) if fall else 1.0
        if self._evenly == "share":
            return above + share * (n - above)
        return above * math.exp(share * math.log(n / above))

    def advance(self, n_open: float) -> int | None:
        """Records a step after which `n_open` edges were open; returns the size it completed, if any.

        Raises:
            ValueError: a size is not reached.
        """
        self._done += 1
        self.taken += 1
        n, rested = self.sizes[self._stage], self._done - self._falls[self._stage]
        if rested >= self._hold and abs(n_open - n) <= max(NEAR * n, 1):
            self._stage, self._done = self._stage + 1, 0
            return n
        if rested >= self._hold + PATIENCE:
            raise ValueError(
                f"a circuit of {n} edges was not reached: {n_open:.1f} are open after {rested} steps at "
                "that target: try a larger halving or a higher rate"
            )
        return None

    def state(self) -> Tensor:
        """The current state, as three numbers."""
        return torch.tensor([self._stage, self._done, self.taken])

    def restore(self, state: Tensor) -> None:
        """Restores what `state` returned."""
        self._stage, self._done, self.taken = state.tolist()
