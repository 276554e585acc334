"""The structure of the house: who imports whom, what starts quickly, what never happens."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

import circuitmark
from checkout import ROOT
from circuitmark.rooms import ROOMS

SOURCES = [file for room in ("circuitmark", *ROOMS) for file in (ROOT / room).rglob("*.py")]


def test_imports_run_one_way() -> None:
    """The contracts in pyproject.toml: leaves know nobody, bench has its floors, there is no circle."""
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_engine_imports_torch_alone() -> None:
    """The core loads on a machine that has torch, numpy and jaxtyping, and nothing heavier."""
    heavy = ("transformers", "transformer_lens", "matplotlib", "pandas", "scipy", "sklearn", "jax", "dask")
    code = (
        "import sys, bench.scoring.evaluate, bench.discovery.problem, bench.discovery.select, methods.eap;"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_nothing_unpickles() -> None:
    for file in SOURCES:
        text = file.read_text()
        for word in ("import pickle", "torch.load(", "allow_pickle=True", "joblib", "trust_remote_code=True"):
            assert word not in text, f"{file.relative_to(ROOT)} has {word}"


def test_tests_shadow_no_room() -> None:
    folders = {path.name for path in (ROOT / "tests").rglob("*") if path.is_dir()}
    assert not folders & {"circuitmark", *ROOMS}
    assert not list((ROOT / "tests").rglob("__init__.py"))


def test_the_speed_suite_can_be_collected() -> None:
    """`make bench` is no part of CI: nobody would see that it has stopped to run."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "tests/speed"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_files_and_rooms_stay_readable() -> None:
    for file in [*SOURCES, *(ROOT / "tests").rglob("*.py")]:
        assert len(file.read_text().splitlines()) <= 400, file
    for folder, count in Counter(file.parent for file in SOURCES if file.name != "__init__.py").items():
        assert count <= 15, f"{folder} holds {count} files"


def test_nobody_counts_parents() -> None:
    """Package data is found by importlib.resources, whatever stands where."""
    for file in SOURCES:
        assert ".parent.parent" not in file.read_text(), file
        assert ".parents[" not in file.read_text(), file


def test_everything_public_has_a_docstring() -> None:
    """Modules, classes and functions without a leading underscore; members of documented contracts aside."""
    for file in SOURCES:
        tree = ast.parse(file.read_text())
        if file.name != "__init__.py" or tree.body:
            assert ast.get_docstring(tree), file
        for node in tree.body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                assert ast.get_docstring(node), f"{file.relative_to(ROOT)}: {node.name}"


def test_plugins_find_the_contract() -> None:
    from methods.base import Discovery, Method, Problem

    assert (circuitmark.Method, circuitmark.Problem, circuitmark.Discovery) == (Method, Problem, Discovery)
    with pytest.raises(AttributeError, match="no attribute 'Methods'"):
        circuitmark.Methods  # noqa: B018
