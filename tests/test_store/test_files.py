"""Files are whole or not there, whoever else is at work in their folder."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import pytest

from bench.discovery.checkpoint import forget
from bench.errors import UnwritableFolder
from bench.files import write_atomically


def test_a_broken_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_atomically(tmp_path / "page", b"old")

    def refuse(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(UnwritableFolder, match="no space"):
        write_atomically(tmp_path / "page", b"new")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]


def test_a_folder_that_is_tidied_away_before_its_first_file_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, make = tmp_path / "unfinished" / "job", tempfile.mkstemp
    tidied: list[bool] = []

    def late(suffix: str, prefix: str, folder: Path) -> Any:
        if not tidied:
            forget(folder / "another job")
            tidied.append(not folder.exists())
        return make(suffix, prefix, folder)

    monkeypatch.setattr(tempfile, "mkstemp", late)
    write_atomically(path, b"found")
    assert (tidied, path.read_bytes()) == ([True], b"found")
