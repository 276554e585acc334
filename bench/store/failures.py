"""Tracebacks of jobs that failed, one text file each, beside the runs that say why."""

from __future__ import annotations

from pathlib import Path

from bench.files import write_atomically


def keep_traceback(out: Path, stem: str, text: str) -> None:
    """Writes the traceback of a job, if there is one.

    Args:
        out: the results folder.
        stem: of the job's files.
        text: the traceback.

    Raises:
        UnwritableFolder: `out` cannot be written.
    """
    if text:
        write_atomically(_path(out, stem), text.encode(errors="replace"))


def kept_traceback(out: Path, stem: str) -> Path | None:
    """The file of a job's traceback; None if there is none."""
    path = _path(out, stem)
    return path if path.exists() else None


def forget_traceback(out: Path, stem: str) -> None:
    """Removes the traceback of an earlier attempt."""
    _path(out, stem).unlink(missing_ok=True)


def _path(out: Path, stem: str) -> Path:
    return out / "failures" / f"{stem}.txt"
