"""The store: one file per run holding its record and raw outputs; tables are derived (`leaderboard.py`).

A run's file name carries its key, a hash of all that determines the result, so a finished run is
found again and a changed one is run anew. What a result does not depend on (hardware, time, commit)
stands in its record. One folder holds one `Evaluation`; what else tells its rows apart, their
`Dimensions`, stands in its tables.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from torch import Tensor

from bench.errors import BusyFolder, DamagedFile, MixedSettings, NewerResults, OlderResults, UnwritableFolder
from bench.files import load_header, load_tensors, save_tensors
from bench.store.record import FORMAT, Dimensions, Evaluation, Record, names_of, told_apart_by

REPORTED = ("leaderboard.csv", "leaderboard.parquet", "leaderboard.md", "index.html")
"""What a report leaves in a results folder."""


@contextmanager
def sole_user(folder: Path) -> Iterator[None]:
    """Keeps a second run out of a results folder, which it makes.

    Raises:
        BusyFolder: another run is at work there.
        UnwritableFolder: the folder cannot be made or written.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(folder / ".lock")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout as error:
        raise BusyFolder(
            f"another run is writing to {folder}: wait for it or choose another --out"
        ) from error
    except OSError as error:
        raise UnwritableFolder(
            f"cannot write to {folder} ({error.strerror or error}): choose another folder with --out"
        ) from error
    try:
        yield
    finally:
        lock.release()


@dataclass(frozen=True)
class Run:
    """One job's outcome."""

    record: Record
    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    """Raw outputs (`evaluate.RawOutputs`), and the method's own scores."""
    stem: str = ""
    """Under which it is stored; it names the circuits' folder as well."""


def refuse_older(record: Mapping[str, Any], folder: Path) -> None:
    """Refuses what was stored before records had a format, or has one that is not known yet.

    Raises:
        OlderResults: it was.
        NewerResults: it has.
    """
    held = record.get("format", FORMAT)
    if isinstance(held, int) and held > FORMAT:
        raise NewerResults(f"{folder} holds results of a newer circuitmark: update this one to read them")
    if "format" not in record:
        version, commit = (str(record.get(name) or "unknown") for name in ("version", "commit"))
        raise OlderResults(
            f"{folder} holds results of an older circuitmark (version {version}, commit {commit}), which are "
            "left as they are: choose another folder with --out, or use the version that made them"
        )


def now() -> str:
    """The time, as records write it; later times sort later."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


class Store:
    """The runs of one results folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, stem: str) -> Path:
        """The file of a run."""
        return self.folder / "runs" / f"{stem}.safetensors"

    def circuit(self, stem: str, size: float) -> Path:
        """The file of a run's circuit of a size asked for."""
        return self.folder / "circuits" / stem / f"{size:g}.safetensors"

    def finished(self, stem: str) -> bool:
        """Whether a run is there and needs no other try; a failed one is tried again.

        Raises:
            DamagedFile: its file is there but cannot be read.
        """
        path = self.path(stem)
        return path.exists() and self._record(path).status != "failed"

    def save(self, stem: str, run: Run) -> None:
        """Writes a run, whole or not at all."""
        save_tensors(self.path(stem), run.tensors, {"record": asdict(run.record)})

    def check_setting(self, wanted: Evaluation, model: str, model_hash: str) -> None:
        """Refuses runs that would not compare with those of the folder.

        Args:
            wanted: what they would share.
            model: its name as tables have it, not as typed.
            model_hash: what that name stands for now.

        Raises:
            MixedSettings: they differ in their `Evaluation`, or in what the model's name stands for.
            DamagedFile: a file of the folder cannot be read.
            OlderResults: a file is of an older version.
        """
        for path in self._files():
            record = self._record(path)
            for name in names_of(Evaluation):
                held, asked = getattr(record, name), getattr(wanted, name)
                if held != asked:
                    raise MixedSettings(
                        f"{self.folder} holds runs with {name}={held}, not {asked}: "
                        "choose another folder with --out"
                    )
            if record.model == model and record.model_hash != model_hash:
                raise MixedSettings(
                    f"{self.folder} holds runs of another model named '{model}' (its files differ): "
                    "choose another folder with --out"
                )

    def superseded(self, stems: Iterable[str]) -> list[str]:
        """Those of the finished runs whose place in the table a later one has taken."""
        shown = {path for _, path in self._shown()}
        return [stem for stem in stems if self.path(stem) not in shown]

    def confirm(self, stem: str) -> None:
        """Makes a finished run the latest again, so that the table shows it."""
        path = self.path(stem)
        self.save(stem, Run(replace(self._record(path), created=now()), load_tensors(path)[0]))

    def runs(self) -> Iterator[Run]:
        """The runs that tables show, oldest first.

        Runs whose `Dimensions` do not tell them apart compete: the latest is shown, with those that differ
        from it in their sizes alone.

        Raises:
            DamagedFile: one of the files cannot be read.
        """
        for record, path in self._shown():
            tensors = load_tensors(path)[0]
            if bool(tensors) != (record.status == "ok"):
                held = "raw outputs" if tensors else "no raw outputs"
                raise DamagedFile(f"{path} is {record.status} and has {held}: move it away and run again")
            yield Run(record, tensors, path.stem)

    def is_reported(self) -> bool:
        """Whether the tables and pages are all there and younger than every run."""
        written = [self.folder / name for name in REPORTED]
        if not all(path.exists() for path in written):
            return False
        oldest = min(path.stat().st_mtime for path in written)
        return all(path.stat().st_mtime <= oldest for path in self._files())

    def _files(self) -> list[Path]:
        return sorted((self.folder / "runs").glob("[!.]*.safetensors"))

    def _shown(self) -> list[tuple[Record, Path]]:
        rivals: dict[tuple[Any, ...], list[tuple[Record, Path]]] = {}
        for path in self._files():
            record = self._record(path)
            rivals.setdefault(told_apart_by(Dimensions, record), []).append((record, path))
        shown = []
        for entries in rivals.values():
            latest, _ = max(entries, key=lambda entry: entry[0].created)
            shown += [entry for entry in entries if entry[0].lineage == latest.lineage]
        return sorted(shown, key=lambda entry: (entry[0].created, entry[1]))

    def _record(self, path: Path) -> Record:
        stored = load_header(path).get("record")
        if not isinstance(stored, dict):
            raise DamagedFile(f"{path} is no run of this circuitmark: move it away")
        refuse_older(stored, self.folder)
        try:
            return Record.read(stored)
        except ValueError as error:
            raise DamagedFile(f"{path} is no run of this circuitmark ({error}): move it away") from error
