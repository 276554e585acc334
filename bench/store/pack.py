"""A results folder as one file to hand in: raw outputs, circuits and records, but no tables.

Its reader computes every score again. Hashes detect a file that was damaged or changed on its way; they do
not show that its numbers are honest, which only a replication does.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from bench.errors import DamagedFile, NewerResults, UserError
from bench.files import write_atomically
from bench.store.provenance import provenance

MANIFEST = "manifest.json"
FORMAT = 1
"""Version of packs; raised when an older circuitmark would misread it."""
MOST_BYTES = 2**26
"""Largest size of a manifest."""
LARGEST, MOST = 2**31, 2**34
"""Most bytes of a file in a pack, and of all of them."""
_PART = r"[^/\\.][^/\\]*"
HELD = re.compile(
    rf"asked\.json|(?:runs|settings|tracr)/{_PART}\.safetensors|circuits/{_PART}/{_PART}\.safetensors"
)
"""The files of a results folder that a pack holds, relative to that folder."""


def pack(results: Path, file: Path) -> str:
    """Writes a pack and returns its SHA-256; the same results give the same bytes.

    Logs and tracebacks are left out: they may hold private details.

    Args:
        results: a results folder.
        file: the file to write.

    Raises:
        UnwritableFolder: it cannot be written.
    """
    names = sorted(
        name
        for path in results.rglob("*")
        if path.is_file() and HELD.fullmatch(name := path.relative_to(results).as_posix())
    )
    hashes: dict[str, str] = {}
    with tempfile.TemporaryFile() as held:
        with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
            for name in names:  # read once: a job may store it again meanwhile
                content = (results / name).read_bytes()
                hashes[name] = hashlib.sha256(content).hexdigest()
                _add(archive, name, content)
            manifest = {"format": FORMAT, "version": provenance()["version"], "files": hashes}
            _add(archive, MANIFEST, json.dumps(manifest, indent=1).encode())
        held.seek(0)
        content = held.read()
    write_atomically(file, content)
    return hashlib.sha256(content).hexdigest()


def is_pack(file: Path) -> bool:
    """Whether a file is a pack, by its manifest's name alone."""
    try:
        with zipfile.ZipFile(file) as archive:
            return MANIFEST in archive.namelist()
    except (OSError, zipfile.BadZipFile):
        return False


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    about = zipfile.ZipInfo(name)  # dated 1980, whenever it is packed
    about.compress_type = zipfile.ZIP_DEFLATED
    archive.writestr(about, content)


@contextmanager
def unpacked(file: Path) -> Iterator[Path]:
    """The results folder that a pack holds, unpacked for the time of the context.

    Raises:
        DamagedFile: it is not a pack, or a file in it is not what was packed.
        NewerResults: it is of a newer circuitmark.
    """
    with tempfile.TemporaryDirectory() as temporary:
        try:
            with zipfile.ZipFile(file) as archive:
                _unpack(archive, file, Path(temporary))
        except (zipfile.BadZipFile, zlib.error, RuntimeError, EOFError, ValueError) as error:
            raise DamagedFile(
                f"{file} is not a complete pack ({error}): make one with circuitmark pack"
            ) from error
        except OSError as error:
            raise DamagedFile(f"{file} cannot be read or unpacked ({error})") from error
        try:
            yield Path(temporary)
        except UserError as error:  # it names a temporary file
            raise type(error)(str(error).replace(f"{temporary}{os.sep}", f"{file}: ")) from error


def _unpack(archive: zipfile.ZipFile, file: Path, into: Path) -> None:
    sizes = [about.file_size for about in archive.infolist()]
    if max(sizes, default=0) > LARGEST or sum(sizes) > MOST:
        raise DamagedFile(
            f"{file} holds {sum(sizes) / 2**30:.1f} GiB, more than a pack may: it is not unpacked"
        )
    if any(
        about.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) for about in archive.infolist()
    ):
        raise DamagedFile(f"{file} is not a circuitmark pack (it is compressed in another way)")
    hashes = _manifest(archive, file)
    for name in (each for each in archive.namelist() if each != MANIFEST):
        content = archive.read(name)
        if hashlib.sha256(content).hexdigest() != hashes.get(name):
            raise DamagedFile(
                f"{file} is not what was packed ({name} was changed or added): ask for it again"
            )
        path = into.joinpath(*PurePosixPath(name).parts)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def _manifest(archive: zipfile.ZipFile, file: Path) -> dict[str, str]:
    """The hashes of a pack's files, each of which is there, once, and belongs in a results folder."""
    names = archive.namelist()
    if any(about.filename == MANIFEST and about.file_size > MOST_BYTES for about in archive.infolist()):
        raise DamagedFile(f"{file} is not a circuitmark pack (its {MANIFEST} is too large)")
    try:
        manifest: dict[str, Any] = json.loads(archive.read(MANIFEST))
        held, hashes = manifest["format"], {str(name): str(h) for name, h in manifest["files"].items()}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DamagedFile(f"{file} is not a circuitmark pack: make one with circuitmark pack") from error
    if isinstance(held, int) and held > FORMAT:
        raise NewerResults(f"{file} was packed by a newer circuitmark: update this one to read it")
    if strange := [name for name in names if name != MANIFEST and not HELD.fullmatch(name)]:
        raise DamagedFile(
            f"{file} is not what was packed ({strange[0]!r} does not belong in a results folder): "
            "ask for it again"
        )
    if gone := sorted(set(hashes) - set(names)):
        raise DamagedFile(f"{file} is not what was packed ({gone[0]} is missing): ask for it again")
    if len(names) != len(set(names)):
        raise DamagedFile(f"{file} is not what was packed (it holds a file twice): ask for it again")
    return hashes
