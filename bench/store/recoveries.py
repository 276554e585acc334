"""Recoveries of compiled programs in a results folder, one file each."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.engine.ablation import AblationName
from bench.engine.graph import ends_of
from bench.errors import DamagedFile
from bench.files import load_header, load_tensors
from bench.schema import Amount, Count, Natural, Seed, Share, read
from bench.store.keys import key_of, readable
from bench.store.record import Status
from bench.store.results import refuse_older

SHAKEN = "shaken"
"""The folder for what was found on shaken weights."""

Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Recovery:
    """What a row must hold to be read; it holds more, such as its provenance.

    Raises:
        ValueError: something that should be an edge is not one.
    """

    program: str
    """Name of the program, or FILE.py:FUNCTION."""
    ablation: AblationName
    """The ablation, for the truth and for the method."""
    method: str
    """Name of the method."""
    params: str
    """The method's options that are not the defaults."""
    settings: Mapping[str, Any]
    status: Status
    """What became of the job; a method declines what it cannot do."""
    status_reason: str
    """Why the status is not ok."""
    objective: str
    """What the method's scores measure, if it can use several objectives."""
    seconds: Amount | None
    """Wall-clock time of discovery."""
    n_edges: Natural
    """Number of edges of the compiled model's graph."""
    n_true: Natural
    """Number of true edges."""
    redundant: bool
    """Whether the necessary edges do not suffice."""
    true_edges: str
    """The true edges; if several circuits are right, those of the one that fits best."""
    found_edges: str | None
    """The circuit that the method settles on."""
    unaided_edges: Natural | None
    """Number of edges of that circuit."""
    unaided_exact: bool | None
    exact_at_true_size: bool | None
    published_exact: bool | None
    """Whether that circuit is a published list of edges for the program, edge for edge."""
    tpr: Share | None
    fpr: Share | None
    f1: Share | None
    auroc: Share | None
    average_precision: Share | None
    graph: str
    """Number of edges of the model's graph, and how they are counted."""
    data: str
    """A hash of the inputs."""
    engine: str
    """A hash of the numbers that this version of the engine must return (`golden.json`)."""
    key: str
    """A hash of all that the row depends on."""
    format: Count
    """Format of the row."""
    created: str
    """When it was stored."""
    minimal_sets: Natural | None = None
    """Number of minimal sufficient sets of edges; unscored where there are too many sets to try."""
    is_minimal: bool | None = None
    """Whether the necessary edges are one of these sets."""
    margin: float | None = None
    cut_low: float | None = None
    """Thresholds from this one up to below `cut_high` cut a right circuit from the scores, if it is the lower
    of the two; empty: no lower bound."""
    cut_high: float | None = None
    """The upper bound of these thresholds; empty: no upper bound."""
    top_score: float | None = None
    """The largest score, of which a threshold may be a share."""
    method_seed: Seed = 0
    """Seed of whatever the method draws."""
    kernels: str = ""
    """The vector instructions that torch ran with; rounding depends on them."""
    stochastic: bool | None = None
    """Whether the method draws anything."""

    def __post_init__(self) -> None:
        for edge in f"{self.true_edges} {self.found_edges or ''}".split():
            ends_of(edge)


def rows(out: Path, shaken: bool = False) -> list[Row]:
    """All recoveries in a results folder, in order of program, ablation and method.

    Those on shaken weights are kept apart: they show what a result depends on, not what it is.

    Raises:
        DamagedFile: one of the files cannot be read.
        OlderResults: one of them is of an older version.
    """
    found = []
    folder = out / "tracr" / SHAKEN if shaken else out / "tracr"
    for path in sorted(folder.glob("[!.]*.safetensors")):
        row = load_header(path).get("recovery")
        if not isinstance(row, dict):
            raise DamagedFile(f"{path} is not a recovery of this circuitmark: move it away")
        refuse_older(row, out)
        try:
            read(Recovery, row)
        except ValueError as error:
            raise DamagedFile(
                f"{path} is not a recovery of this circuitmark ({error}): move it away"
            ) from error
        found.append(row)
    return found


def rows_of(folders: Sequence[Path]) -> list[Row]:
    """The recoveries of several results folders; of the same one in two, the first folder's.

    Raises:
        DamagedFile: as `rows`.
        OlderResults: likewise.
    """
    told = ("program", "ablation", "method", "params", "method_seed", "kernels")
    found: dict[tuple[Any, ...], Row] = {}
    for folder in folders:
        for row in rows(folder):
            found.setdefault(tuple(row.get(name) for name in told), row)
    return list(found.values())


def recovery_path(out: Path, words: Iterable[str], shaken: bool) -> Path:
    """The file of a recovery.

    Args:
        out: the results folder.
        words: identify it; empty ones are left out.
        shaken: whether it was found on shaken weights: these are kept apart.
    """
    folder = out / "tracr" / SHAKEN if shaken else out / "tracr"
    stem = "-".join(re.sub(r"[^\w.-]+", "_", word) for word in words if word)
    if (beginning := readable(stem)) != stem:
        stem = f"{beginning}-{key_of(stem)}"
    return folder / f"{stem}.safetensors"


def stored_recovery(path: Path, key: str, shape: tuple[int, int]) -> tuple[Row, dict[str, Tensor]] | None:
    """What the method found before; None if it is missing, damaged, a failure, or found by other code.

    Args:
        path: of its file.
        key: a hash of all that determines it.
        shape: of the program's edge matrices.
    """
    if not path.exists():
        return None
    try:
        tensors, header = load_tensors(path)
        row = read(Recovery, header.get("recovery"))
    except (DamagedFile, ValueError):
        return None
    found: dict[str, Tensor] = {name: tensors[name] for name in ("scores", "unaided") if name in tensors}
    fits = all(
        tensor.shape == shape and (tensor.dtype == torch.bool) == (name == "unaided")
        for name, tensor in found.items()
    )
    if row.key != key or row.status == "failed" or not fits:
        return None
    return {name: getattr(row, name) for name in ("status", "status_reason", "objective", "seconds")}, found
