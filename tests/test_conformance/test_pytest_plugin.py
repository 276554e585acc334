"""The pytest plugin: a test per check and program with the option; nothing at all without it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from careless import CARELESS, SOUND

SOMETIMES = """
from dataclasses import replace
from methods.acdc import ACDC

class Mine(ACDC):
    name, stochastic = "sometimes", True
    def discover(self, problem):
        found = super().discover(problem)
        return found if problem.seed == {lucky} else replace(found, unaided=problem.graph.exists)
"""
"""ACDC, where the seed is the lucky one."""


def pytest_in(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Runs pytest with this plugin alone, installed or not."""
    command = [sys.executable, "-m", "pytest", "-p", "circuitmark.pytest_plugin", "-p", "no:cacheprovider"]
    alone = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    return subprocess.run(
        [*command, *words], cwd=folder, env=alone, capture_output=True, text=True, check=False
    )


def test_it_leaves_other_projects_alone(tmp_path: Path) -> None:
    """Their `tasks` stays theirs, and nothing is imported for them."""
    (tmp_path / "tasks.py").write_text("mine = True\n")
    (tmp_path / "test_theirs.py").write_text(
        "import sys\nimport tasks\n\ndef test_theirs():\n    assert tasks.mine\n"
        "    assert not {'torch', 'bench', 'methods'} & sys.modules.keys()\n"
    )
    done = pytest_in(tmp_path)
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout


def test_checks_are_tests(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(SOUND)
    (tmp_path / "test_mine.py").write_text("def test_mine():\n    pass\n")
    listed = pytest_in(tmp_path, "--circuitmark", "mine.py", "--collect-only", "-q").stdout
    for test in ("test_mine.py::test_mine", "circuitmark mine.py::sizes[llama]",
                 "circuitmark mine.py::citation[all]"):  # fmt: skip
        assert test in listed
    assert "recovers" not in listed
    done = pytest_in(tmp_path, "--circuitmark", "mine.py", "-k", "neox or test_mine")
    assert done.returncode == 0, done.stdout
    assert "11 passed" in done.stdout

    (tmp_path / "mine.py").write_text(CARELESS["NaN"][1])
    done = pytest_in(tmp_path, "--circuitmark", "mine.py", "-k", "neox")
    assert done.returncode == 1
    assert "FAILED circuitmark mine.py::finite[neox]" in done.stdout
    assert "see it again: circuitmark check mine.py --problem neox --check finite" in done.stdout
    assert done.stdout.count("FAILED") == 1
    assert "Traceback" not in done.stdout


@pytest.mark.slow
def test_recoveries_are_tests(tmp_path: Path) -> None:
    """A method that recovers passes, one that does not is told what it missed."""
    pytest.importorskip("tracr")
    for lucky in (3, 9):  # one of the four seeds from 1 suffices; a fifth is not tried
        (tmp_path / f"lucky{lucky}.py").write_text(SOMETIMES.format(lucky=lucky))

    def recovered(*methods: str) -> str:
        named = [word for method in methods for word in ("--circuitmark", method)]
        done = pytest_in(tmp_path, *named, "--circuitmark-programs", "x_proportion", "-k", "recovers")
        assert done.returncode == ("failed" in done.stdout), done.stdout
        return done.stdout

    assert "4 passed" in recovered("acdc", "lucky3.py")
    told = recovered("random_edges", "eap:threshold=0.99", "lucky9.py")
    assert "it returns no unaided circuit" in told
    assert "not recovered in its run: it finds" in told
    assert "not recovered in 4 runs" in told
    assert "6 failed" in told


@pytest.mark.slow
def test_a_program_of_one_s_own_is_recovered(tmp_path: Path) -> None:
    pytest.importorskip("tracr")
    (tmp_path / "mine.py").write_text(
        "from tracr.rasp import rasp\n"
        "from tracr_ground_truth import program\n\n"
        '@program("ab", 3)\n'
        "def same() -> rasp.SOp:\n"
        '    """Each token itself."""\n'
        '    return rasp.Map(lambda token: token == "a", rasp.tokens)\n'
    )
    words = ("--circuitmark", "acdc", "--circuitmark-programs", "mine.py:same", "-k", "recovers")
    done = pytest_in(tmp_path, *words)
    assert "passed" in done.stdout, done.stdout
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("eapp",), "unknown method 'eapp'; did you mean 'eap'?"),
        (("eap", "--circuitmark-programs", "revers"), "unknown program 'revers'; did you mean 'reverse'?"),
    ],
)
def test_a_wrong_name_is_one_line(words: tuple[str, ...], told: str, tmp_path: Path) -> None:
    done = pytest_in(tmp_path, "--circuitmark", *words)
    assert done.returncode == 4
    assert f"ERROR: --circuitmark: {told}" in done.stderr
