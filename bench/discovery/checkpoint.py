"""The saved state of an unfinished discovery, from which a killed run resumes."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from bench.errors import DamagedFile, UnwritableFolder
from bench.files import load_tensors, save_tensors
from bench.schema import Amount, read

SECONDS_BETWEEN = 20.0
"""Least time between two writes; a killed run loses about as much work."""
SHARE_OF_TIME = 0.05
"""Largest share of the time for writing: the gates of a large model's weights take gigabytes."""

Spent = Mapping[str, float | int]


@dataclass(frozen=True)
class _Header:
    spent: Mapping[str, Amount]


class Checkpoint:
    """Named tensors of a method in one file, and what they cost; without a path nothing is saved.

    The file's name contains the job's key, so that other methods, options or engines never read it.
    """

    def __init__(
        self, path: Path | None, spent: Callable[[], Spent], charge: Callable[[Spent], None]
    ) -> None:
        self._path = path
        self._spent, self._charge = spent, charge
        self._due = time.monotonic() + SECONDS_BETWEEN
        self.was_read = False
        """Whether there was something to resume from."""
        self._asked = False
        self._parting = False

    def load(self) -> Mapping[str, Tensor]:
        """What was saved last, charging its cost; empty at the start, or if the file is not a checkpoint."""
        if self._path is None or not self._path.exists():
            return {}
        try:
            tensors, header = load_tensors(self._path)
            spent = read(_Header, header).spent
            if set(spent) != set(self._spent()):
                return {}
        except (DamagedFile, ValueError):
            return {}
        if not self.was_read:
            self._charge(spent)
            self.was_read = True
        return tensors

    def save(self, tensors: Callable[[], Mapping[str, Tensor]]) -> None:
        """Saves what `tensors` returns, unless the last save was a short while ago.

        If nothing can be written, the run continues without: a checkpoint is a convenience.
        """
        self._asked = True
        if self._path is not None and (began := time.monotonic()) >= self._due:
            with contextlib.suppress(UnwritableFolder):
                save_tensors(self._path, tensors(), {"spent": dict(self._spent())})
            ended = time.monotonic()
            self._due = ended + max(SECONDS_BETWEEN, (ended - began) / SHARE_OF_TIME)
        if self._parting:
            _end()

    def part(self, *_: object) -> None:
        """Handles SIGTERM: the next `save` writes and ends the process; one that never saved ends now."""
        if self._path is None or not self._asked:
            _end()
        self._due, self._parting = 0.0, True


def _end() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.raise_signal(signal.SIGTERM)


def forget(path: Path) -> None:
    """Removes a checkpoint after its job has ended, and its folder with the last one."""
    with contextlib.suppress(OSError):  # there is none, or the folder holds others
        path.unlink(missing_ok=True)
        path.parent.rmdir()
