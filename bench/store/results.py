"""The store: one file per run, with its record and raw outputs; tables are derived (`leaderboard.py`).

A run's file name carries its key, a hash of all that determines the result, so a finished run is found again
and a changed one is run again. What a result does not depend on (hardware, time, commit) is kept in its
record. One folder holds one `Evaluation`; the rows of its tables differ in their `Dimensions`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.engine.ablation import ABLATIONS
from bench.errors import DamagedFile, MixedSettings, NewerResults, OlderResults
from bench.files import load_header, load_tensors, save_tensors
from bench.store.asked import FILE as ASKED
from bench.store.asked import Place, place_of, read_asked
from bench.store.keys import key_of
from bench.store.record import (
    BENCHMARK,
    FORMAT,
    NULL,
    Dimensions,
    Evaluation,
    Record,
    Setting,
    names_of,
    told_apart_by,
)

REPORTED = (
    "leaderboard.csv", "leaderboard.parquet", "leaderboard.schema.json", "leaderboard.md", "index.html",
)  # fmt: skip
"""What a report leaves in a results folder."""
BOUNDS = ("outputs.full.", "outputs.empty.")
"""Names of the raw outputs that all runs of a setting share."""
NEAR = {"float64": 1e-6, "float32": 1e-2, "bfloat16": 0.5}
"""How far apart these may be, in nats or logits, on another machine or in other batches; a method that
changes a model moves them by orders of magnitude more."""


def setting_of(record: Record) -> str:
    """A short name of all that determines the outputs of the full and the empty circuit."""
    same = [*told_apart_by(Setting, record), *told_apart_by(Evaluation, record), record.model_hash,
            record.engine, record.task_code]  # fmt: skip
    if ABLATIONS[record.ablation].from_discovery:  # a mean over the discovery prompts
        same += [record.n_discovery, record.data_seed, record.wordings]
    return key_of(same)


def bounds_of(run: Run) -> dict[str, Tensor]:
    """The outputs of the full and the empty circuit among a run's raw outputs."""
    return {name: tensor for name, tensor in run.tensors.items() if name.startswith(BOUNDS)}


def strays(own: Mapping[str, Tensor], others: Mapping[str, Tensor], dtype: str) -> str:
    """Which circuit, full or empty, has different outputs in two runs; an empty text if neither.

    Args:
        own: `bounds_of` the one run.
        others: of the other run.
        dtype: of both.
    """
    for name, tensor in own.items():
        other = others.get(name)
        if other is None or other.shape != tensor.shape or not _near(tensor, other, NEAR[dtype]):
            return name.split(".")[1]
    return ""


class StrayOutputs(Exception):
    """The outputs of the full or the empty circuit differ from those in the setting's other runs."""


@dataclass(frozen=True)
class Run:
    """One job's outcome."""

    record: Record
    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    """Raw outputs (`evaluate.RawOutputs`), and the method's own scores."""
    stem: str = ""
    """The name of its file and of its circuits' folder."""
    source: str = ""
    """Of several folders, its own, if another holds the same run."""
    superseded: frozenset[float] = frozenset()
    """Sizes of its circuits that a later run of the same lineage has as well: that one is shown."""


@dataclass(frozen=True)
class Shown:
    """A run that tables show, without its tensors."""

    record: Record
    path: Path
    stem: str
    source: str = ""
    superseded: frozenset[float] = frozenset()
    """Both as in `Run`."""


