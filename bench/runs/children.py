"""Child processes that report to their parent in JSON: nothing that they send is unpickled.

They are forked from a server that has imported everything and computed nothing, so that each is cheap and
starts clean: what a method's code does to modules, weights, clocks or its folder ends with its process.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from types import ModuleType
from typing import Any

import psutil

from bench import errors
from bench.discovery.checked import cleaned
from bench.errors import UserError
from bench.runs.spent import spend

Message = dict[str, Any]
"""A message from a child; `said` is its kind, on which the rest depends."""
SINGLE = {"OPENBLAS_NUM_THREADS": "1", "JE_ARROW_MALLOC_CONF": "background_thread:false"}
"""Set while the server starts: otherwise numpy and pyarrow start threads when they are imported."""
TICK = 0.1
"""Seconds between two checks of a child's memory, and of whether the run was stopped."""
SOON = 2.0
"""Seconds within which a signal that ended a child arrives here as well, if it was sent to both."""
GRACE = 20.0
"""Seconds that a stopped discovery has to write its checkpoint."""
_STARTING = threading.Lock()
"""Held to start or end a process: multiprocessing's list of children is not thread-safe."""


class Died(Exception):
    """A process ended before it reported a result; the message says how."""


class OverLimit(Exception):
    """A process exceeded a limit; the message says which."""


class OutOfMemory(OverLimit):
    """Memory ran out, or its limit was exceeded."""


class Stopped(Exception):
    """The user stopped the run."""


@dataclass(frozen=True)
class Limits:
    """Limits of a job."""

    seconds: float | None = None
    """Wall-clock time of discovery."""
    memory: int | None = None
    """Bytes that its process may hold, libraries included."""
    stop: threading.Event = field(default_factory=threading.Event)
    """Set when all jobs must end."""


