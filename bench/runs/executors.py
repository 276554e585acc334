"""Where jobs run: one after the other in this process, or each in a process of its own."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed, wait
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from bench.errors import WorkerDied
from circuitmark.rooms import begin_child

J = TypeVar("J")
R = TypeVar("R")


def run_here(jobs: Sequence[J], work: Callable[[J], R]) -> Iterator[tuple[J, R]]:
    """Does the work of each job in this process, in order; yields each with its outcome as it ends.

    Their peak memory cannot be told apart, so it stays unscored.
    """
    for job in jobs:
        yield job, work(job)


def run_in_processes(
    jobs: Sequence[J], work: Callable[[J], R], n: int, fresh: bool = True
) -> Iterator[tuple[J, R]]:
    """Works on jobs in other processes; yields each with its outcome as it ends, in no order.

    Args:
        jobs: what can be pickled.
        work: a function that can be, such as one of a module.
        n: jobs at a time.
        fresh: a new process for each job, which takes seconds, so that its peak memory is its own.

    Raises:
        WorkerDied: a process was killed (out of memory, say); what was finished is stored, so the
            same command goes on from there.
    """
    context = multiprocessing.get_context("spawn")
    tasks = 1 if fresh else None
    pool = ProcessPoolExecutor(n, context, begin_child, max_tasks_per_child=tasks)
    futures = {pool.submit(work, job): job for job in jobs}
    try:
        for future in as_completed(futures):
            yield futures[future], future.result()
    except BrokenProcessPool as error:
        open_jobs = [job for future, job in futures.items() if not future.done() or future.exception()]
        raise WorkerDied(
            f"a process was killed, perhaps for want of memory; {len(open_jobs)} jobs are open, "
            f"{open_jobs[0]} among them: try a smaller -j; what was finished is kept"
        ) from error
    finally:
        # Interrupted, or a job raised: a pool whose process dies ends all that waits. Cancelled jobs among
        # those would be its undoing, so none is cancelled here.
        while wait(futures, timeout=0).not_done:
            for process in multiprocessing.active_children():
                process.terminate()
            wait(futures, timeout=0.1)
        pool.shutdown()
