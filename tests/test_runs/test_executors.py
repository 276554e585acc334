"""Several jobs at a time: each has its outcome, and what ends one early ends all, quickly."""

from __future__ import annotations

import threading
import time

import pytest

from bench.runs.executors import side_by_side


def doubled(jobs: list[int], n: int) -> dict[int, int]:
    waiting = iter(jobs)
    return dict(side_by_side(lambda: next(waiting, None), lambda job: 2 * job, n, threading.Event()))


@pytest.mark.parametrize("n", [1, 2, 5])
def test_each_job_has_its_outcome(n: int) -> None:
    assert doubled([1, 2, 3], n) == {1: 2, 2: 4, 3: 6}


def test_a_job_that_raises_stops_the_others() -> None:
    """Its error comes through at once, though others are at work and more are waiting."""
    waiting, stop, began = iter([60.0, 0.0, 60.0]), threading.Event(), time.perf_counter()

    def work(seconds: float) -> float:
        stop.wait(seconds)
        return 1 / seconds

    with pytest.raises(ZeroDivisionError):
        list(side_by_side(lambda: next(waiting, None), work, 2, stop))
    assert time.perf_counter() - began < 30
