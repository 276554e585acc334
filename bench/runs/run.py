"""Runs an experiment: the jobs that are not finished, then the leaderboard."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import IncompleteResults, Interrupted, UsageError
from bench.progress import ProgressDisplay, ProgressLines, say
from bench.runs.beforehand import unfit_tasks
from bench.runs.children import Limits, Stopped
from bench.runs.executors import side_by_side
from bench.runs.experiment import Experiment, Job, bundles
from bench.runs.job import Ended, carry_out, forget_unfinished, give_up
from bench.runs.spent import in_words, spending
from bench.store.asked import ask
from bench.store.at_work import AtWork, locked, reporting
from bench.store.results import Store

if TYPE_CHECKING:
    from bench.runs.cluster import Cluster


@dataclass(frozen=True)
class How:
    """How an experiment is run; no result depends on it."""

    n: int | None = None
    """Jobs at a time; None: one, or on a cluster as many as its workers take."""
    threads: int = 1
    """Threads of each job."""
    limits: Limits = field(default_factory=Limits)
    """Limits of each job."""
    retry_failed: bool = False
    """Runs failed jobs again."""
    refuse_unfit: bool = False
    """Makes a task that the model cannot do an error; otherwise it is skipped."""
    even_if_unable: bool = False
    """Runs tasks on which the model is no better than chance."""
    scheduler: str | None = None
    """The scheduler of the cluster that runs the jobs; None: this machine runs them."""
    as_json: bool = False
    """Reports progress to machines, as JSON."""


def run_experiment(
    experiment: Experiment, out: Path, how: How | None = None, *, report: Callable[[Path], None]
) -> bool:
    """Runs the unfinished jobs of an experiment, then writes the report unless its files are current.

    Several processes may share a results folder: each takes jobs that no other is running.

    Args:
        experiment: what to run.
        out: the results folder; what is finished there is not run again.
        how: how to run it.
        report: writes the report of the folder that it is given.

    Returns:
        False if one of its jobs failed, now or before.

    Raises:
        UserError: a name is wrong, a file is damaged, a folder cannot be used: before any job runs,
            except where a folder fills up or vanishes or the user stops it.
    """
    how = how or How()
    jobs = experiment.jobs(here=how.scheduler is None)
    store = Store(out)
    first = jobs[0]
    setting = (first.evaluation, first.dimensions.model, first.model_hash)
    store.check_setting(*setting)
    store.check_tasks([(job.dimensions, job.task_code) for job in jobs])
    try:
        open_jobs = _open(jobs, store, how)
        with _cluster(open_jobs, how) as cluster:
            unfit = _unfit(open_jobs, how, cluster) if open_jobs else {}
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
                    with cluster.sharing(out) if cluster else nullcontext():
                        _run(open_jobs, len(jobs), store, how, at_work, unfit, cluster)
                else:
                    say(f"all {len(jobs)} jobs are already finished", how.as_json)
                if not (elsewhere := at_work.elsewhere()):
                    _clear(jobs, store)
        if not store.is_empty() and (open_jobs or not store.is_reported()):
            with reporting(out), spending("report"):
                report(out)
    except (KeyboardInterrupt, Stopped) as error:
        raise Interrupted(
            "stopped; what was finished is kept: the same command resumes from there"
        ) from error
    say(in_words(), how.as_json)
    return _ended_well(jobs, store, elsewhere, how.as_json)


def _open(jobs: Sequence[Job], store: Store, how: How) -> list[Job]:
    again = {"failed": how.retry_failed, "skipped": how.even_if_unable}
    done = {None, *(status for status, wanted in again.items() if wanted)}
    return [job for job in jobs if store.status(job.stem) in done]


@contextmanager
def _cluster(jobs: Sequence[Job], how: How) -> Iterator[Cluster | None]:
    """The cluster that runs these jobs, if any; its workers have been checked against this machine."""
    if how.scheduler is None or not jobs:
        yield None
        return
    try:
        from bench.runs.cluster import Cluster
    except ModuleNotFoundError as error:
        raise UsageError(
            f"--scheduler needs Dask ({error.name} is not installed): pip install 'circuitmark[dask]'"
        ) from error
    with Cluster(how.scheduler, partial(say, as_json=how.as_json)) as cluster:
        cluster.refuse_unlike(jobs)
        yield cluster


def _unfit(jobs: Sequence[Job], how: How, cluster: Cluster | None) -> Mapping[str, str]:
    if cluster:
        return cluster.unfit_tasks(jobs, how.limits, how.even_if_unable)
    return unfit_tasks(jobs, how.limits, even_if_unable=how.even_if_unable)


def _run(
    jobs: Sequence[Job],
    total: int,
    store: Store,
    how: How,
    at_work: AtWork,
    unfit: Mapping[str, str],
    cluster: Cluster | None,
) -> None:
    waiting = bundles(jobs)
    ablations = {job.dimensions.ablation for job in jobs}
    n = how.n or (cluster.slots(jobs[0].device) if cluster else 1)
    do = cluster.carry_out if cluster else carry_out

    with (ProgressLines if how.as_json else ProgressDisplay)(total, total - len(jobs)) as display:

        def take() -> tuple[Job, ...] | None:
            """The next jobs that are not done and that no other process is running."""
            while waiting and (stems := at_work.take([[job.stem for job in each] for each in waiting])):
                (bundle,) = (each for each in waiting if any(job.stem in stems for job in each))
                waiting.remove(bundle)
                if others := tuple(job for job in bundle if job.stem not in stems):
                    waiting.append(others)  # the process that runs them may die
                left = tuple(_open([job for job in bundle if job.stem in stems], store, how))
                at_work.give_back({*stems} - {job.stem for job in left})
                if left:
                    return left
            return None

        def work(bundle: tuple[Job, ...]) -> list[Ended]:
            reason = unfit.get(bundle[0].dimensions.task)
            if reason is not None:
                return [give_up(job, store.folder, "skipped", reason) for job in bundle]
            return do(
                bundle, store.folder, threads=how.threads, at_a_time=n, limits=how.limits,
                progress=partial(display.within, bundle[0].stem), told=display.say,
            )  # fmt: skip

        for bundle, outcomes in side_by_side(take, work, n, how.limits.stop, at_work.beat):
            at_work.give_back([job.stem for job in bundle])
            for job, ended in zip(bundle, outcomes, strict=True):
                told = job.dimensions
                on = f" on data {told.data_seed}" if told.data_seed else ""
                under = f" under {told.ablation}" if len(ablations) > 1 else ""
                name = f"{told.task} {job.method.text} seed {told.method_seed}{on}{under}"
                display.ended(job.stem, f"{name}: {ended}", ended.status)


def _clear(jobs: Sequence[Job], store: Store) -> None:
    """Removes what is left of a process that was killed between storing a run and cleaning up."""
    if (store.folder / "unfinished").exists():
        wanted = {job.discovered.stem for job in _open(jobs, store, How(retry_failed=True))}
        for job in jobs:
            if job.discovered.stem not in wanted:
                forget_unfinished(store.folder, job, "ok")


def _ended_well(jobs: Sequence[Job], store: Store, elsewhere: Mapping[str, str], as_json: bool) -> bool:
    """Whether all jobs are stored and none of them failed.

    Raises:
        IncompleteResults: one is missing, and no process is running it.
    """
    statuses = {job.stem: store.status(job.stem) for job in jobs}
    lost = [stem for stem, status in statuses.items() if status is None and stem not in elsewhere]
    if lost:
        named = ", ".join(lost[:3]) + (", ..." if len(lost) > 3 else "")
        raise IncompleteResults(
            f"{len(lost)} of {len(jobs)} jobs are not in {store.folder} ({named}): the folder was changed "
            "in the meantime; the same command runs them"
        )
    if others := {stem: who for stem, who in elsewhere.items() if stem in statuses}:
        who = ", ".join(sorted({*others.values()}))
        say(
            f"{len(others)} of {len(jobs)} jobs are being run by {who}: the last to end writes the report",
            as_json,
        )
    failed = sum(status == "failed" for status in statuses.values())
    if failed:
        say(f"{failed} of {len(jobs)} jobs failed: --retry-failed runs them again", as_json)
    return not failed
