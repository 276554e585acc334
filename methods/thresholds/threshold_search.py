"""From requested sizes to thresholds: a search on edge counts, which mostly fall as the threshold rises."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from methods.thresholds.pruning import FREE, Pruning

LOWEST = 1e-7
"""Effects in nats below this are rounding error."""
SLOPE = -0.25
"""Assumed change of log count per log threshold, until two passes give an estimate."""


class ThresholdSearch:
    """Finds thresholds whose passes keep about as many edges as requested, and never more.

    The count is not quite monotone in the threshold and jumps where edges are removed together, so a size
    may be missed; then the largest circuit found below it is used.
    """

    def __init__(self, pruning: Pruning, threshold: float, attempts: int, tolerance: float) -> None:
        self.pruning, self.threshold = pruning, threshold
        self.attempts, self.tolerance = attempts, tolerance
        self.counts: dict[float, int] = {-math.inf: int(pruning.candidates.sum()), math.inf: 0}
        """Number of edges kept, by threshold; for a pass stopped early, the number when it stopped."""
        self._most = math.inf

    def find(self, sizes: Sequence[int]) -> list[float]:
        """Searches for all sizes, small ones first; returns the thresholds tried."""
        self._try(self.threshold)
        self._most = 1.25 * max(sizes, default=0)
        for n in sorted(set(sizes)):
            for attempt in range(self.attempts):
                enough = min(n * (1 - self.tolerance), self.counts[-math.inf])
                if self.counts[self.best(n)] >= enough:
                    break
                tau = self._next(n, attempt)
                if tau is None:
                    break
                self._try(tau)
        return [tau for tau in self.counts if math.isfinite(tau)]

    def best(self, n: int) -> float:
        """The threshold of the largest circuit of at most n edges."""
        return max(
            (tau for tau, count in self.counts.items() if count <= n), key=lambda t: (self.counts[t], t)
        )

    def circuit(self, tau: float) -> Bool[Tensor, "receivers senders"]:
        """The edges kept at a threshold; all candidates at -inf, none at inf."""
        if math.isinf(tau):
            return self.pruning.candidates & (tau < 0)
        return self.pruning.kept(tau)

    def scores(self) -> Float[Tensor, "receivers senders"]:
        """Approximately the highest threshold at which each edge is still kept.

        This is the edge's effect in the highest pass that keeps it, capped at the next threshold tried. If no
        pass keeps it, it is the effect in the lowest pass, or 0 if it was removed untested there. Edges that
        are not candidates score below all others.
        """
        taus = sorted(tau for tau in self.counts if math.isfinite(tau) and self._whole(tau))
        passes = self.pruning.passes
        scores = torch.where(passes[taus[0]] == FREE, 0.0, passes[taus[0]]).clamp(max=taus[0])
        for tau, above in zip(taus, [*taus[1:], math.inf], strict=True):
            scores = torch.where(passes[tau] >= tau, passes[tau].clamp(max=above), scores)
        least = scores[self.pruning.candidates].min()
        return torch.where(self.pruning.candidates, scores, least - 1.0)

    def _try(self, tau: float) -> None:
        self.counts[tau] = self.pruning.run(tau, self._most)

    def _whole(self, tau: float) -> bool:
        return not self.pruning.passes[tau].isnan().any()

    def _next(self, n: int, attempt: int) -> float | None:
        """A threshold that should keep slightly fewer than n edges; None if there is none left to try."""
        most = self.counts[self.best(n)]
        high = min(tau for tau, count in self.counts.items() if count == most)
        low = max(tau for tau, count in self.counts.items() if count > n and tau < high)
        if high < low * 1.001:
            return None
        goal = n * (1 - self.tolerance / 2)
        if math.isinf(low) or math.isinf(high):
            tau = self._beyond(low if math.isinf(high) else high, goal, attempt)
        else:
            tau = self._inside(low, high, goal)
        tau = max(tau, LOWEST)
        return None if tau in self.counts else tau

    def _inside(self, low: float, high: float, goal: float) -> float:
        """A threshold between a pass that keeps too many edges and one that keeps too few."""
        if self.counts[low] < 1.5 * goal and self._whole(low):
            # the effects of a pass that keeps slightly more show which edges would go first
            effects = self.pruning.passes[low]
            tau = float(effects[effects >= low].sort(descending=True).values[max(0, int(goal) - 1)])
            if low < tau < high and tau not in self.counts:
                return tau
        step = (math.log(goal + 1) - math.log(self.counts[low] + 1)) / self._slope(low, high)
        margin = math.exp(0.1 * math.log(high / low))
        return min(high / margin, max(low * margin, low * math.exp(step)))

    def _beyond(self, nearest: float, goal: float, attempt: int) -> float:
        """A threshold beyond all passes, extrapolated from the slope of the outermost two."""
        finite = sorted(tau for tau in self.counts if math.isfinite(tau))
        pair = finite[:2] if self.counts[nearest] < goal else finite[-2:]
        slope = self._slope(*pair) if len(pair) == 2 else SLOPE
        step = (math.log(goal + 1) - math.log(self.counts[nearest] + 1)) / slope
        # passes that keep too many edges cost most: start with small steps and grow them if they fall short
        least, most = max(0.05, attempt * math.log(4)), (attempt + 1) * math.log(4)
        return nearest * math.exp(math.copysign(min(max(abs(step), least), most), step))

    def _slope(self, low: float, high: float) -> float:
        """Slope of log count against log threshold, which is roughly constant."""
        steps = [math.log(self.counts[tau] + 1) for tau in (low, high)]
        if steps[0] <= steps[1]:
            return SLOPE
        return min(-0.1, (steps[1] - steps[0]) / math.log(high / low))
