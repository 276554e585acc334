"""Which processes are at work in a results folder, so that several, on several machines, can share one.

Each keeps a small file there that says what it runs; it is touched every few seconds. Whoever takes a job
looks at all of them, under a lock that is held no longer than that takes.
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
"""Of such a file."""
REPORT = "-report"
"""The lock of whoever writes the tables and pages."""
PATIENCE = 600.0
"""Seconds to wait for another process to write its report."""
SILENT = 120.0
"""Seconds after which a process of another machine that has not touched its file is taken for dead."""


@contextmanager
def locked(folder: Path, what: str = "", patience: float = 60) -> Iterator[None]:
    """Keeps other processes out of a results folder, which is made, for a moment.

    Args:
        folder: the results folder.
        what: names the lock, where it is another than the one for looking and taking.
        patience: seconds to wait for it.

    Raises:
        BusyFolder: another process has held it all the while.
        UnwritableFolder: the folder cannot be made or written.
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
    """Keeps others from writing a folder's report meanwhile; where there is no folder yet, nobody does.

    Raises:
        BusyFolder, UnwritableFolder: as `locked`.
    """
    with locked(folder, REPORT, PATIENCE) if folder.exists() else nullcontext():
        yield


@dataclass(frozen=True, kw_only=True)
class _Worker:
    """What a process at work says of itself."""

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
    """This process in a results folder, beside others, from `begin` to the end of the context.

    Args:
        folder: the results folder.
        evaluation: what its runs share.
        model: its name as tables have it.
        model_hash: what that name stands for now.
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
        """Joins those at work; under the lock, so that two settings never mix.

        Raises:
            MixedSettings: others are making runs that would not compare with these.
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
            with suppress(BusyFolder), locked(self._folder, REPORT, 0.0):  # else somebody writes its report
                clear_temporaries(self._folder)
        self._say(())

    def __enter__(self) -> AtWork:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):  # it was never made; others are at work
            self._file.unlink()
            self._file.parent.rmdir()

    def take(self, bundles: Iterable[Sequence[str]]) -> tuple[str, ...]:
        """The jobs of the first of these bundles that nobody else is at; they are this process's from now on.

        Empty where others are at all.

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
        """Jobs have ended."""
        self._say(tuple(each for each in self._me.jobs if each not in stems))

    def beat(self) -> None:
        """Shows that this process is alive."""
        with suppress(FileNotFoundError):  # the folder was removed: its jobs will say so
            os.utime(self._file)

    def elsewhere(self) -> dict[str, str]:
        """Jobs that other processes are at, each with who."""
        return {stem: str(other) for other in self._others() for stem in other.jobs}

    def _say(self, jobs: tuple[str, ...]) -> None:
        self._me = replace(self._me, jobs=jobs)
        write_atomically(self._file, json.dumps(asdict(self._me)).encode())

    def _others(self) -> list[_Worker]:
        """Those alive; the files of the dead are removed."""
        found = []
        for file in sorted(self._file.parent.glob("[!.]*.json")):
            if file == self._file:
                continue
            try:
                other = read(_Worker, json.loads(read_text(file, MOST_BYTES)))
                alive = self._is_alive(other, file)
            except (OSError, DamagedFile, ValueError, RecursionError):  # just gone, or none of ours
                continue
            if alive:
                found.append(other)
            else:
                file.unlink(missing_ok=True)
        return found

    def _is_alive(self, other: _Worker, file: Path) -> bool:
        if other.host == self._me.host:
            return other.began is not None and _birth(other.pid) == other.began
        probe = self._folder / ".lock"  # its time and the other's are both of the file system's clock
        os.utime(probe)
        return probe.stat().st_mtime - file.stat().st_mtime < SILENT


def _birth(pid: int) -> float | None:
    """When a process of this machine began, None where it has ended: numbers are used again."""
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:  # dead, and nobody has asked how it ended
            return None
        return float(process.create_time())
    except psutil.Error:
        return None
