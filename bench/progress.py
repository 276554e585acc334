"""How far a run is: bars with time left where somebody watches, a line per finished job everywhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

Progressed = Callable[[int, int, str], None]
"""Told what is done, of how much, and what it is."""
_COLUMNS = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())


@contextmanager
def watched(progress: Progressed | None) -> Iterator[Progressed | None]:
    """What to tell progress to: the one given, otherwise a bar where somebody watches, otherwise nobody."""
    console = Console(stderr=True)
    if progress or not (console.is_terminal or console.is_jupyter):
        yield progress
        return
    with Progress(*_COLUMNS, console=console, transient=True) as bar:
        step = bar.add_task("discovering", total=None)

        def told(done: int, total: int, note: str) -> None:
            bar.update(step, completed=done, total=total, description=note or "discovering")

        yield told


class ProgressDisplay:
    """A bar over jobs and one within the job at hand; on stderr, since stdout is for results."""

    def __init__(self, total: int, finished: int, unit: str = "jobs") -> None:
        console = Console(stderr=True)
        self._progress = Progress(*_COLUMNS, console=console, transient=True)
        self._total, self._done, self._unit = total, finished, unit
        self._jobs = self._progress.add_task(unit, total=total, completed=finished)
        self._step = self._progress.add_task("", total=None, visible=False)
        self._began = time.perf_counter()

    def __enter__(self) -> ProgressDisplay:
        if self._done:
            self._progress.console.print(f"{self._done} of {self._total} {self._unit} are finished already")
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def within(self, done: int, total: int, note: str) -> None:
        """A method's own progress.

        Args:
            done: in whatever unit the method counts.
            total: of the same.
            note: what it is at.
        """
        self._progress.update(
            self._step, completed=done, total=total, visible=True, description=note or "discovering"
        )

    def say(self, text: str) -> None:
        """Tells something beside the bars."""
        self._progress.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def ended(self, text: str) -> None:
        """One job more is finished; jobs may run side by side, so the time told is the run's."""
        minutes, seconds = divmod(round(time.perf_counter() - self._began), 60)
        self._done += 1
        self._progress.update(self._step, visible=False)
        self._progress.update(self._jobs, completed=self._done)
        self.say(f"[{self._done}/{self._total}] {text}, {minutes}:{seconds:02d} since the start")
