"""Jobs on a Dask cluster: run by its workers, and stored by this process alone.

A worker runs a job in a temporary folder, as any machine would, and sends back the files that it wrote. This
module needs Dask, and is imported only if a scheduler is named.
"""

from __future__ import annotations

import logging
import os
import tempfile
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import dask
from distributed import Client, Future, KilledWorker, LocalCluster, Worker

from bench.errors import LostScheduler, UsageError
from bench.files import write_atomically
from bench.models.load import PROGRAM
from bench.progress import Progressed
from bench.runs.children import Limits, Stopped
from bench.runs.experiment import Job
from bench.runs.job import Ended, ended, forget_unfinished, give_up
from bench.runs.worker import TICK, How, run_bundle, sees, unfit, unlike
from bench.store.failures import forget_traceback
from bench.store.keys import engine
from bench.store.logs import LOGS, append
from bench.store.results import Run, Store, StrayOutputs

ANSWERS = 5.0
"""Seconds within which a scheduler must answer."""
SILENT = logging.CRITICAL + 1
DEATHS = 2
"""Dead workers after which a job is given up: it is retried once."""
LOCAL = "local:"
DEAF = "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)"
"""Run first by workers on this machine: only the command handles Ctrl-C."""
GPU = "GPU"
"""The workers' name of the resource of which a job on a GPU takes one."""


