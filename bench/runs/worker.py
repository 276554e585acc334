"""Runs on the workers of a cluster (`cluster.py`): a job, in a folder of its own, while it is wanted."""

from __future__ import annotations

import asyncio
import multiprocessing
import signal
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from time import monotonic, sleep

from distributed import Reschedule, Status, Worker, get_worker
from distributed.worker import thread_state

from bench.errors import UsageError, UserError
from bench.models.load import find_identified
from bench.names import choose_method
from bench.runs.beforehand import unfit_tasks
from bench.runs.children import Limits, Stopped
from bench.runs.experiment import Job, task_code
from bench.runs.job import carry_out
from bench.store.keys import code_of, engine
from bench.store.logs import LOGS

TICK = 0.2
"""Seconds between two checks of whether a job is still wanted."""
STEP = 1.0
"""Minimum seconds between two progress reports of a job."""
ENDING = (Status.closing, Status.closing_gracefully, Status.closed, Status.failed)


@dataclass(frozen=True)
class How:
    """What a worker is told besides the job."""

    topic: str
    """The Dask topic of its progress reports."""
    threads: int
    at_a_time: int
    seconds: float | None
    memory: int | None
    engine: str
    """The driver's engine hash."""
    token: Path | None = None
    """A file in the driver's results folder that holds the topic: a worker that shares the folder sees it."""

    @property
    def unfinished(self) -> Path | None:
        """The driver's folder of unfinished jobs, if this worker sees it."""
        with suppress(OSError, UnicodeDecodeError):
            if self.token and self.token.read_text(encoding="utf-8") == self.topic:
                return self.token.parent / "unfinished"
        return None


@cache
def _model(run: str, model: str, revision: str) -> tuple[Path | None, str]:
    """Once per run: hashing a model's files takes long."""
    return find_identified(model, revision)


def unlike(jobs: Sequence[Job], how: How) -> str:
    """Why this worker cannot run these jobs, or would get other results; empty if neither."""
    if multiprocessing.current_process().daemon:
        return "may not start processes: start it with --no-nanny or DASK_DISTRIBUTED__WORKER__DAEMON=False"
    if how.engine != engine():
        return "has a different engine: install the same commit of circuitmark there"
    for job in jobs:
        try:
            if _model(how.topic, job.model, job.revision)[1] != job.model_hash:
                return f"has different files for the model '{job.model}'"
        except UserError as error:
            return f"has no model '{job.model}': {error}"
        task = job.task.text
        try:
            method = code_of(*choose_method(job.method.text).files)
            code = task_code(task)
        except UserError as error:
            return f"cannot run '{job.method.text}' on '{task}': {error}"
        if method != job.method_code:
            return f"has different code for '{job.method.text}' (methods are not sent: copy the file there)"
        if code != job.task_code:
            return f"has different code for the task '{task}'"
    return ""


def sees(how: How) -> bool:
    """Whether this worker sees the driver's results folder."""
    return how.unfinished is not None


def unfit(jobs: Sequence[Job], even_if_unable: bool) -> Mapping[str, str]:
    """As `beforehand.unfit_tasks`."""
    with _while_wanted() as stop:
        return unfit_tasks(jobs, Limits(stop=stop), even_if_unable=even_if_unable)


def run_bundle(bundle: Sequence[Job], how: How) -> dict[str, bytes]:
    """Runs a bundle of jobs in a folder of its own, and returns the files that it wrote there."""
    worker, key = get_worker(), thread_state.key
    if reason := unlike(bundle, how):  # it may have joined after the others were checked
        raise UsageError(f"the worker {worker.address} {reason}")
    bundle = [replace(job, folder=_model(how.topic, job.model, job.revision)[0]) for job in bundle]
    last = 0.0

    def progress(done: int, total: int, note: str) -> None:
        nonlocal last
        if (now := monotonic()) - last > STEP:
            last = now
            worker.log_event(how.topic, {"key": key, "done": done, "total": total, "note": note})

    def told(text: str) -> None:
        worker.log_event(how.topic, {"key": key, "told": text})

    with tempfile.TemporaryDirectory(prefix="circuitmark-") as name, _while_wanted() as stop:
        folder = Path(name)
        carry_out(
            bundle, folder, threads=how.threads, at_a_time=how.at_a_time, progress=progress, told=told,
            limits=Limits(how.seconds, how.memory, stop), unfinished=how.unfinished or folder / "unfinished",
        )  # fmt: skip
        return {
            str(path.relative_to(folder)): path.read_bytes()
            for part in ("runs", "circuits", "failures", LOGS)
            for path in (folder / part).rglob("*")
            if path.is_file()
        }


@contextmanager
def _while_wanted() -> Iterator[threading.Event]:
    """An event that is set when the current task is cancelled, or its worker shuts down.

    Raises:
        Reschedule: the task was stopped before it ended.
    """
    worker, key = get_worker(), thread_state.key
    stop, over = threading.Event(), threading.Event()

    def watch() -> None:
        while not over.wait(TICK):
            task = worker.state.tasks.get(key)
            wanted = task is not None and task.state != "cancelled"
            if not wanted or _leaving.is_set() or worker.status in ENDING:
                stop.set()

    _at_work.add(key)
    worker.loop.add_callback(_answer_sigterm, worker)
    threading.Thread(target=watch, daemon=True).start()
    try:
        yield stop
    except Stopped:
        _at_work.discard(key)
        while _leaving.is_set() and worker.status not in ENDING:  # so that it does not come back here
            sleep(TICK)
        raise Reschedule from None
    finally:
        over.set()
        _at_work.discard(key)


_leaving = threading.Event()
"""Set when this worker has been told to shut down."""
_at_work: set[str] = set()
"""Tasks whose processes have not ended."""
_endings: set[asyncio.Task[None]] = set()


def _answer_sigterm(worker: Worker) -> None:
    """On the worker's event loop: on SIGTERM, jobs write checkpoints before the scheduler moves them."""

    async def leave() -> None:
        _leaving.set()
        while _at_work:
            await asyncio.sleep(TICK)
        await worker.close_gracefully(restart=True, reason="SIGTERM")

    with suppress(ValueError, RuntimeError):  # not the main thread
        asyncio.get_running_loop().add_signal_handler(
            signal.SIGTERM, lambda: _endings.add(asyncio.ensure_future(leave()))
        )
