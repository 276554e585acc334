"""Tracks the processes at work in a results folder, so that several, on several machines, can share one.

Each keeps a small file there that lists its jobs, and touches it every few seconds. A process that takes a
job reads all of these files, under a lock that is held only for that time.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import TracebackType

import psutil

from bench.errors import BusyFolder, DamagedFile, MixedSettings, UnwritableFolder
from bench.files import clear_temporaries, read_text, write_atomically
from bench.schema import read
from bench.store.record import Evaluation

MOST_BYTES = 2**20
"""Largest size of such a file."""
REPORT = "-report"
"""Suffix of the lock for writing the tables and pages."""
PATIENCE = 600.0
"""Seconds to wait for another process to write its report."""
SILENT = 120.0
"""Seconds without a touch of its file after which a process on another machine counts as dead."""


@contextmanager
def locked(folder: Path, what: str = "", patience: float = 60) -> Iterator[None]:
    """Keeps other processes out of a results folder, which is created, for a moment.

    Args:
        folder: the results folder.
        what: suffix of the lock; empty for the one that guards the taking of jobs.
        patience: seconds to wait for it.

    Raises:
        BusyFolder: another process has held the lock all that time.
        UnwritableFolder: the folder cannot be created or written.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(folder / f".lock{what}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=patience)
    except Timeout as error:
        raise BusyFolder(
            f"another process has kept {folder} locked for {patience:g} seconds: wait for it, or choose "
            "another --out"
        ) from error
    except OSError as error:
        raise UnwritableFolder(
            f"cannot write to {folder} ({error.strerror or error}): choose another folder with --out"
        ) from error
    try:
        yield
    finally:
        lock.release()


@contextmanager
def reporting(folder: Path) -> Iterator[None]:
    """Keeps others from writing a folder's report meanwhile; a folder that does not exist is not locked.

    Raises:
        BusyFolder, UnwritableFolder: as `locked`.
    """
    with locked(folder, REPORT, PATIENCE) if folder.exists() else nullcontext():
        yield


@dataclass(frozen=True, kw_only=True)
class _Worker:
    """What a process at work says about itself."""

    host: str
    pid: int
    began: float | None
    evaluation: Evaluation
    model: str
    model_hash: str
    jobs: tuple[str, ...]

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


class AtWork:
    """This process among those at work in a results folder, from `begin` to the end of the context.

    Args:
        folder: the results folder.
        evaluation: shared by all runs of the folder.
        model: its name in tables.
        model_hash: of the files that it stands for now.
    """

    def __init__(self, folder: Path, evaluation: Evaluation, model: str, model_hash: str) -> None:
        self._folder = folder
        host, pid = socket.gethostname(), os.getpid()
        self._me = _Worker(
            host=host, pid=pid, began=_birth(pid), evaluation=evaluation, model=model, model_hash=model_hash,
            jobs=(),
        )  # fmt: skip
        self._file = folder / "at_work" / f"{host}-{pid}.json"

    def begin(self) -> None:
        """Joins the processes at work; called under the lock, so that two settings never mix.

        Raises:
            MixedSettings: others are making runs that cannot be compared with these.
        """
        others = self._others()
        for other in others:
            same_model = other.model != self._me.model or other.model_hash == self._me.model_hash
            if other.evaluation != self._me.evaluation or not same_model:
                raise MixedSettings(
                    f"{other} is filling {self._folder} with runs of another setting: "
                    "choose another folder with --out"
                )
        if not others:
            with suppress(BusyFolder), locked(self._folder, REPORT, 0.0):  # else its report is being written
                clear_temporaries(self._folder)
        self._say(())

    def __enter__(self) -> AtWork:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):  # it was never written; others are at work
            self._file.unlink()
            self._file.parent.rmdir()

    def take(self, bundles: Iterable[Sequence[str]]) -> tuple[str, ...]:
        """Takes the free jobs of the first bundle that has any; they are this process's from now on.

        Empty if other processes are running all of them.

        Raises:
            BusyFolder, UnwritableFolder: as `locked`.
        """
        with locked(self._folder):
            taken = self.elsewhere()
            for stems in bundles:
                if free := tuple(stem for stem in stems if stem not in taken):
                    self._say((*self._me.jobs, *free))
                    return free
            return ()

    def give_back(self, stems: Collection[str]) -> None:
        """Releases jobs that have ended."""
        self._say(tuple(each for each in self._me.jobs if each not in stems))

    def beat(self) -> None:
        """Shows that this process is alive."""
        with suppress(FileNotFoundError):  # the folder was removed: its jobs will say so
            os.utime(self._file)

    def elsewhere(self) -> dict[str, str]:
        """Jobs that other processes are running, each with its process."""
        return {stem: str(other) for other in self._others() for stem in other.jobs}

    def _say(self, jobs: tuple[str, ...]) -> None:
        self._me = replace(self._me, jobs=jobs)
        write_atomically(self._file, json.dumps(asdict(self._me)).encode())

    def _others(self) -> list[_Worker]:
        """Other processes that are alive; the files of dead ones are removed."""
        found = []
        for file in sorted(self._file.parent.glob("[!.]*.json")):
            if file == self._file:
                continue
            try:
                other = read(_Worker, json.loads(read_text(file, MOST_BYTES)))
                alive = self._is_alive(other, file)
            except (OSError, DamagedFile, ValueError, RecursionError):  # just removed, or not one of ours
                continue
            if alive:
                found.append(other)
            else:
                file.unlink(missing_ok=True)
        return found

    def _is_alive(self, other: _Worker, file: Path) -> bool:
        if other.host == self._me.host:
            return other.began is not None and _birth(other.pid) == other.began
        probe = self._folder / ".lock"  # both times are of the file system's clock
        os.utime(probe)
        return probe.stat().st_mtime - file.stat().st_mtime < SILENT


def _birth(pid: int) -> float | None:
    """When a process of this machine began, None if it has ended: process ids are reused."""
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:  # dead, but its parent has not reaped it
            return None
        return float(process.create_time())
    except psutil.Error:
        return None
