"""What an unfinished discovery leaves behind, so that a killed run goes on from there."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path

from torch import Tensor

from bench.errors import DamagedFile
from bench.files import load_tensors, save_tensors


class Checkpoint:
    """Named tensors of a method in one file, with the work that they cost; without a path, nothing is kept.

    The file's name carries the job's key, so other code or other options never meet it. What was spent after
    the last save is spent again, and not charged twice.
    """

    def __init__(
        self,
        path: Path | None = None,
        spent: Callable[[], Mapping[str, float]] = dict,
        seconds_between: float = 20.0,
    ) -> None:
        self.path = path
        self.spent_before: dict[str, float] = {}
        """What `spent` said when the file that was loaded was written."""
        self._spent = spent
        self._seconds_between = seconds_between
        self._saved = time.monotonic()

    def load(self) -> dict[str, Tensor]:
        """What was saved last; empty at the start, or where the file is damaged."""
        if self.path is None or not self.path.exists():
            return {}
        try:
            tensors, header = load_tensors(self.path)
        except DamagedFile:
            return {}
        self.spent_before = dict(header.get("spent", {}))
        return tensors

    def save(self, tensors: Mapping[str, Tensor]) -> None:
        """Keeps these tensors, unless it did so a few seconds ago."""
        if self.path is None or time.monotonic() - self._saved < self._seconds_between:
            return
        save_tensors(self.path, tensors, {"spent": dict(self._spent())})
        self._saved = time.monotonic()

    def clear(self) -> None:
        """Forgets it all, when the job has ended."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)
