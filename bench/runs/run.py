"""An experiment from start to end: what is not finished is run, then the leaderboard is written."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from bench.errors import Interrupted, UsageError
from bench.runs.experiment import Experiment, Job
from bench.store.results import Store, sole_user


def run_experiment(
    experiment: Experiment,
    out: Path,
    *,
    n: int = 1,
    threads: int = 1,
    refuse_unfit: bool = False,
    report: Callable[[Path], None],
) -> bool:
    """Runs what is open of an experiment, then writes the report unless its files are current.

    Args:
        experiment: what is run.
        out: the results folder; what is finished there is not run again.
        n: jobs at a time; 1 stays in this process.
        threads: of each job.
        refuse_unfit: makes a task that the model does not support an error; otherwise it is skipped.
        report: writes the report of the folder that it is handed.

    Returns:
        False when a job failed.

    Raises:
        UserError: a name is wrong, a file is damaged, a folder cannot be used; before any job runs,
            except where a folder fills up, a process is killed or the user stops it.
    """
    jobs = experiment.jobs()
    store = Store(out)
    store.check_setting(jobs[0].evaluation, jobs[0].dimensions.model, jobs[0].model_hash)
    open_jobs = [job for job in jobs if not store.finished(job.stem)]
    superseded = store.superseded(job.stem for job in jobs if job not in open_jobs)
    statuses: list[str] = []
    if open_jobs:
        _try_model(open_jobs, refuse_unfit)
    else:
        print(f"all {len(jobs)} jobs are finished already", file=sys.stderr)
    if open_jobs or superseded or not store.is_reported():
        with sole_user(out):
            for stem in superseded:
                store.confirm(stem)
            if open_jobs:
                statuses = _run(open_jobs, len(jobs), out, n, threads)
            report(out)
    return "failed" not in statuses


def _run(jobs: Sequence[Job], total: int, out: Path, n: int, threads: int) -> list[str]:
    from bench.progress import ProgressDisplay
    from bench.runs.executors import run_here, run_in_processes
    from bench.runs.job import execute

    statuses = []
    try:
        with ProgressDisplay(total, total - len(jobs)) as display:
            work = partial(execute, out=out, threads=threads, n_processes=n)
            ended = (
                run_here(jobs, partial(work, progress=display.within))
                if n == 1
                else run_in_processes(jobs, work, n)
            )
            for job, status in ended:
                statuses.append(status)
                display.ended(
                    f"{job.dimensions.task} {job.method.text} seed {job.dimensions.method_seed}: {status}"
                )
    except KeyboardInterrupt as error:
        raise Interrupted(
            "stopped; what was finished is kept: the same command goes on from there"
        ) from error
    return statuses


def _try_model(jobs: Sequence[Job], refuse_unfit: bool) -> None:
    """Loads the model, and refuses what it cannot do, before anything is written."""
    from bench.models.load import load_model, program_of
    from bench.names import get_task
    from tasks.base import Split, TaskError

    if program_of(jobs[0].model) is not None:
        jobs[0].study()
        return
    evaluation = jobs[0].evaluation
    model = load_model(jobs[0].model, evaluation.dtype, jobs[0].device, jobs[0].revision)
    splits: list[tuple[Split, int]] = [
        ("discovery", max(job.dimensions.n_discovery for job in jobs)),
        (evaluation.split, evaluation.n_evaluation),
    ]
    for task in dict.fromkeys(job.dimensions.task for job in jobs) if refuse_unfit else ():
        for split, count in splits:
            try:
                get_task(task).examples(model.tokenizer, split, count, 0)
            except TaskError as error:
                raise UsageError(
                    f"the model '{model.name}' cannot do the task '{task}': {error}; "
                    "choose another with -t or --model"
                ) from error