def refuse_older(record: Mapping[str, Any], folder: Path) -> None:
    """Refuses a record stored before records had a format, or with a newer one than is known.

    Raises:
        OlderResults: it has none.
        NewerResults: its format is newer.
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
        """The file of a run's circuit of a requested size."""
        return self.folder / "circuits" / stem / f"{size:g}.safetensors"

    def status(self, stem: str) -> str | None:
        """The outcome of a run; None if it is not there.

        Raises:
            DamagedFile: its file is there but cannot be read.
        """
        path = self.path(stem)
        return self._record(path).status if path.exists() else None

    def save(self, stem: str, run: Run) -> None:
        """Writes a run, whole or not at all.

        Raises:
            StrayOutputs: its full or empty outputs differ from those of its setting.
            UnwritableFolder: the folder cannot be written.
        """
        if run.tensors:
            self._refuse_stray(run)
        save_tensors(self.path(stem), run.tensors, {"record": asdict(run.record)})

    def _refuse_stray(self, run: Run) -> None:
        """Checks a run's `full` and `empty` outputs against those of the first run of its setting."""
        path = self.folder / "settings" / f"{setting_of(run.record)}.safetensors"
        own = bounds_of(run)
        if not path.exists():
            save_tensors(path, own, {"setting": run.record.task})
        elif circuit := strays(own, load_tensors(path)[0], run.record.dtype):
            raise StrayOutputs(
                f"the outputs of the {circuit} circuit differ from those in other runs of the setting "
                f"({path.name}): memory, a library or a file has changed in the meantime"
            )

    def check_setting(self, wanted: Evaluation, model: str, model_hash: str) -> None:
        """Refuses runs that cannot be compared with those of the folder.

        Args:
            wanted: what they share.
            model: its name in tables, not as typed.
            model_hash: of the files that it stands for now.

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
            if record.benchmark != BENCHMARK:
                raise MixedSettings(
                    f"{self.folder} holds runs of version {record.benchmark} of the benchmark, and this is "
                    f"version {BENCHMARK}, with other prompts or models: choose another folder with --out"
                )
            if record.model == model and record.model_hash != model_hash:
                raise MixedSettings(
                    f"{self.folder} holds runs of another model named '{model}' (its files differ): "
                    "choose another folder with --out"
                )

    def check_tasks(self, wanted: Sequence[tuple[Dimensions, str]]) -> None:
        """Refuses a changed task if runs on its old version would be in one table with the requested ones.

        Args:
            wanted: dimensions and task code of each run.

        Raises:
            MixedSettings: they would.
            DamagedFile: a file of the folder cannot be read.
        """
        codes = {(told.model, told.task): code for told, code in wanted}
        made_anew = {place_of(told) for told, _ in wanted}
        for path in self._files():
            record = self._record(path)
            code = codes.get((record.model, record.task), record.task_code)
            if record.task_code not in ("", code) and place_of(record) not in made_anew:
                raise MixedSettings(
                    f"{self.folder} holds runs of {record.method} on another task named '{record.task}' (its "
                    "file or code has changed): run that method as well, or choose another folder with --out"
                )

    def runs(self) -> Iterator[Run]:
        """The runs that tables show, in an order independent of that in which jobs ended.

        Of runs with the same `Dimensions`, those requested last are shown: all of one lineage, and for a size
        that several of these have, the last one.

        Raises:
            DamagedFile: one of the files cannot be read.
            MixedSettings: they are from several versions of the benchmark.
        """
        shown = self.shown()
        if len(versions := {each.record.benchmark for each in shown}) > 1:
            raise MixedSettings(
                f"{self.folder} holds runs of versions {' and '.join(map(str, sorted(versions)))} of the "
                "benchmark, which cannot be compared: move those of one version to another folder"
            )
        for each in shown:
            record, tensors = each.record, load_tensors(each.path)[0]
            if bool(tensors) != (record.status == "ok"):
                held = "raw outputs" if tensors else "no raw outputs"
                raise DamagedFile(
                    f"{each.path} has status {record.status} with {held}: move it away and run again"
                )
            yield Run(record, tensors, each.stem, each.source, each.superseded)

    def is_reported(self) -> bool:
        """Whether the tables and pages are all there, and no older than any run or the last request."""
        written = [self.folder / name for name in REPORTED]
        if not all(path.exists() for path in written):
            return False
        oldest = min(path.stat().st_mtime for path in written)
        asked = [path for path in [self.folder / ASKED] if path.exists()]
        return all(path.stat().st_mtime <= oldest for path in (*asked, *self._files()))

    def is_empty(self) -> bool:
        """Whether it holds no run."""
        return not self._files()

    def _files(self) -> list[Path]:
        return sorted((self.folder / "runs").glob("[!.]*.safetensors"))

    def missing(self) -> list[str]:
        """Stems of requested runs that are not there."""
        there = {path.stem for path in self._files()}
        return [stem for stem in self.asked() if stem not in there]

    def asked(self) -> list[str]:
        """Stems of all requested runs that no later request has replaced."""
        return sorted(stem for place in read_asked(self.folder).values() for stem in place.stems)

    def shown(self) -> list[Shown]:
        """What `runs` reads.

        Raises:
            DamagedFile: one of the files cannot be read.
        """
        asked = read_asked(self.folder)
        rivals: dict[str, list[tuple[Record, Path]]] = {}
        for path in self._files():
            record = self._record(path)
            rivals.setdefault(place_of(record), []).append((record, path))
        shown: list[Shown] = []
        for name in sorted(rivals):
            latest = max(rivals[name], key=lambda entry: entry[0].created)[0].lineage
            place = asked.get(name, Place(latest, ()))
            order = {stem: i for i, stem in enumerate(place.stems)}
            entries = [entry for entry in rivals[name] if entry[0].lineage == place.lineage]
            entries.sort(key=lambda entry: (order.get(entry[1].stem, -1), entry[1].stem))
            for i, (record, path) in enumerate(entries):
                later = [sizes_of(other) for other, _ in entries[i + 1 :]]
                shown.append(Shown(record, path, path.stem, superseded=frozenset[float]().union(*later)))
        return drawn_once(shown)

    def _record(self, path: Path) -> Record:
        stored = load_header(path).get("record")
        if not isinstance(stored, dict):
            raise DamagedFile(f"{path} is not a run of this circuitmark: move it away")
        refuse_older(stored, self.folder)
        try:
            return Record.read(stored)
        except ValueError as error:
            raise DamagedFile(f"{path} is not a run of this circuitmark ({error}): move it away") from error


def sizes_of(record: Record) -> frozenset[float]:
    """The sizes of its circuits, without those that are only points of a curve."""
    return frozenset(c["size_requested"] for c in record.circuits.values() if c["complement"] is not None)


def drawn_once(found: Iterable[Shown]) -> list[Shown]:
    """Shows random circuits that several runs hold once, from the first of these runs.

    They depend on no prompt, so every folder has the same ones, whatever the number of discovery prompts.
    Only under mean ablation do their scores depend on discovery prompts: removed edges carry a mean over
    them.

    Args:
        found: all runs, in the order in which they are shown.
    """
    shown, drawn = list[Shown](), dict[tuple[Any, ...], frozenset[float]]()
    for each in found:
        if each.record.method == NULL:
            blind = replace(each.record, discovery_ablation="resample")
            if not ABLATIONS[blind.ablation].from_discovery:
                blind = replace(blind, n_discovery=1, wordings="all")
            place = told_apart_by(Dimensions, blind)
            before = drawn.get(place, frozenset())
            drawn[place] = before | sizes_of(each.record) - each.superseded
            each = replace(each, source="", superseded=each.superseded | before)
        shown.append(each)
    return shown


def _near(one: Tensor, other: Tensor, reach: float) -> bool:
    if not one.is_floating_point():  # which token is likeliest: a tie may go either way
        return float((one != other).double().mean()) < 0.1
    return torch.allclose(one.double(), other.double(), rtol=0, atol=reach, equal_nan=True)