class Cluster:
    """The workers of a scheduler, from the first check of them to the end of the context.

    Args:
        scheduler: its address, or ``local:N`` for N workers on this machine, which end with the context.
        told: called with messages for the user.

    Raises:
        UsageError: no scheduler answers there.
    """

    def __init__(self, scheduler: str, told: Callable[[str], None]) -> None:
        self._scheduler, self._told = scheduler, told
        self._topic = f"circuitmark-{uuid.uuid4().hex}"
        self._listening: dict[str, tuple[Progressed | None, Callable[[str], None]]] = {}
        self._lost: defaultdict[str, list[str]] = defaultdict(list)
        self._token: Path | None = None
        self.again = 0
        """Number of jobs restarted because a worker died."""

    def __enter__(self) -> Cluster:
        for handler in logging.getLogger("distributed").handlers:  # we report what matters ourselves
            handler.setLevel(SILENT)
        with ExitStack() as stack:
            address = self._scheduler
            if address.startswith(LOCAL):
                address = stack.enter_context(_local(address)).scheduler_address
            try:
                client = Client(address, timeout=ANSWERS, set_as_default=False)
            except (OSError, TimeoutError, ValueError, TypeError) as error:
                raise UsageError(
                    f"no scheduler answers at '{self._scheduler}' within {ANSWERS:g} seconds: start one with "
                    "`dask scheduler`, or give --scheduler local:N"
                ) from error
            self._client = stack.enter_context(client)
            if not client.nthreads():
                self._told(f"no worker has joined {address} yet: waiting for one")
                client.wait_for_workers(1)
            self._offered = _offered(client)
            client.subscribe_topic(self._topic, self._hear)
            client.subscribe_topic("all", self._hear_of_workers)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        if self.again:
            self._told(f"jobs started again because a worker died: {self.again}")
        self._stack.close()

    def slots(self, device: str) -> int:
        """How many jobs the workers take at a time: one per GPU on CUDA if workers name any, else one per
        thread."""
        return sum(there[GPU] if self._gpu(device) else there["threads"] for there in self._offered.values())

    def refuse_unlike(self, jobs: Sequence[Job]) -> None:
        """Refuses workers whose engine, code or model files differ from those here.

        Raises:
            UsageError: one of them differs, or cannot run a job.
        """
        alike = tuple({(job.method.text, job.dimensions.task): _anywhere(job) for job in jobs}.values())
        for worker, reason in sorted(self._client.run(unlike, alike, self._how(Limits(), 1, 1)).items()):
            if reason:
                raise UsageError(f"the worker {worker} {reason}")

    def unfit_tasks(self, jobs: Sequence[Job], limits: Limits, even_if_unable: bool) -> Mapping[str, str]:
        """As `beforehand.unfit_tasks`, on a worker: this machine may lack the device.

        Args:
            jobs: of one model.
            limits: say when to stop.
            even_if_unable: whether to run a task on which the model is no better than chance.
        """
        sent = tuple(map(_anywhere, jobs))
        future = self._client.submit(
            unfit, sent, even_if_unable, pure=False, resources=self._resources(jobs[0].device)
        )
        while future.status == "pending":
            if limits.stop.wait(TICK):
                raise Stopped
        return dict(self._result(future))

    @contextmanager
    def sharing(self, out: Path) -> Iterator[None]:
        """Finds out which workers see the results folder: a job that moves there resumes from its
        checkpoint."""
        descriptor, name = tempfile.mkstemp(".part", ".shared.", out.absolute())
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(self._topic)
        self._token = Path(name)
        try:
            seen = self._client.run(sees, self._how(Limits(), 1, 1))
            if blind := sorted(worker for worker, does in seen.items() if not does):
                self._told(
                    f"{', '.join(blind)} cannot see {out}: jobs that move from there start from the beginning"
                )
            yield
        finally:
            self._token.unlink(missing_ok=True)

    def carry_out(
        self,
        bundle: Sequence[Job],
        out: Path,
        *,
        threads: int,
        at_a_time: int,
        limits: Limits,
        progress: Progressed | None,
        told: Callable[[str], None],
    ) -> list[Ended]:
        """As `job.carry_out`, on a worker.

        Args:
            bundle: as for `job.carry_out`.
            out: the results folder, here.
            threads: of torch, in each process.
            at_a_time: how many bundles run at a time, for the record.
            limits: of discovery.
            progress: called with its progress.
            told: called with messages for the user.

        Raises:
            UserError: the worker differs from this machine, the scheduler is lost, or `out` cannot be
                written.
            Stopped: the user stopped the run.
        """
        stem = bundle[0].stem
        key = f"{stem}-{uuid.uuid4().hex}"
        self._listening[key] = (progress, told)
        future = self._client.submit(
            run_bundle, tuple(map(_anywhere, bundle)), self._how(limits, threads, at_a_time), key=key,
            pure=False, resources=self._resources(bundle[0].device),
        )  # fmt: skip
        dead: list[str] = []
        try:
            while future.status == "pending":
                if limits.stop.wait(TICK):
                    raise Stopped
                while self._lost[key]:
                    worker = self._lost[key].pop(0)
                    if self._said_goodbye(worker):
                        told(f"{stem}: the worker {worker} was stopped; the job moves to another one")
                        continue
                    dead.append(worker)
                    if len(dead) == DEATHS:
                        return self._died(bundle, out, dead)
                    self.again += 1
                    told(f"{stem}: the worker {worker} died; the job starts again on another one")
            try:
                files = self._result(future)
            except KilledWorker:
                return self._died(bundle, out, dead)
            return _keep(bundle, out, files)
        finally:
            future.cancel()
            del self._listening[key]

    def _result(self, future: Future) -> Any:
        if future.status in ("cancelled", "lost"):
            raise LostScheduler(
                f"the scheduler at {self._scheduler} no longer answers; what was finished is kept: the same "
                "command resumes from there"
            )
        return future.result()

    def _died(self, bundle: Sequence[Job], out: Path, dead: Sequence[str]) -> list[Ended]:
        named = " and ".join(dict.fromkeys(dead)) or "several"
        return [give_up(job, out, "failed", f"the workers that ran it died: {named}") for job in bundle]

    def _said_goodbye(self, worker: str) -> bool:
        told = (message for _, message in self._client.get_events(worker))
        return any(
            isinstance(message, dict) and message.get("action") == "closing-worker" for message in told
        )

    def _hear(self, event: tuple[float, Any]) -> None:
        _, message = event
        progress, told = self._listening.get(message["key"], (None, None))
        if told and "told" in message:
            told(message["told"])
        elif progress:
            progress(message["done"], message["total"], message["note"])

    def _hear_of_workers(self, event: tuple[float, Any]) -> None:
        _, message = event
        for key in self._listening.keys() & set(message.get("processing-tasks", ())):  # a worker left
            self._lost[key].append(message["worker"])

    def _how(self, limits: Limits, threads: int, at_a_time: int) -> How:
        return How(self._topic, threads, at_a_time, limits.seconds, limits.memory, engine(), self._token)

    def _gpu(self, device: str) -> bool:
        return device.startswith("cuda") and any(there[GPU] for there in self._offered.values())

    def _resources(self, device: str) -> dict[str, int] | None:
        return {GPU: 1} if self._gpu(device) else None


