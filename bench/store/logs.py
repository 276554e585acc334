"""What the processes of jobs printed, one text file each; a job that printed nothing has none."""

from __future__ import annotations

from pathlib import Path

LOGS = "logs"
"""Their folder in a results folder."""


def log_of(out: Path, stem: str) -> Path:
    """The log of a job."""
    return out / LOGS / f"{stem}.txt"


def kept_log(out: Path, stem: str) -> Path | None:
    """The log if the job has printed anything; an empty one is removed, and its folder with the last."""
    path = log_of(out, stem)
    try:
        if path.stat().st_size:
            return path
        path.unlink()
        path.parent.rmdir()
    except OSError:  # there is none, or others are there
        pass
    return None


def append(path: Path, content: bytes) -> None:
    """Appends to a log, which is created if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        file.write(content)
