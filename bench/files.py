"""Files that are complete or absent: atomic writes, and safetensors with a JSON header.

Only regular files are opened: a pipe may block, and a device has no end. Nothing here, or anywhere
in circuitmark, unpickles a file.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.errors import DamagedFile, UnwritableFolder

HEADER = "circuitmark"
"""The only key in the metadata of our safetensors files: a header as JSON."""
HASHES = "sha256"
"""Its field for the hashes of header and tensors, which files of older versions lack."""


def regular(path: Path) -> Path:
    """The path itself, if it is a regular file.

    Raises:
        DamagedFile: it is a folder, a pipe or a device.
        OSError: it does not exist.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise DamagedFile(f"{path} is not a regular file: move it away or name another")
    return path


def read_text(path: Path, most: int) -> str:
    """A file of UTF-8, with a byte order mark or without.

    Raises:
        DamagedFile: it is not a regular file, has more than `most` bytes, or is not UTF-8.
        OSError: it cannot be read.
    """
    with regular(path).open("rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise DamagedFile(f"{path} is too large: such a file has at most {most:,} bytes")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DamagedFile(f"{path} is not UTF-8 text (byte {error.start})") from error


def content_hash(tensors: Mapping[str, Tensor], text: str = "") -> str:
    """A hash of named tensors, in any order, and of a text."""
    whole = hashlib.sha256(text.encode())
    for name, tensor in sorted(tensors.items()):
        whole.update(f"\0{name} {tensor.dtype} {list(tensor.shape)}\0".encode())
        whole.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return whole.hexdigest()


def write_atomically(path: Path, content: bytes) -> None:
    """Writes the whole file or nothing: to a temporary neighbour first, then renamed.

    Raises:
        UnwritableFolder: the folder cannot be made or written, or the disk is full.
    """
    temporary = None
    try:
        descriptor, temporary = _temporary(path)
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


def _temporary(path: Path, attempts: int = 100) -> tuple[int, str]:
    """A new file beside `path`, in a folder that another process may remove as soon as it is made."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return tempfile.mkstemp(".part", f".{path.name}.", path.parent)
    except (FileNotFoundError, FileExistsError):
        if attempts == 1:
            raise
        return _temporary(path, attempts - 1)


def clear_temporaries(folder: Path) -> None:
    """Removes what killed writes have left anywhere in a folder; no other process may be writing there."""
    for path in folder.rglob(".*.part"):
        if re.fullmatch(r"\..+\.[a-z0-9_]{8}\.part", path.name):
            path.unlink(missing_ok=True)


def save_tensors(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
    """Writes tensors and a JSON header as one safetensors file, with a hash of each.

    Half a surrogate pair, which no text file can hold, becomes a question mark.

    Args:
        path: the file to write; its folder is created.
        tensors: by name.
        header: data that JSON can hold.

    Raises:
        UnwritableFolder: as `write_atomically`.
    """
    from safetensors.torch import save

    plain = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
    text = _text(header)
    hashes = {"header": content_hash({}, text), "tensors": content_hash(plain)}
    # only one entry: the order of several, and so the file's bytes, would vary
    metadata = {HEADER: _text({**json.loads(text), HASHES: hashes})}
    write_atomically(path, save(plain, metadata=metadata))


def _text(header: Mapping[str, Any]) -> str:
    return json.dumps(header, sort_keys=True, ensure_ascii=False).encode(errors="replace").decode()


def load_header(path: Path) -> dict[str, Any]:
    """The JSON header alone; the tensors are not read.

    Raises:
        DamagedFile: the file is truncated, has been changed, or was not written by `save_tensors`.
    """
    return _load(path, whole=False)[1]


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and header of a file that `save_tensors` wrote.

    Raises:
        DamagedFile: the file is truncated, has been changed, or was not written by `save_tensors`.
    """
    return _load(path, whole=True)


def _load(path: Path, whole: bool) -> tuple[dict[str, Tensor], dict[str, Any]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(regular(path), framework="pt") as file:
            header, hashes = _header(path, file.metadata() or {})
            tensors = {name: file.get_tensor(name) for name in file.keys()} if whole else {}  # noqa: SIM118
    except (SafetensorError, OSError, AttributeError) as error:  # the last: a type that torch lacks
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise _damaged(path, reason) from error
    if whole and hashes and hashes.get("tensors") != content_hash(tensors):
        raise _damaged(path, "its tensors are not those that were written")
    return tensors, header


def _header(path: Path, metadata: Mapping[str, str]) -> tuple[dict[str, Any], Mapping[str, Any] | None]:
    """The header, and the hashes that it holds."""
    foreign = DamagedFile(f"{path} was not written by circuitmark: move it away")
    if set(metadata) != {HEADER}:
        raise foreign
    try:
        header = json.loads(metadata[HEADER])
    except (ValueError, RecursionError) as error:
        raise foreign from error
    if not isinstance(header, dict):
        raise foreign
    hashes = header.pop(HASHES, None)
    if hashes is None:  # an older file, or the key of the hashes was changed
        whole = not any(
            isinstance(each, dict) and {"header", "tensors"} & set(each) for each in header.values()
        )
    else:
        whole = isinstance(hashes, dict) and hashes.get("header") == content_hash({}, _text(header))
    if not whole:
        raise _damaged(path, "its header is not the one that was written")
    return header, hashes


def _damaged(path: Path, reason: str) -> DamagedFile:
    return DamagedFile(f"{path} cannot be read ({reason}): move it away and run the same command again")
