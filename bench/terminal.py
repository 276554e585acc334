"""Where a command meets its terminal: one line for whatever ends it, and stdout for results alone."""

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
"""Exit code of what is our fault."""
STOPPED = "stopped; what was finished is kept"

_signal = 0
"""That has stopped this process."""
_lost: dict[int, OSError] = {}
"""Streams that took no more, with the reason."""


class _Ended(SystemExit):
    """All has been said."""


class _Output(io.FileIO):
    """A stream's descriptor; when it takes no more the command goes on, and says so at its end."""

    def write(self, data: Any) -> int:
        """Writes as much as can be, or drops all."""
        try:
            return super().write(data)
        except OSError as error:
            _lost[self.fileno()] = error
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())
            os.close(nowhere)
            return memoryview(data).nbytes


def begin() -> None:
    """Prepares streams and signals of a process that is a command's alone."""
    for number, mode in enumerate((os.O_RDONLY, os.O_RDONLY, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:  # it is closed, and the next file to be opened would be taken for it
            os.set_inheritable(os.open(os.devnull, mode), True)
    sys.stdout, sys.stderr = _stream(sys.stdout, 1), _stream(sys.stderr, 2)
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _stop)
    sys.unraisablehook = _unraisable


def _stream(stream: Any, number: int) -> TextIO:
    """In the place of a stream of Python's, one that replaces what its terminal cannot show."""
    output = io.BufferedWriter(_Output(number, "w", closefd=False))
    encoding = stream.encoding if stream else "utf-8"
    at_once = stream is None or stream.line_buffering or stream.write_through
    return io.TextIOWrapper(output, encoding, errors="replace", line_buffering=at_once)


def _stop(number: int, frame: FrameType | None) -> None:
    global _signal
    if _signal:  # whoever asks twice does not wait for anything to be put in order
        _leave(number)
    _signal = number
    raise KeyboardInterrupt


def _unraisable(unraisable: sys.UnraisableHookArgs) -> None:
    """A signal may come where Python lets no exception pass, as in the midst of an import."""
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
        if broken.errno != errno.EPIPE:  # who reads no further need not be told
            line = line or f"cannot write to stdout ({broken.strerror})"
    if line:
        print(f"circuitmark: {line}", file=sys.stderr)
    if (
        _signal and code
    ):  # Python's own end may take long, and may forget the code for having been interrupted
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    raise _Ended(code)


def outcome(error: BaseException) -> tuple[int, str]:
    """With which exit code an error ends the command, and the line to be said.

    The line is empty where all has been said, or nothing need be.
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
        if error.code == Interrupted.exit_code:  # of typer, which turns an interrupt into it
            return error.code, STOPPED
        return (error.code, "") if isinstance(error.code, int) else (1, str(error.code))
    return UNFORESEEN, _unforeseen(error)


def _unforeseen(error: BaseException) -> str:
    """What is said of an error of ours, whose traceback goes into a file."""
    import tempfile
    import traceback

    told = " ".join(traceback.format_exception_only(error)[-1].split())
    try:
        descriptor, path = tempfile.mkstemp(prefix="circuitmark-", suffix=".txt")
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="replace") as file:
            traceback.print_exception(error, file=file)
    except OSError as failure:
        return f"{told}; this error was not foreseen, and its traceback cannot be kept ({failure.strerror})"
    return f"{told}; this error was not foreseen: please report it with {path}, which holds the traceback"


@contextmanager
def results_alone(wanted: bool) -> Iterator[Callable[[str], None]]:
    """Keeps stdout for what is told; everything else that is printed meanwhile, by whomever, goes to stderr.

    Args:
        wanted: False changes nothing.

    Yields:
        A function that tells a text: at once, or when all is done.
    """
    if not wanted:
        yield print
        return
    told: list[str] = []
    sys.stdout.flush()
    own = os.dup(1)
    os.dup2(2, 1)
    try:
        with redirect_stdout(sys.stderr):  # sys.stdout need not be on the descriptor
            yield told.append
    finally:
        for stream in (sys.stdout, sys.__stdout__):  # which a plugin may have kept
            if stream is not None:
                stream.flush()
        os.dup2(own, 1)
        os.close(own)
        for text in told:
            print(text)
