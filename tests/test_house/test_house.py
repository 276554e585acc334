"""The structure of the house: who imports whom, what starts quickly, what never happens."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import circuitmark
from checkout import ROOT
from circuitmark.rooms import ROOMS
from faults import FAULTS

SEE = re.compile(r"[Ss]ee `[a-z_.]*([A-Z]\w+)")
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


def test_what_is_skipped_with_shapes_runs_without() -> None:
    """`make test` runs these rooms with shapes checked, and the files that bear no such check apart."""
    makefile = (ROOT / "Makefile").read_text().replace("\\\n", " ")
    shaped, unshaped = (
        set(re.findall(rf"^{name} := (.*)$", makefile, re.M)[0].split()) for name in ("SHAPED", "UNSHAPED")
    )
    files = [file for room in shaped for file in (ROOT / room).rglob("*.py")]
    skipped = {str(f.relative_to(ROOT)) for f in files if '"CIRCUITMARK_SHAPES" in' in f.read_text()}
    assert len(skipped) > 1
    assert skipped <= unshaped
    assert all((ROOT / file).exists() for file in unshaped)


def test_nothing_unpickles() -> None:
    """MIB's tensors alone are read by torch, which is told to refuse code."""
    for file in SOURCES:
        text = file.read_text()
        if file == ROOT / "bench" / "exchange" / "mib_pt.py":
            assert text.count("torch.load(") == text.count("weights_only=True)") == 1
            text = text.replace("torch.load(", "")
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


def test_every_fault_can_be_planted() -> None:
    """`tests/mutations.py` is no part of CI either: where code moves, its faults must move along."""
    for fault in FAULTS:
        assert (ROOT / fault.file).read_text().count(fault.old) == 1, f"{fault.file}: {fault.old}"


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


def test_arguments_are_described() -> None:
    """Public functions of three parameters or more say under `Args:` what these are; D417 wants all of them.

    Typer's commands have help texts instead. A method may point to the contract that describes it, or,
    without a docstring, its class may: "See `Task.examples`", "see `methods.base.Problem`".
    """
    found = [(file, *each) for file in SOURCES for each in _public_functions(ast.parse(file.read_text()))]
    described = {name for _, name, function, _ in found if "\nArgs:\n" in (ast.get_docstring(function) or "")}
    for file, name, function, about_class in found:
        is_command = any(".command(" in ast.unparse(each) for each in function.decorator_list)
        if _parameters(function) >= 3 and not is_command:
            told = ast.get_docstring(function)
            contract = SEE.search(told or about_class)
            pointed = contract is not None and f"{contract[1]}.{function.name}" in described
            assert pointed or "\nArgs:\n" in (told or ""), f"{file.relative_to(ROOT)}: {name}"


def _public_functions(tree: ast.Module) -> Iterator[tuple[str, ast.FunctionDef, str]]:
    """Functions and methods of classes, with their class's docstring; none with a leading underscore."""
    for node in tree.body:
        members, prefix, about = [node], "", ""
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            members, prefix, about = node.body, f"{node.name}.", ast.get_docstring(node) or ""
        for member in members:
            if isinstance(member, ast.FunctionDef) and not member.name.startswith("_"):
                yield prefix + member.name, member, about


def _parameters(function: ast.FunctionDef) -> int:
    """How many there are besides self and cls."""
    given = function.args
    named = [part.arg for part in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
    return len({*named} - {"self", "cls"}) + (given.vararg is not None) + (given.kwarg is not None)


def test_plugins_find_the_contract() -> None:
    from methods.base import Discovery, Method, Problem

    assert (circuitmark.Method, circuitmark.Problem, circuitmark.Discovery) == (Method, Problem, Discovery)
    with pytest.raises(AttributeError, match="no attribute 'Methods'"):
        circuitmark.Methods  # noqa: B018