@contextmanager
def _local(text: str) -> Iterator[LocalCluster]:
    """Workers on this machine, unreachable from elsewhere; each may start processes."""
    number = text.removeprefix(LOCAL)
    if not number.isdecimal() or not int(number):
        raise UsageError(f"'{text}' is not a scheduler: write local:N for N workers, e.g. local:2")
    with (
        dask.config.set({"distributed.worker.daemon": False, "distributed.worker.preload": [DEAF]}),
        LocalCluster(
            n_workers=int(number), threads_per_worker=1, processes=True, host="127.0.0.1",
            dashboard_address=None, memory_limit=None, silence_logs=SILENT,
        ) as cluster,
    ):  # fmt: skip
        yield cluster


def _offered(client: Client) -> dict[str, dict[str, int]]:
    """Threads and GPUs of each worker, after a check of its versions.

    Raises:
        UsageError: a worker has another version of circuitmark or torch.
    """

    def versions() -> dict[str, str]:
        from importlib import metadata

        found = dict.fromkeys(("circuitmark", "torch"), "none")
        for name in found:
            with suppress(metadata.PackageNotFoundError):
                found[name] = metadata.version(name).partition("+")[0]  # without the build, as in +cpu
        return found

    def there(dask_worker: Worker) -> tuple[dict[str, str], int, int]:
        resources = dask_worker.state.total_resources
        return versions(), dask_worker.state.nthreads, int(resources.get("GPU", 0))

    # nested functions are sent as code: a worker without circuitmark can run them, and is named
    here, offered = versions(), {}
    for worker, (has, threads, gpus) in sorted(client.run(there).items()):
        for name, version in here.items():
            if has[name] != version:
                raise UsageError(
                    f"the worker {worker} has {name} {has[name]}, but this machine has {version}: "
                    "install the same version there"
                )
        offered[worker] = {"threads": threads, GPU: gpus}
    return offered


def _anywhere(job: Job) -> Job:
    """The same job, with absolute paths of its files."""
    name, colon, options = job.method.text.partition(":")
    method = job.method
    if name.endswith(".py"):
        method = replace(method, text=f"{Path(name).expanduser().absolute()}{colon}{options}")
    model = job.model
    if model.startswith(PROGRAM):
        file, colon, function = model.removeprefix(PROGRAM).partition(":")
        if file.endswith(".py"):
            model = f"{PROGRAM}{Path(file).expanduser().absolute()}{colon}{function}"
    elif job.folder is not None and (path := Path(model).expanduser()).exists():
        model = str(path.absolute())
    return replace(job, method=method, model=model, folder=None)


def _keep(bundle: Sequence[Job], out: Path, files: Mapping[str, bytes]) -> list[Ended]:
    """Stores the files that a worker sent back, as if the job had run here."""
    for job in bundle:
        forget_traceback(out, job.stem)
    with tempfile.TemporaryDirectory(prefix="circuitmark-") as name:
        for file, content in files.items():
            if file.startswith("runs/"):
                write_atomically(Path(name) / file, content)
            elif file.startswith(f"{LOGS}/"):
                append(out / file, content)
            else:
                write_atomically(out / file, content)
        runs = {(run.record.ablation, run.record.method_seed): run for run in Store(Path(name)).runs()}
    told = [(job, job.dimensions) for job in bundle]  # they differ in these two alone
    return [_keep_run(job, out, runs[of.ablation, of.method_seed]) for job, of in told]


def _keep_run(job: Job, out: Path, run: Run) -> Ended:
    try:
        Store(out).save(job.stem, run)
    except StrayOutputs as error:
        return give_up(job, out, "failed", str(error))
    forget_unfinished(out, job, run.record.status)
    return ended(job, out, run.record.status, run.record.status_reason)
