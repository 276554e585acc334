"""An experiment from start to end: what is not finished is run, then the leaderboard is written."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.errors import IncompleteResults, Interrupted, UsageError
from bench.progress import ProgressDisplay
from bench.runs.beforehand import unfit_tasks
from bench.runs.children import Limits, Stopped
from bench.runs.executors import side_by_side
from bench.runs.experiment import Experiment, Job
from bench.runs.job import Ended, carry_out, leave_out
from bench.store.asked import ask
from bench.store.at_work import AtWork, locked
from bench.store.results import Store

PATIENCE = 600.0
"""Seconds to wait for another process that is writing the report."""


@dataclass(frozen=True)
class How:
    """How an experiment is run; no result depends on it."""

    n: int = 1
    """Jobs at a time."""
    threads: int = 1
    """Of each."""
    limits: Limits = field(default_factory=Limits)
    """That each must keep."""
    retry_failed: bool = False
    """Runs again what failed before."""
    refuse_unfit: bool = False
    """Makes a task that the model cannot do an error; otherwise it is skipped."""
    even_if_unable: bool = False
    """Runs a task that the model does no better than chance."""


def run_experiment(
    experiment: Experiment, out: Path, how: How | None = None, *, report: Callable[[Path], None]
) -> bool:
    """Runs what is open of an experiment, then writes the report unless its files are current.

    Several processes may share a results folder: each takes jobs that no other one is at.

    Args:
        experiment: what is run.
        out: the results folder; what is finished there is not run again.
        how: it is run.
        report: writes the report of the folder that it is handed.

    Returns:
        False when one of its jobs failed, now or before.

    Raises:
        UserError: a name is wrong, a file is damaged, a folder cannot be used: before any job runs,
            except where a folder fills up or vanishes or the user stops it.
    """
    how = how or How()
    jobs = experiment.jobs()
    store = Store(out)
    first = jobs[0]
    setting = (first.evaluation, first.dimensions.model, first.model_hash)
    store.check_setting(*setting)
    try:
        open_jobs = _open(jobs, store, how)
        unfit = unfit_tasks(open_jobs, how.limits, even_if_unable=how.even_if_unable) if open_jobs else {}
        for task, reason in unfit.items() if how.refuse_unfit else ():
            raise UsageError(
                f"the model '{first.model}' cannot do the task '{task}': {reason}; "
                "choose another with -t or --model"
            )
        with AtWork(out, *setting) as at_work:
            with locked(out):
                store.check_setting(*setting)
                at_work.begin()
                ask(out, ((job.dimensions, job.lineage, job.stem) for job in jobs))
            if open_jobs:
                _run(open_jobs, len(jobs), store, how, at_work, unfit)
            else:
                print(f"all {len(jobs)} jobs are finished already", file=sys.stderr)
            elsewhere = at_work.elsewhere()
        if open_jobs or not store.is_reported():
            with locked(out, "-report", PATIENCE):
                report(out)
    except (KeyboardInterrupt, Stopped) as error:
        raise Interrupted(
            "stopped; what was finished is kept: the same command goes on from there"
        ) from error
    return _ended_well(jobs, store, elsewhere)


def _open(jobs: Sequence[Job], store: Store, how: How) -> list[Job]:
    done = {None} | ({"failed"} if how.retry_failed else set())
    return [job for job in jobs if store.status(job.stem) in done]


def _run(
    jobs: Sequence[Job], total: int, store: Store, how: How, at_work: AtWork, unfit: Mapping[str, str]
) -> None:
    waiting = {job.stem: job for job in jobs}

    with ProgressDisplay(total, total - len(jobs)) as display:

        def take() -> Job | None:
            """The next job that neither is done nor another process is at."""
            while waiting and (stem := at_work.take(waiting)) is not None:
                job = waiting.pop(stem)
                if _open([job], store, how):
                    return job
                at_work.give_back(stem)
            return None

        def work(job: Job) -> Ended:
            if job.dimensions.task in unfit:
                return leave_out(job, store.folder, unfit[job.dimensions.task])
            return carry_out(
                job, store.folder, threads=how.threads, at_a_time=how.n, limits=how.limits,
                progress=display.within if how.n == 1 else None, told=display.say,
            )  # fmt: skip

        for job, ended in side_by_side(take, work, how.n, how.limits.stop, at_work.beat):
            at_work.give_back(job.stem)
            told = job.dimensions
            display.ended(f"{told.task} {job.method.text} seed {told.method_seed}: {ended}")


def _ended_well(jobs: Sequence[Job], store: Store, elsewhere: Mapping[str, str]) -> bool:
    """Whether all jobs are there and none of them failed.

    Raises:
        IncompleteResults: one is not there, and nobody is at it.
    """
    statuses = {job.stem: store.status(job.stem) for job in jobs}
    lost = [stem for stem, status in statuses.items() if status is None and stem not in elsewhere]
    if lost:
        named = ", ".join(lost[:3]) + (", ..." if len(lost) > 3 else "")
        raise IncompleteResults(
            f"{len(lost)} of {len(jobs)} jobs are not in {store.folder} ({named}): the folder was changed "
            "meanwhile; the same command runs them"
        )
    if others := sorted({who for stem, who in elsewhere.items() if stem in statuses}):
        print(
            f"{len(elsewhere)} jobs are with {', '.join(others)}: who ends last reports all", file=sys.stderr
        )
    failed = sum(status == "failed" for status in statuses.values())
    if failed:
        print(f"{failed} of {len(jobs)} jobs failed: --retry-failed runs them again", file=sys.stderr)
    return not failed
