"""`make gpu` on a CPU, and where nothing but torch and numpy is: nobody else would see that it fails."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import oracle
import pytest
import torch
from memory import random_model
from plain import functional
from ratios import TINY
from safetensors.torch import load_file

from checkout import ROOT
from methods.base import find_methods

BARE = """
import importlib.machinery, runpy, sys
hidden = {"jaxtyping", "annotated_types", "safetensors", "transformers", "transformer_lens", "pandas",
          "scipy", "psutil", "pydantic", "rich", "typer", "sklearn", "jinja2", "matplotlib"}
found = importlib.machinery.PathFinder.find_spec
def find_spec(cls, name, *rest):
    return None if name.partition(".")[0] in hidden else found(name, *rest)
importlib.machinery.PathFinder.find_spec = classmethod(find_spec)
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
"""Runs a script as where these packages are missing."""


def run(out: Path, *words: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """The exit code, and what each part wrote."""
    script = [str(ROOT / "tests" / "gpu" / "run.py"), *words, "--device", "cpu", "--tiny", "--out", str(out)]
    done = subprocess.run([sys.executable, "-c", BARE, *script], capture_output=True, text=True, check=False)
    assert not done.stderr, done.stderr
    return done.returncode, {file.stem: json.loads(file.read_text()) for file in out.glob("*.json")}


def test_all_parts_run_where_torch_and_numpy_are(tmp_path: Path) -> None:
    code, parts = run(tmp_path, "all")
    assert code == 0
    assert parts.keys() == {"oracle", "speed", "large", "board"}
    assert all(part["stood_in"] == ["jaxtyping", "annotated_types"] for part in parts.values())
    rows = parts["oracle"]["rows"]
    assert {row["check"] for row in rows} == {"masked forward", "evaluation", "adapter"}
    assert {row["method"] for row in rows if row["check"] == "adapter"} == set(find_methods()[0])
    assert parts["board"]["skipped"].startswith("not installed: transformers, ")
    assert {row["plain"] for row in parts["speed"]["rows"]} == {"torch.nn.functional"}
    assert all(row["ratio"] > 0 for row in parts["speed"]["rows"])
    (row,) = parts["large"]["rows"]
    assert row["edge_pruning_step_seconds"] > 0 < row["eap_batch_seconds"]


def test_a_number_that_has_moved_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    held = oracle.stored()
    held[0]["llama.weights.m1.W_out"] *= 1.01
    monkeypatch.setattr(oracle, "stored", lambda: held)
    failed = [row for row in oracle.forward("cpu") if not row["ok"]]
    assert {row["model"] for row in failed} == {"llama"}
    assert {row["dtype"] for row in failed} == {"float32"}


def test_stored_tensors_are_read_as_safetensors_reads_them() -> None:
    wanted = load_file(oracle.FILE)
    found, _ = oracle.stored()
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in wanted.items())


@pytest.mark.parametrize("shape", TINY)
def test_the_plain_forward_is_the_models(shape: str) -> None:
    model = random_model(TINY[shape], "cpu", torch.float64)
    tokens = torch.randint(100, (3, 7), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(functional(model, tokens), model.run(tokens))


@pytest.mark.every
def test_the_board_where_everything_is_installed(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "tests/gpu/run.py",
        "board",
        "--device",
        "cpu",
        "--tiny",
        "--out",
        str(tmp_path),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads((tmp_path / "board.json").read_text())
    assert (told["exit_code"], told["jobs"]) == (0, 3)
    assert "ones" in (tmp_path / "board.csv").read_text()
