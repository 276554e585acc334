"""Several pieces of work at a time, each seen to by a thread that waits for processes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TypeVar

J = TypeVar("J")
R = TypeVar("R")
BEAT = 5.0
"""Seconds after which others are told that this process is alive."""


def side_by_side(
    take: Callable[[], J | None],
    work: Callable[[J], R],
    n: int,
    stop: threading.Event,
    beat: Callable[[], None] = lambda: None,
) -> Iterator[tuple[J, R]]:
    """Works on n jobs at a time; yields each with its outcome as it ends, in no order.

    Whatever ends this early (Ctrl-C, an error of a job, a caller that asks for no more) stops the others.

    Args:
        take: the next job, or None where there is none left.
        work: does one; it waits for processes, and computes nothing itself.
        n: jobs at a time.
        stop: set when work is to end; `work` looks at it.
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
