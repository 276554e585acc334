"""The command `circuitmark`, typed in this process, which has torch in memory, or in one of its own."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from bench.cli import run_app

COMMAND = str(Path(sys.executable).parent / "circuitmark")


@dataclass(frozen=True)
class Answer:
    """What a command wrote."""

    stdout: str
    stderr: str


@dataclass(frozen=True)
class CommandLine:
    """Types words at the command, in this process and in a folder of its own."""

    folder: Path
    patch: pytest.MonkeyPatch
    captured: pytest.CaptureFixture[str]

    def __call__(self, *words: str, code: int = 0) -> Answer:
        """Checks the exit code; the traceback of an error that was not foreseen is told."""
        self.patch.chdir(self.folder)
        self.patch.setattr(sys, "argv", ["circuitmark", *words])
        self.captured.readouterr()
        with pytest.raises(SystemExit) as stopped:
            run_app()
        answer = Answer(*self.captured.readouterr())
        assert (stopped.value.code or 0) == code, answer.stderr + traceback_of(answer.stderr)
        return answer

    def complaint(self, *words: str, code: int = 2) -> str:
        """The one line that a mistake is answered with; nothing may be left behind."""
        before = sorted(self.folder.rglob("*"))
        answer = self(*words, code=code)
        assert answer.stdout == ""
        (line,) = answer.stderr.splitlines()
        assert sorted(self.folder.rglob("*")) == before
        assert line.startswith("circuitmark: ")
        return line


def traceback_of(stderr: str) -> str:
    """What lies in the file that the line about an unforeseen error names; nothing without one."""
    named = re.search(r"please report it with (\S+),", stderr)
    return Path(named[1]).read_text(encoding="utf-8") if named else ""


def in_a_process(*words: str, cwd: Path, code: int = 0) -> Answer:
    """The console script as users start it: the same checks, and no traceback."""
    done = subprocess.run([COMMAND, *words], capture_output=True, text=True, cwd=cwd, check=False)
    assert done.returncode == code, done.stderr + traceback_of(done.stderr)
    assert "Traceback" not in done.stderr
    return Answer(done.stdout, done.stderr)
