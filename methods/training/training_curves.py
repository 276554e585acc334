"""The curves of a training, thinned out for the record."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

EVERY = 5
"""Number of steps averaged into one point of a trace."""


class TrainingCurves:
    """Named series over the steps of a training; each point is the mean of `every` steps."""

    def __init__(self, every: int = EVERY) -> None:
        self.every = every
        self._rows: list[Mapping[str, float]] = []
        self._points: dict[str, list[float]] = {}

    def add(self, step: int, **values: float) -> None:
        """Records a step."""
        self._rows.append({"step": step, **values})
        if len(self._rows) == self.every:
            self.end_point()

    def end_point(self) -> None:
        """Ends the current mean early, with fewer steps, because another training follows."""
        for name in self._rows[0] if self._rows else ():
            mean = sum(row[name] for row in self._rows) / len(self._rows)
            self._points.setdefault(name, []).append(mean)
        self._rows = []

    def series(self) -> dict[str, list[float]]:
        """The means by name, including "step"."""
        return dict(self._points)

    def state(self) -> dict[str, Tensor]:
        """The points as tensors; the steps of an unfinished mean are lost."""
        return {name: torch.tensor(points).double() for name, points in self._points.items()}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Restores what `state` returned."""
        self._points = {name: points.tolist() for name, points in state.items()}
