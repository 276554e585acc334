"""The store: one file per run holding its record and raw outputs; tables are derived from them.

A run's file name carries its key, a hash of all that determines the result, so a finished run is
found again and a changed one is run anew. What a result does not depend on (hardware, time, commit)
stands in its record.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from bench.evaluate import EMPTY, FULL, RawOutputs, curve, score
from bench.files import (
    DamagedFile,
    UnwritableFolder,
    load_header,
    load_tensors,
    save_tensors,
    write_atomically,
)
from bench.metrics import METRICS

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    "model",
    "task",
    "method",
    "params",
    "seed",
    "ablation",
    "size_requested",
    "edges_kept",
    "edge_sparsity",
    "effective_edges",
    "weight_density",
    "kl",
    "kl_low",
    "kl_high",
    "accuracy",
    "exact_match",
    "logit_diff",
    "faithfulness",
    "complement_kl",
    "complement_accuracy",
    "completeness",
    "choice_accuracy",
    "complement_choice_accuracy",
    "chance",
    "prob_diff",
    "kl_candidates",
    "graph",
    "objective",
    "seconds",
    "forward_equivalents",
    "peak_memory_mb",
    "status",
    "status_reason",
)
"""Columns of leaderboard.csv that other programs may rely on, first and in this order."""
ONE_RUN = ("model", "task", "ablation", "graph", "method", "params", "seed")
"""What tells runs apart; of two with the same, the later supersedes."""
BASELINE = {"method": "random_edges", "params": ""}
"""The random connected circuits, beside whose complement completeness is read."""


@dataclass(frozen=True)
class Run:
    """One job's outcome."""

    record: Mapping[str, Any]
    """Everything but tensors: identity, status, costs, provenance, `sizes` and `circuits`."""
    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    """Raw outputs (`evaluate.RawOutputs`), and the method's own scores."""


class BusyFolder(Exception):
    """Another run writes to the same folder."""


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


class Store:
    """The runs of one results folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, stem: str) -> Path:
        """The file of a run."""
        return self.folder / "runs" / f"{stem}.safetensors"

    def finished(self, stem: str) -> bool:
        """Whether a run is there and needs no other try; a failed one is tried again.

        Raises:
            DamagedFile: its file is there but cannot be read.
        """
        path = self.path(stem)
        return path.exists() and load_header(path)["record"].get("status") != "failed"

    def save(self, stem: str, run: Run) -> None:
        """Writes a run, whole or not at all."""
        save_tensors(self.path(stem), run.tensors, {"record": dict(run.record)})

    def runs(self) -> Iterator[Run]:
        """All runs, in order of their files; of runs that differ in nothing told apart, the latest.

        Raises:
            DamagedFile: one of the files cannot be read.
        """
        latest: dict[tuple[Any, ...], tuple[str, Path]] = {}
        for path in sorted((self.folder / "runs").glob("*.safetensors")):
            record = load_header(path).get("record")
            if not isinstance(record, dict) or any(name not in record for name in (*ONE_RUN, "created")):
                raise DamagedFile(f"{path} is no run of circuitmark: move it away")
            identity = tuple(record[name] for name in ONE_RUN)
            latest[identity] = max(latest.get(identity, ("", path)), (record["created"], path))
        for _, path in sorted(latest.values(), key=lambda item: item[1]):
            tensors, header = load_tensors(path)
            try:
                yield Run(header["record"], tensors)
            except KeyError as error:
                raise DamagedFile(f"{path} is no run of circuitmark: move it away") from error

    def is_reported(self) -> bool:
        """Whether the Markdown page, which is written last, is younger than every run."""
        page = self.folder / "leaderboard.md"
        runs = (self.folder / "runs").glob("*.safetensors")
        return page.exists() and all(run.stat().st_mtime <= page.stat().st_mtime for run in runs)

    def table(self) -> pd.DataFrame:
        """The leaderboard in long form: a row per model, task, method, seed, ablation and size."""
        import pandas as pd

        rows: list[dict[str, Any]] = []
        bounded: set[tuple[Any, ...]] = set()
        for run in self.runs():
            setting = tuple(run.record[name] for name in ("model", "task", "ablation", "graph"))
            if run.tensors and setting not in bounded:
                bounded.add(setting)
                rows += _bounds(run)
            rows += _rows(run)
        names = [*COLUMNS, *(m.name for m in METRICS if m.name not in COLUMNS)]
        table = pd.DataFrame(rows)
        others = sorted(set(table.columns) - set(names))
        table = table.reindex(columns=[*names, *others])
        return _with_margin(table) if len(table) else table

    def write_table(self, table: pd.DataFrame) -> list[Path]:
        """Writes leaderboard.csv and the same as parquet."""
        import io

        paths = [self.folder / "leaderboard.csv", self.folder / "leaderboard.parquet"]
        write_atomically(paths[0], table.to_csv(index=False).encode())
        buffer = io.BytesIO()
        table.to_parquet(buffer, index=False)
        write_atomically(paths[1], buffer.getvalue())
        return paths


def _rows(run: Run) -> list[dict[str, Any]]:
    """A row per size; one without a size for a job that did not come to an end."""
    shared = {
        name: value
        for name, value in run.record.items()
        if not isinstance(value, dict | list) and name != "traceback"
    }
    if not run.tensors:
        return [shared]
    raw = RawOutputs.from_tensors(run.tensors)
    measure = run.record["measure"]
    circuits = run.record["circuits"]
    areas = curve(raw, {c["size_requested"]: name for name, c in circuits.items()}, measure)
    rows = []
    for name, circuit in circuits.items():
        if circuit["complement"] is not None:  # points of the curve alone have none, and no row
            scores = score(raw, name, circuit["complement"], measure)
            rows.append({**shared, **circuit, **scores, **areas})
    return rows


def _bounds(run: Run) -> list[dict[str, Any]]:
    """The rows of the full and of the empty circuit, each the other's complement."""
    about = (
        "model",
        "task",
        "seed",
        "ablation",
        "graph",
        "n_edges",
        "n_evaluation",
        "measure",
        "dtype",
        "direction",
        "position_policy",
    )
    shared = {name: run.record[name] for name in about}
    raw = RawOutputs.from_tensors(run.tensors)
    rows = []
    for name, complement, share in ((FULL, EMPTY, 1.0), (EMPTY, FULL, 0.0)):
        edges = round(share * run.record["n_edges"])
        rows.append(
            {
                **shared,
                "method": name,
                "params": "",
                "size_requested": share,
                "edges_kept": edges,
                "effective_edges": edges,
                "edge_sparsity": 1 - share,
                "weight_density": 1.0,
                "status": "ok",
                "status_reason": "",
                **score(raw, name, complement, run.record["measure"]),
            }
        )
    return rows


def _with_margin(table: pd.DataFrame) -> pd.DataFrame:
    """Adds `completeness_margin`: above a random connected circuit of the same size, mean over seeds."""
    at = ["model", "task", "ablation", "graph", "size_requested"]
    is_baseline = (table["method"] == BASELINE["method"]) & (table["params"] == BASELINE["params"])
    baseline = table[is_baseline].groupby(at)["completeness"].mean().rename("_baseline")
    joined = table.join(baseline, on=at)
    margin = joined["completeness"] - joined["_baseline"]
    table["completeness_margin"] = margin.where(~table["method"].isin((FULL, EMPTY)))
    return table
