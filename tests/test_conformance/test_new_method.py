"""`circuitmark new-method`: both files run as they are, names that would harm are refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bench.conformance.check import check
from command_line import CommandLine


def test_both_files_run_as_they_are(command: CommandLine, tmp_path: Path) -> None:
    """And pass ruff by its defaults; the test finds the adapter, whatever the folder."""
    written = command("new-method", "my_method").stdout.split()
    assert written == ["my_method.py", "test_my_method.py"]
    for words in (["check", "--select", "E,F,I,B,UP,D1"], ["format", "--check"]):
        ruff = [str(Path(sys.executable).parent / "ruff"), *words, "--isolated", "--no-cache", str(tmp_path)]
        done = subprocess.run(ruff, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout
    verdict = check("my_method.py:threshold=0.1", ["gpt2"])
    assert verdict.passed, str(verdict)
    assert not [checked for checked in verdict.checks if checked.reason]
    told = command("list", "methods", "my_method.py").stdout
    assert "threshold=0.01  (float)\n    The unaided circuit keeps edges that score" in told
    pytest_words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "llama"]
    done = subprocess.run(pytest_words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("eap", "a method named 'eap' already exists"),
        ("torch", "torch.py would hide the installed module 'torch'"),
        ("methods", "methods.py would hide the installed module 'methods'"),
        ("My-Method", "'My-Method' cannot be a method's name"),
        ("../mine", "'../mine' cannot be a method's name"),
        ("class", "'class' cannot be a method's name"),
        ("test_mine", "'test_mine' would be taken for a test"),
        ("", "'' cannot be a method's name"),
    ],
)
def test_a_name_that_would_harm(name: str, expected: str, command: CommandLine) -> None:
    assert expected in command.complaint("new-method", name)


@pytest.mark.parametrize("file", ["my_method.py", "test_my_method.py"])
def test_nothing_is_written_over(file: str, command: CommandLine, tmp_path: Path) -> None:
    (tmp_path / file).write_text("precious")
    assert f"{file} already exists" in command.complaint("new-method", "my_method")
    assert (tmp_path / file).read_text() == "precious"
