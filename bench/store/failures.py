"""Tracebacks of jobs that failed, a text file each, beside the runs that say why."""

from __future__ import annotations

from pathlib import Path

from bench.files import write_atomically


def keep_traceback(out: Path, stem: str, text: str) -> Path | None:
    """Writes the traceback of a job; returns its file, or None where there is none.

    Args:
        out: the results folder.
        stem: of the job's files.
        text: the traceback.

    Raises:
        UnwritableFolder: `out` takes no file.
    """
    if not text:
        return None
    path = _path(out, stem)
    write_atomically(path, text.encode(errors="replace"))
    return path


def forget_traceback(out: Path, stem: str) -> None:
    """Removes the traceback of an earlier try."""
    _path(out, stem).unlink(missing_ok=True)


def _path(out: Path, stem: str) -> Path:
    return out / "failures" / f"{stem}.txt"
