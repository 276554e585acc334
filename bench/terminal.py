"""A command's streams and signals: whatever ends it becomes one line, and stdout is for results alone."""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from types import FrameType
from typing import Any, NoReturn, TextIO

from bench.errors import Interrupted, UserError

UNFORESEEN = 70
"""Exit code of errors that are our fault."""
STOPPED = "stopped; what was finished is kept"

_signal = 0
"""The signal that has stopped this process."""
_lost: dict[int, OSError] = {}
"""Streams that can no longer be written, with the reason."""


class _Ended(SystemExit):
    """Everything has been printed; only the exit code is left."""


class _Output(io.FileIO):
    """A stream's descriptor; once it cannot be written, the command goes on and says so at its end."""

    def write(self, data: Any) -> int:
        """Writes the data; after an error, this and all later data is dropped."""
        try:
            return super().write(data)
        except OSError as error:
            _lost[self.fileno()] = error
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())
            os.close(nowhere)
            return memoryview(data).nbytes


def begin() -> None:
    """Sets up streams and signals of a process that runs a command and nothing else."""
    for number, mode in enumerate((os.O_RDONLY, os.O_RDONLY, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:  # closed: the next file opened would take its number
            os.set_inheritable(os.open(os.devnull, mode), True)
    sys.stdout, sys.stderr = _stream(sys.stdout, 1), _stream(sys.stderr, 2)
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _stop)
    sys.unraisablehook = _unraisable


def _stream(stream: Any, number: int) -> TextIO:
    """A replacement for one of Python's streams that replaces characters its terminal cannot show."""
    output = io.BufferedWriter(_Output(number, "w", closefd=False))
    encoding = stream.encoding if stream else "utf-8"
    at_once = stream is None or stream.line_buffering or stream.write_through
    return io.TextIOWrapper(output, encoding, errors="replace", line_buffering=at_once)


def _stop(number: int, frame: FrameType | None) -> None:
    global _signal
    if _signal:  # a second signal: exit without cleaning up
        _leave(number)
    _signal = number
    raise KeyboardInterrupt


def _unraisable(unraisable: sys.UnraisableHookArgs) -> None:
    """Exits on a signal that arrives where Python lets no exception pass, as in the middle of an import."""
    if isinstance(unraisable.exc_value, KeyboardInterrupt) and _signal:
        _leave(_signal)
    sys.__unraisablehook__(unraisable)


def _leave(number: int) -> NoReturn:
    os.write(2, f"circuitmark: {STOPPED}\n".encode())
    os._exit(128 + number)


@contextmanager
def ended_in_a_line() -> Iterator[None]:
    """Turns whatever ends a command into one line at most and an exit code, never a traceback.

    Raises:
        SystemExit: it has ended.
    """
    try:
        yield
    except _Ended:
        raise
    except BaseException as error:
        code, line = outcome(error)
    else:
        code, line = 0, ""
    sys.stdout.flush()
    if broken := _lost.get(1):
        code = code or 1
        if broken.errno != errno.EPIPE:  # a reader that stopped early need not be told
            line = line or f"cannot write to stdout ({broken.strerror})"
    if line:
        print(f"circuitmark: {line}", file=sys.stderr)
    if _signal and code:  # Python's own shutdown may take long, and may replace the code
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    raise _Ended(code)


def outcome(error: BaseException) -> tuple[int, str]:
    """The exit code with which an error ends the command, and the line to print.

    The line is empty if everything has been printed, or nothing need be.
    """
    if isinstance(error, SystemExit) and error.code in (None, 0):
        return 0, ""
    told_as_event = isinstance(error.__cause__, UserError | KeyboardInterrupt)
    if isinstance(error, SystemExit) and told_as_event:
        return int(error.code or 1), ""
    if _signal or isinstance(error, KeyboardInterrupt | Interrupted):
        told = str(error) if isinstance(error, Interrupted) else STOPPED
        return 128 + (_signal or signal.SIGINT), told
    if isinstance(error, UserError):
        return error.exit_code, str(error)
    if isinstance(error, SystemExit):
        if error.code == Interrupted.exit_code:  # typer turns an interrupt into this
            return error.code, STOPPED
        return (error.code, "") if isinstance(error.code, int) else (1, str(error.code))
    return UNFORESEEN, _unforeseen(error)


def _unforeseen(error: BaseException) -> str:
    """The line for an unexpected error; its traceback goes into a file."""
    import tempfile
    import traceback

    told = " ".join(traceback.format_exception_only(error)[-1].split())
    try:
        descriptor, path = tempfile.mkstemp(prefix="circuitmark-", suffix=".txt")
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="replace") as file:
            traceback.print_exception(error, file=file)
    except OSError as failure:
        return f"{told}; this error is unexpected, and its traceback cannot be kept ({failure.strerror})"
    return f"{told}; this error is unexpected: please report it with {path}, which holds the traceback"


@contextmanager
def results_alone(wanted: bool) -> Iterator[Callable[[str], None]]:
    """Reserves stdout for results; whatever else is printed meanwhile, by any code, goes to stderr.

    Args:
        wanted: False changes nothing.

    Yields:
        A function that prints a text to stdout, at the end if `wanted`, otherwise at once.
    """
    if not wanted:
        yield print
        return
    told: list[str] = []
    sys.stdout.flush()
    own = os.dup(1)
    os.dup2(2, 1)
    try:
        with redirect_stdout(sys.stderr):  # sys.stdout may write elsewhere than to descriptor 1
            yield told.append
    finally:
        for stream in (sys.stdout, sys.__stdout__):  # a plugin may have kept either
            if stream is not None:
                stream.flush()
        os.dup2(own, 1)
        os.close(own)
        for text in told:
            print(text)
