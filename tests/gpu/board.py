"""The default board on a device, where all that circuitmark depends on is installed."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
NEEDED = (
    "transformers",
    "transformer_lens",
    "pandas",
    "pydantic",
    "rich",
    "typer",
    "safetensors",
    "jinja2",
    "scipy",
)
"""Without them no model is read, or no table written."""
LIMIT = 420
"""Seconds; a board that takes longer is stopped, and what it had is kept."""
QUICK = ["--quick", "-t", "gp", "--sizes", "5%"]


def main(device: str, tiny: bool, out: Path) -> dict[str, Any]:
    """Runs ``circuitmark run``; its table goes to ``board.csv`` beside the figures."""
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        return {"failed": [], "skipped": f"not installed: {', '.join(missing)}", "how": "pip install . there"}
    chosen = QUICK if tiny else ["--config", "configs/default.yaml"]
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "circuitmark", "run", *chosen, "--device", device, "--out", folder]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        started = time.perf_counter()
        try:
            done = subprocess.run(
                command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=LIMIT, check=False
            )
            code, words = done.returncode, done.stdout + done.stderr
        except subprocess.TimeoutExpired:
            code, words = None, f"stopped after {LIMIT} seconds"
        seconds = time.perf_counter() - started
        table = Path(folder) / "leaderboard.csv"
        if table.exists():
            shutil.copy(table, out / "board.csv")
        jobs = len(list((Path(folder) / "runs").glob("*.safetensors")))
    failed = [] if code == 0 else [words[-2000:]]
    return {"failed": failed, "exit_code": code, "seconds": seconds, "jobs": jobs, "command": command[1:-1]}
