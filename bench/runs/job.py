"""Runs a bundle of jobs: one process discovers, another one evaluates, everything is stored.

A bundle is one discovery, with a job for each ablation that its circuits are scored under; or random draws of
one task, which share the two processes and the common part of the evaluation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from bench.discovery.checkpoint import forget
from bench.progress import Progressed
from bench.runs.children import Limits
from bench.runs.discovering import Errand, discover_apart
from bench.runs.experiment import Job
from bench.runs.scoring import Asked, score_apart
from bench.store.failures import forget_traceback, keep_traceback, kept_traceback
from bench.store.keys import engine
from bench.store.logs import kept_log, log_of
from bench.store.provenance import provenance
from bench.store.record import BENCHMARK, Record, Status
from bench.store.results import Run, Store, now


@dataclass(frozen=True)
class Ended:
    """The outcome of a job."""

    status: Status
    """``ok``, ``declined``, ``skipped`` (the tokenizer does not support the task) or ``failed``."""
    reason: str = ""
    traceback: Path | None = None
    """The file that holds it."""
    log: Path | None = None
    """The file that holds what its processes printed; None where they printed nothing."""

    def __str__(self) -> str:
        files = {"traceback": self.traceback, "log": self.log if self.status == "failed" else None}
        told = ", ".join(f"{name}: {file}" for name, file in files.items() if file)
        where = f" ({told})" if told else ""
        return f"{self.status}: {self.reason}{where}" if self.reason else self.status


def carry_out(
    bundle: Sequence[Job],
    out: Path,
    *,
    threads: int = 1,
    at_a_time: int = 1,
    limits: Limits | None = None,
    progress: Progressed | None = None,
    told: Callable[[str], None] = print,
    unfinished: Path | None = None,
) -> list[Ended]:
    """Runs a bundle of jobs and stores their outcomes, whatever they are.

    The method runs in a process of its own, and what it found is scored in another one, which never imports
    its code. A method that fails or declines, or whose process dies, leaves runs that say so.

    Args:
        bundle: one job, or several of one method on one study, of one discovery or of several.
        out: the results folder.
        threads: torch threads in each process.
        at_a_time: how many bundles run at a time, for the record.
        limits: of discovery.
        progress: called with its progress.
        told: called with messages for the user.
        unfinished: the folder for checkpoints and discoveries, which are left there; if left out, one in
            `out`, cleared when the bundle has ended.

    Returns:
        The outcome of each job, in order.

    Raises:
        UserError: the model or a file cannot be used, or `out` cannot be written.
        Stopped: the user stopped the run.
    """
    limits = limits or Limits()
    held = unfinished or _unfinished(out)
    log = log_of(out.absolute(), bundle[0].stem)
    asked = [Asked(job, _errand(job, threads, held, log), _record(job, threads, at_a_time)) for job in bundle]
    errands = list({each.errand.found: each.errand for each in asked}.values())
    outcome = discover_apart(errands, limits, progress, told)
    if outcome is None:
        outcome = score_apart(asked, out.absolute(), limits, progress, told)
    status: Status = "ok" if outcome is None else outcome.status
    reason = "" if outcome is None else outcome.reason
    stored = {job.stem for job in bundle if Store(out).status(job.stem) == "ok"}
    for each in asked:
        stem = each.job.stem
        forget_traceback(out, stem)
        if outcome is not None and stem not in stored:  # some of several ablations may be stored
            Store(out).save(stem, Run(replace(each.record, status=status, status_reason=reason)))
            keep_traceback(out, stem, outcome.traceback)
        if unfinished is None:
            forget_unfinished(out, each.job, status)
    return [
        ended(job, out, "ok", "") if job.stem in stored else ended(job, out, status, reason) for job in bundle
    ]


def _errand(scored: Job, threads: int, held: Path, log: Path) -> Errand:
    job = scored.discovered
    return Errand(
        study=job.study, method=job.method.text, sizes=job.sizes, unaided=job.unaided,
        method_seed=job.dimensions.method_seed, threads=threads, key=job.key, found=_found(held, job.stem),
        checkpoint=_checkpoint(held, job.stem), log=log,
    )  # fmt: skip


def give_up(job: Job, out: Path, status: Status, reason: str) -> Ended:
    """Stores a job without a result, for a reason that none of its own processes reported.

    Args:
        job: was not run, or was lost.
        out: the results folder.
        status: skipped or failed.
        reason: in words.

    Raises:
        UnwritableFolder: `out` cannot be written.
    """
    record = replace(_record(job, 1, 1), status=status, status_reason=reason)
    Store(out).save(job.stem, Run(record))
    return ended(job, out, status, reason)


def ended(job: Job, out: Path, status: Status, reason: str) -> Ended:
    """The outcome of a job that has been stored.

    Args:
        job: has ended.
        out: the results folder.
        status: its outcome.
        reason: in words.
    """
    return Ended(status, reason, kept_traceback(out, job.stem), kept_log(out, job.stem))


def forget_unfinished(out: Path, job: Job, status: Status) -> None:
    """Removes what an interrupted job would resume from; a failed job keeps its checkpoint for a retry.

    Args:
        out: the results folder.
        job: has ended.
        status: its outcome.
    """
    stem = job.discovered.stem
    if status != "failed":
        forget(_checkpoint(_unfinished(out), stem))
    forget(_found(_unfinished(out), stem))


def _unfinished(out: Path) -> Path:
    return out.absolute() / "unfinished"


def _checkpoint(folder: Path, stem: str) -> Path:
    return folder / f"{stem}.safetensors"


def _found(folder: Path, stem: str) -> Path:
    return folder / f"{stem}.found.safetensors"


def _record(job: Job, threads: int, at_a_time: int) -> Record:
    """The record that every run starts from, whatever its outcome."""
    return Record(
        **asdict(job.dimensions),
        **asdict(job.evaluation),
        model_hash=job.model_hash,
        lineage=job.lineage,
        task_code=job.task_code,
        benchmark=BENCHMARK,
        task_version=job.task.version,
        settings=job.method.settings,
        sizes=job.sizes,
        device=job.device,
        threads=threads,
        engine=engine(),
        created=now(),
        provenance=provenance(),
        status="ok",
        status_reason="",
        jobs=at_a_time,
    )
