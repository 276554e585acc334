"""Runs several jobs at a time, each in a thread that waits for its processes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TypeVar

J = TypeVar("J")
R = TypeVar("R")
BEAT = 5.0
"""Most seconds between two signs of life to other processes."""


def side_by_side(
    take: Callable[[], J | None],
    work: Callable[[J], R],
    n: int,
    stop: threading.Event,
    beat: Callable[[], None] = lambda: None,
) -> Iterator[tuple[J, R]]:
    """Runs n jobs at a time; yields each with its outcome as it ends, in no particular order.

    Whatever ends this early (Ctrl-C, a job's error, a caller that stops iterating) stops the others.

    Args:
        take: returns the next job, or None if none is left.
        work: runs one; it waits for processes, and computes nothing itself.
        n: jobs at a time.
        stop: set when work must end; `work` watches it.
        beat: called every few seconds.
    """
    running: dict[Future[R], J] = {}
    with ThreadPoolExecutor(n) as pool:
        try:
            while True:
                while len(running) < n and (job := take()) is not None:
                    running[pool.submit(work, job)] = job
                if not running:
                    return
                ended, _ = wait(running, timeout=BEAT, return_when=FIRST_COMPLETED)
                beat()
                for future in ended:
                    yield running.pop(future), future.result()
        finally:
            stop.set()
