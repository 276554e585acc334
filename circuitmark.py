"""circuitmark: a benchmark for circuit discovery. What a plugin imports, and the command's entry.

Everything is loaded when it is first asked for, so that `import circuitmark` costs nothing.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from methods.base import Batch, Discovery, Method, Problem
    from tracr_ground_truth.program import program

ROOMS = ("bench", "methods", "tasks", "tracr_ground_truth", "reports")
_EXPORTS = {
    "Batch": "methods.base",
    "Discovery": "methods.base",
    "Method": "methods.base",
    "Problem": "methods.base",
    "program": "tracr_ground_truth.program",
}

__all__ = ["Batch", "Discovery", "Method", "Problem", "main", "program"]


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        return getattr(importlib.import_module(_EXPORTS[name]), name)
    raise AttributeError(f"module 'circuitmark' has no attribute '{name}'")


def strangers(home: Path) -> list[str]:
    """The rooms that Python would not take from `home`: their names are common, others may bear them."""
    found = {room: importlib.util.find_spec(room) for room in ROOMS}
    return [
        f"{room} ({spec.origin or 'a folder without __init__.py' if spec else 'nowhere'})"
        for room, spec in found.items()
        if spec is None or spec.origin is None or Path(spec.origin).resolve() != home / room / "__init__.py"
    ]


def main() -> None:
    """The console script `circuitmark`."""
    home = Path(__file__).resolve().parent
    wrong = strangers(home)
    if wrong:
        print(
            f"circuitmark: other packages stand in the way of its own: {', '.join(wrong)} instead of "
            f"{home}. Install circuitmark into a fresh virtual environment and unset PYTHONPATH.",
            file=sys.stderr,
        )
        sys.exit(2)
    from bench.cli import run_app

    run_app()