class Line:
    """A child's end of the connection to its parent."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._pid = os.getpid()
        self._told = 0.0

    def say(self, said: str, **more: Any) -> None:
        """Sends the parent a message of plain data."""
        if os.getpid() != self._pid:  # a process that a method forked and never ended
            _leave()
        self._connection.send_bytes(json.dumps({"said": said, **more}).encode())

    def spent(self, part: str) -> None:
        """Reports that the CPU time since the last such report, or since the process began, went to a
        part."""
        now = time.process_time()
        self.say("spent", part=part, cpu_seconds=now - self._told)
        self._told = now

    def say_and_wait(self, said: str, **more: Any) -> dict[str, Any]:
        """Sends a message, waits until the parent has read its clocks, and returns the reply."""
        self.say(said, **more)
        return dict(json.loads(self._connection.recv_bytes()))


class Child:
    """A process that does a piece of work; it and everything that it started end with the context.

    Args:
        work: a function of a module, called with a `Line` and `words`.
        words: its other arguments, which are pickled: they come from us.
        limits: of memory, and when to stop.
        log: the file for what it prints; stderr if left out.
    """

    def __init__(
        self, work: Callable[..., None], *words: Any, limits: Limits, log: Path | None = None
    ) -> None:
        self._work, self._words, self._limits, self._log = work, words, limits, log

    def __enter__(self) -> Child:
        here, there = multiprocessing.Pipe()
        self._connection = here
        with _STARTING:
            words = (self._work, there, self._words, dict(os.environ), self._log)
            self._process = _context().Process(target=_begin, args=words)
            with _without_threads(), _without_main():
                self._process.start()
        there.close()
        self.peak_memory = 0
        return self

    def __exit__(self, *_: object) -> None:
        with _STARTING:
            if self._process.is_alive():
                self._process.kill()
            _end(self._process.pid)
            self._process.join()
        self._connection.close()

    def messages(self) -> Iterator[Message]:
        """The child's messages as they arrive, and `nothing` at every idle tick, until its process ends.

        Raises:
            Stopped: the run was stopped.
            OutOfMemory: it exceeded its memory limit.
            Died: it sent something that is not a message.
            UserError: it reported one.
        """
        while True:
            ready = wait([self._connection, self._process.sentinel], timeout=TICK)
            if self._limits.stop.is_set():
                self._part()
                raise Stopped
            self._watch_memory()
            if self._connection in ready or self._process.sentinel in ready:
                try:
                    told = self._connection.recv_bytes() if self._connection.poll() else None
                except (EOFError, OSError):
                    told = None
                if told is None:
                    return
                message = self._read(told)
                if message["said"] == "spent":
                    spend(message["part"], message["cpu_seconds"])
                else:
                    yield message
            else:
                yield {"said": "nothing"}

    def go_on(self, **more: Any) -> None:
        """Replies to a waiting child, which then goes on."""
        with contextlib.suppress(OSError):  # it died while waiting: the next message is its last
            self._connection.send_bytes(json.dumps(more).encode())

    def cpu_seconds(self) -> float:
        """CPU time that the process has taken so far, on all of its threads."""
        with contextlib.suppress(OSError, AttributeError):
            return time.clock_gettime(_cpu_clock(self._process.pid or 0))
        with contextlib.suppress(psutil.Error):
            spent = psutil.Process(self._process.pid).cpu_times()
            return float(spent.user + spent.system)
        return float("nan")

    def last_words(self) -> str:
        """How the process ended, once it reports nothing more.

        Raises:
            Stopped: it was stopped together with this one.
        """
        with _STARTING:
            self._process.join(5)
            code = self._process.exitcode
        if code is None:
            return "its process reported nothing more"
        if code >= 0:
            return f"its process exited with code {code}"
        if code == -signal.SIGTERM and self._limits.stop.wait(SOON):  # a scheduler signals all at once
            raise Stopped
        name = signal.Signals(-code).name
        hint = ", perhaps because memory ran out" if name == "SIGKILL" else ""
        return f"its process was killed by {name}{hint}"

    def _part(self) -> None:
        """Ends the process, with time for a discovery to write its checkpoint."""
        with _STARTING:
            self._process.terminate()
        wait([self._process.sentinel], timeout=GRACE)

    def _read(self, told: bytes) -> Message:
        try:
            message = json.loads(told)
            kind = message["said"]
        except (ValueError, TypeError, KeyError) as error:
            raise Died("its process sent a message that cannot be read") from error
        if kind == "refused":
            raise getattr(errors, message["kind"])(message["reason"])
        return dict(message)

    def _watch_memory(self) -> None:
        with contextlib.suppress(psutil.Error):
            held = psutil.Process(self._process.pid).memory_info().rss
            self.peak_memory = max(self.peak_memory, held)
            most = self._limits.memory
            if most is not None and held > most:
                raise OutOfMemory(
                    f"its process held {held / 2**30:.2f} GiB, more than the limit of {most / 2**30:g}"
                )


def reason_of(error: BaseException) -> str:
    """An error in one line that can be written to any file."""
    try:
        said = str(error)
    except Exception:  # its own `__str__` fails
        said = ""
    return cleaned(f"{type(error).__name__}: {said}")


def is_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on the host or on a device."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and "allocate memory" in str(error)


def _begin(
    work: Callable[..., None],
    connection: Connection,
    words: tuple[Any, ...],
    environment: dict[str, str],
    log: Path | None,
) -> None:
    """The entry point of every child."""
    os.environ.clear()
    os.environ.update(environment)  # as it is now, not as it was when the server began
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # its parent handles Ctrl-C
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if hasattr(os, "setsid"):
        os.setsid()  # what it starts ends with it
    if log is not None:
        with contextlib.suppress(OSError):  # without a log a job still has a result
            log.parent.mkdir(parents=True, exist_ok=True)
            with log.open("ab") as file:
                os.dup2(file.fileno(), 2)
    os.dup2(2, 1)  # what a method prints is not a result
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()
    line = Line(connection)
    try:
        work(line, *words)
    except UserError as error:
        line.say("refused", kind=type(error).__name__, reason=str(error))
    except BaseException as error:
        line.say("failed", reason=reason_of(error), traceback=traceback.format_exc(),
                 out_of_memory=is_memory(error))  # fmt: skip
    connection.close()
    _leave()


def _leave() -> None:
    """Ends this process at once: threads that a method left running do not hold it up."""
    with contextlib.suppress(Exception):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(0)


def _end_with(parent: int) -> None:
    wait([parent])
    _end(os.getpid())


def _end(pid: int | None) -> None:
    """Kills whatever a child has started, and itself."""
    if pid is None:
        return
    with contextlib.suppress(OSError, AttributeError):
        os.killpg(pid, signal.SIGKILL)


def _cpu_clock(pid: int) -> int:
    """The clock of another process's CPU time, as Linux numbers them (clock_getcpuclockid(3))."""
    if not hasattr(time, "pthread_getcpuclockid") or pid <= 0:
        raise OSError
    return (~pid << 3) | 2


def _context() -> Any:
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    programs = [name for name in sys.modules if name.startswith("tracr_ground_truth.")]  # with Tracr and JAX
    context.set_forkserver_preload(["circuitmark.server", *programs])
    return context


@contextlib.contextmanager
def _without_main() -> Iterator[None]:
    """Hides the caller's script, which a child would run again, though it needs nothing from it.

    So a script may call `circuitmark.run` at its top level.
    """
    script = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = script


@contextlib.contextmanager
def _without_threads() -> Iterator[None]:
    """Sets `SINGLE` in the environment that a server would be started with."""
    before = {name: os.environ.get(name) for name in SINGLE}
    os.environ.update(SINGLE)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
