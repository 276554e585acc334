"""What every record says about where it was made: versions, commit, hardware."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

PROVENANCE = ("version", "versions", "python", "commit", "dirty", "kernels", "hardware")
"""What tables show of it."""


@lru_cache
def provenance() -> dict[str, Any]:
    """Versions, commit and hardware."""
    versions = {name: metadata.version(name) for name in ("torch", "transformers", "transformer-lens")}
    return {
        "version": metadata.version("circuitmark"),
        "versions": " ".join(f"{name}={version}" for name, version in versions.items()),
        "python": platform.python_version(),
        **_commit(),
        "kernels": cpu_kernels(),
        "hardware": f"{_processor()}, {os.cpu_count()} cores",
    }


def cpu_kernels() -> str:
    """The vector instructions that torch's kernels use here, such as AVX512; rounding differs with them."""
    import torch

    return torch.backends.cpu.get_cpu_capability()


def _commit() -> dict[str, Any]:
    """Commit and dirty flag of the checkout that runs, or nothing when it is an installed wheel."""
    file = Path(__file__)

    def git(*words: str) -> str:
        command = ["git", "-C", str(file.parent), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", file.name)  # a wheel may lie within another project's checkout
        return {"commit": git("rev-parse", "--short=12", "HEAD"), "dirty": bool(git("status", "--porcelain"))}
    except (OSError, subprocess.CalledProcessError):
        return {"commit": "", "dirty": None}


def _processor() -> str:
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
