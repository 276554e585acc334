"""How much the circuits of several seeds have in common."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from bench.engine.circuit import Circuit
from bench.errors import DamagedFile
from bench.scoring.metrics import jaccard
from bench.store.record import Dimensions, names_of
from bench.store.results import Store

if TYPE_CHECKING:
    import pandas as pd

SAME = (
    *(name for name in names_of(Dimensions) if name not in ("data_seed", "method_seed")),
    "source",
    "size_requested",
)
"""What runs that differ only in seeds have in common."""


def with_overlap(table: pd.DataFrame, store: Store) -> pd.DataFrame:
    """Adds to every row the mean Jaccard similarity of its circuit with those of the other seeds.

    Unscored if no other seed ran, if a circuit's file is missing, or if there is no circuit.

    Raises:
        DamagedFile: a circuit cannot be read, or is not the one that its run found.
    """
    overlap = table["edges_kept"] * float("nan")
    circuits = table[table["stem"].notna()] if "stem" in table else table.iloc[:0]
    for _, group in circuits.groupby(list(SAME)):
        places = zip(group["stem"], group["size_requested"], strict=True)
        files = [store.circuit(stem, size) for stem, size in places]
        if len(files) > 1 and all(file.exists() for file in files):
            kept = [stored_circuit(*each).kept.flatten() for each in zip(files, group["hash"], strict=True)]
            alike = jaccard(torch.stack(kept))
            others = (alike.sum(1) - alike.diagonal()) / (len(files) - 1)
            overlap[group.index] = others.numpy()
    return table.assign(seed_overlap=overlap)


def stored_circuit(file: Path, digest: object) -> Circuit:
    """A stored circuit, if it is the one that its run found.

    Args:
        file: the circuit's file.
        digest: the hash in its record; not a text if an older version stored none.

    Raises:
        DamagedFile: it cannot be read, or is another one.
    """
    circuit = Circuit.load(file)
    if isinstance(digest, str) and circuit.digest != digest:
        raise DamagedFile(f"{file} is not the circuit that its run found: move it away")
    return circuit
