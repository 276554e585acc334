"""Reports a run's progress: bars with the time left in a terminal, and a line per finished job everywhere.

For machines, the same as JSON, one object per line.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from bench.errors import Interrupted, UserError
from bench.terminal import outcome

Progressed = Callable[[int, int, str], None]
"""Called with the amount done, the total, and a note on what is being done."""
STEP = 1.0
"""Minimum seconds between two lines of JSON on the steps of one job."""
_COLUMNS = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())


@contextmanager
def watched(progress: Progressed | None) -> Iterator[Progressed | None]:
    """What to report progress to: the callback given, else a bar in a terminal or notebook, else None."""
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
    """A bar over jobs and one within the current job; on stderr, since stdout is for results."""

    def __init__(self, total: int, finished: int, unit: str = "jobs") -> None:
        console = Console(stderr=True)
        self._progress = Progress(*_COLUMNS, console=console, transient=True)
        self._total, self._done, self._unit, self._failed = total, finished, unit, 0
        self._jobs = self._progress.add_task(unit, total=total, completed=finished)
        self._step = self._progress.add_task("", total=None, visible=False)
        self._began = time.perf_counter()

    def __enter__(self) -> ProgressDisplay:
        if self._done:
            self.say(f"{self._done} of {self._total} {self._unit} are already finished")
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def within(self, job: str, done: int, total: int, note: str) -> None:
        """A method's own progress.

        Args:
            job: its name; of several that run at a time, the last to report is shown.
            done: in the method's own unit.
            total: in the same unit.
            note: what it is doing.
        """
        self._progress.update(
            self._step, completed=done, total=total, visible=True, description=note or "discovering"
        )

    def say(self, text: str) -> None:
        """Prints a line above the bars."""
        self._progress.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def ended(self, job: str, text: str, status: str = "ok") -> None:
        """Counts a finished job; jobs may run in parallel, so the time shown is the run's.

        Args:
            job: its name.
            text: what to print about it.
            status: its outcome.
        """
        minutes, seconds = divmod(round(time.perf_counter() - self._began), 60)
        self._done += 1
        self._failed += status == "failed"
        told = f"{self._unit}, {self._failed} failed" if self._failed else self._unit
        self._progress.update(self._step, visible=False)
        self._progress.update(self._jobs, completed=self._done, description=told)
        self.say(f"[{self._done}/{self._total}] {text}, {minutes}:{seconds:02d} since the start")


class ProgressLines:
    """The same for machines: each line on stderr is a JSON object, whose `event` names its kind."""

    def __init__(self, total: int, finished: int) -> None:
        self._total, self._done, self._failed = total, finished, 0
        self._before, self._began = finished, time.perf_counter()
        self._told: dict[str, float] = {}

    def __enter__(self) -> ProgressLines:
        self._tell("begun")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def within(self, job: str, done: int, total: int, note: str) -> None:
        """See `ProgressDisplay.within`; at most once a second."""
        now = time.perf_counter()
        if now - self._told.get(job, self._began) >= STEP:
            self._told[job] = now
            event("step", job=job, done=done, total=total, note=note)

    def say(self, text: str) -> None:
        """See `ProgressDisplay.say`."""
        event("message", text=text)

    def ended(self, job: str, text: str, status: str = "ok") -> None:
        """See `ProgressDisplay.ended`."""
        self._done += 1
        self._failed += status == "failed"
        self._told.pop(job, None)
        self._tell("job", job=job, status=status, text=text)

    def _tell(self, kind: str, **more: Any) -> None:
        seconds, ended = time.perf_counter() - self._began, self._done - self._before
        left = seconds / ended * (self._total - self._done) if ended else None
        event(kind, **more, jobs_done=self._done, jobs_total=self._total, jobs_failed=self._failed,
              seconds=round(seconds, 1), seconds_left=None if left is None else round(left, 1))  # fmt: skip


def event(kind: str, /, **more: Any) -> None:
    """Writes a line for machines."""
    print(json.dumps({"event": kind, **more}), file=sys.stderr, flush=True)


def say(text: str, as_json: bool) -> None:
    """Prints a line outside any display."""
    if as_json:
        event("message", text=text)
    else:
        print(text, file=sys.stderr)


@contextmanager
def errors_as_events(as_json: bool) -> Iterator[None]:
    """Reports an error that the user can fix, or an interrupt, as a line for machines if they are reading.

    Raises:
        SystemExit: it was reported so.
    """
    try:
        yield
    except (UserError, KeyboardInterrupt) as error:
        if not as_json:
            raise
        code, text = outcome(error)
        kind = type(error) if isinstance(error, UserError) else Interrupted
        event("error", kind=kind.__name__, text=text, exit_code=code)
        raise SystemExit(code) from error
