"""Recoveries of compiled programs in a results folder, a file each."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from torch import Tensor

from bench.errors import DamagedFile
from bench.files import load_header, load_tensors
from bench.store.results import refuse_older

SHAKEN = "shaken"
"""The folder of what was found on shaken weights."""

Row = dict[str, Any]


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
        found.append(row)
    return found


def recovery_path(out: Path, words: Iterable[str], shaken: bool) -> Path:
    """The file of a recovery.

    Args:
        out: the results folder.
        words: say whose it is; empty ones are left out.
        shaken: whether it was found on shaken weights, which stand apart.
    """
    folder = out / "tracr" / SHAKEN if shaken else out / "tracr"
    stem = "-".join(re.sub(r"[^\w.]+", "_", word) for word in words if word)
    return folder / f"{stem}.safetensors"


def stored_recovery(path: Path, key: str) -> tuple[Row, dict[str, Tensor]] | None:
    """What the method found before, when it is there and was found by the same code; failures are not."""
    if not path.exists():
        return None
    try:
        tensors, header = load_tensors(path)
    except DamagedFile:
        return None
    row = header.get("recovery", {})
    if row.get("key") != key or row.get("status") == "failed":
        return None
    about = {name: row[name] for name in ("status", "status_reason", "objective", "seconds")}
    return about, {name: tensors[name] for name in ("scores", "unaided") if name in tensors}
