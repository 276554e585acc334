"""Recoveries of compiled programs in a results folder, a file each."""

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
"""The folder of what was found on shaken weights."""

Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Recovery:
    """What a row must hold to be read; it says more, such as its provenance.

    Raises:
        ValueError: something that should be an edge is none.
    """

    program: str
    """Tracr's or ours, or FILE.py:FUNCTION."""
    ablation: AblationName
    """Of the truth and of the method."""
    method: str
    """By its name."""
    params: str
    """Its options that are not the defaults."""
    settings: Mapping[str, Any]
    status: Status
    """What became of the job; a method declines what it cannot do."""
    status_reason: str
    """Why it is not ok."""
    objective: str
    """What the method's scores are of, where it has several."""
    seconds: Amount | None
    """Of discovery."""
    n_edges: Natural
    """Of the compiled model's graph."""
    n_true: Natural
    """Edges that are true."""
    redundant: bool
    """Whether the necessary edges do not suffice."""
    true_edges: str
    """Those that the circuit is held against; of several true circuits, the nearest."""
    found_edges: str | None
    """The circuit that the method settles on."""
    unaided_edges: Natural | None
    """How many these are."""
    unaided_exact: bool | None
    exact_at_true_size: bool | None
    published_exact: bool | None
    """Whether these are the edges that others have published for the program."""
    tpr: Share | None
    fpr: Share | None
    f1: Share | None
    auroc: Share | None
    average_precision: Share | None
    graph: str
    """Its edges, and how they are counted."""
    data: str
    """A hash of the inputs."""
    engine: str
    """A hash of the numbers that this version is held to (`golden.json`)."""
    key: str
    """Of all that the row hangs on."""
    format: Count
    """Of the row."""
    created: str
    """When it was stored."""
    minimal_sets: Natural | None = None
    """Minimal sufficient sets of edges; none where there are too many sets to try."""
    is_minimal: bool | None = None
    """Whether the necessary edges are one of these."""
    margin: float | None = None
    cut_low: float | None = None
    """From this threshold of the scores on the circuit is exact; none where it is at no threshold."""
    cut_high: float | None = None
    """Up to this one."""
    top_score: float | None = None
    """The largest score, of which a threshold may be a share."""
    method_seed: Seed = 0
    """Of whatever the method draws."""
    kernels: str = ""
    """The vector instructions that torch ran with: rounding differs with them."""
    stochastic: bool | None = None
    """Whether the method draws anything."""

    def __post_init__(self) -> None:
        for edge in f"{self.true_edges} {self.found_edges or ''}".split():
            ends_of(edge)


def rows(out: Path, shaken: bool = False) -> list[Row]:
    """All that is stored in a results folder, in order of program, ablation and method.

    What was found on shaken weights is apart: it says on what a result hangs, not what it is.

    Raises:
        DamagedFile: one of the files cannot be read.
        OlderResults: one of them is of an older version.
    """
    found = []
    folder = out / "tracr" / SHAKEN if shaken else out / "tracr"
    for path in sorted(folder.glob("[!.]*.safetensors")):
        row = load_header(path).get("recovery")
        if not isinstance(row, dict):
            raise DamagedFile(f"{path} is no recovery of this circuitmark: move it away")
        refuse_older(row, out)
        try:
            read(Recovery, row)
        except ValueError as error:
            raise DamagedFile(f"{path} is no recovery of this circuitmark ({error}): move it away") from error
        found.append(row)
    return found


def rows_of(folders: Sequence[Path]) -> list[Row]:
    """Those of several results folders; of the same recovery in two, the first one's.

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
        words: say whose it is; empty ones are left out.
        shaken: whether it was found on shaken weights, which stand apart.
    """
    folder = out / "tracr" / SHAKEN if shaken else out / "tracr"
    stem = "-".join(re.sub(r"[^\w.-]+", "_", word) for word in words if word)
    if (beginning := readable(stem)) != stem:
        stem = f"{beginning}-{key_of(stem)}"
    return folder / f"{stem}.safetensors"


def stored_recovery(path: Path, key: str, shape: tuple[int, int]) -> tuple[Row, dict[str, Tensor]] | None:
    """What the method found before, when it is there, whole, and found by the same code; failures are not.

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
