"""Files that are whole or not there: atomic writes, and safetensors with a JSON header.

Nothing here, or anywhere in circuitmark, unpickles a file.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from bench.errors import DamagedFile, UnwritableFolder

HEADER = "circuitmark"


def write_atomically(path: Path, content: bytes) -> None:
    """Writes the whole file or nothing: to a temporary neighbour first, then renamed.

    Raises:
        UnwritableFolder: the folder cannot be made or written, or the disk is full.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(".part", f".{path.name}.", path.parent)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)  # mkstemp makes files that only their owner reads
        os.replace(temporary, path)
    except OSError as error:
        if temporary is not None and os.path.exists(temporary):
            os.unlink(temporary)
        raise UnwritableFolder(
            f"cannot write {path} ({error.strerror or error}): "
            "free some space there or choose another folder with --out"
        ) from error


def clear_temporaries(folder: Path) -> None:
    """Removes what killed writes have left, wherever in a folder; nobody may be writing there."""
    for path in folder.rglob(".*.part"):
        if re.fullmatch(r"\..+\.[a-z0-9_]{8}\.part", path.name):
            path.unlink(missing_ok=True)


def read_text(path: Path) -> str:
    """A text file of ours."""
    return path.read_text(encoding="utf-8")


def save_tensors(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
    """Writes tensors and a JSON header as one safetensors file.

    Args:
        path: of the file; its folder is made.
        tensors: by name.
        header: what JSON can hold.

    Raises:
        UnwritableFolder: as `write_atomically`.
    """
    from safetensors.torch import save

    plain = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
    write_atomically(path, save(plain, metadata={HEADER: json.dumps(header, sort_keys=True)}))


def load_header(path: Path) -> dict[str, Any]:
    """The JSON header alone; the tensors are not read.

    Raises:
        DamagedFile: the file is truncated or was not written by `save_tensors`.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            return _header(path, file.metadata())
    except (SafetensorError, OSError) as error:
        raise _damaged(path, error) from error


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and header of a file that `save_tensors` wrote.

    Raises:
        DamagedFile: the file is truncated or was not written by `save_tensors`.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            header = _header(path, file.metadata())
            return {name: file.get_tensor(name) for name in file.keys()}, header  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise _damaged(path, error) from error


def _header(path: Path, metadata: Mapping[str, str] | None) -> dict[str, Any]:
    try:
        header = json.loads((metadata or {})[HEADER])
    except (KeyError, ValueError) as error:
        raise DamagedFile(f"{path} was not written by circuitmark: move it away") from error
    if not isinstance(header, dict):
        raise DamagedFile(f"{path} was not written by circuitmark: move it away")
    return header


def _damaged(path: Path, error: Exception) -> DamagedFile:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return DamagedFile(f"{path} cannot be read ({reason}): delete it and run the same command again")
