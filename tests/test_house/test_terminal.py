"""What ends a command is one line: a signal, a stream that takes no more, an error that nobody foresaw."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from careless import adapter
from command_line import CommandLine, traceback_of

LAUNCHED = (sys.executable, "-m", "circuitmark")
NOISY = """
import os, subprocess, sys
print("noise at import")
os.system("echo noise of a child")
"""


def shell(words: str, folder: Path, **more: str) -> tuple[int, str, str]:
    """A command of the shell in which `circuitmark` stands for ours; its exit code is the last one's."""
    launched = " ".join(LAUNCHED)
    done = subprocess.run(
        ["bash", "-c", f"circuitmark() {{ {launched} \"$@\"; }}\nset -o pipefail\n{words}"],
        capture_output=True, cwd=folder, env=os.environ | more, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")


@pytest.mark.parametrize(
    ("words", "code", "line"),
    [
        ("circuitmark --help > /dev/full", 1, "cannot write to stdout (No space left on device)"),
        ("circuitmark list metrics --json > /dev/full", 1, "cannot write to stdout (No space left"),
        ("circuitmark --help >&-", 1, "cannot write to stdout (Bad file descriptor)"),
        ("circuitmark --help <&- >&- 2>&-", 1, ""),
        ("circuitmark lisst 2> /dev/full", 2, ""),
        ("circuitmark --help | true", 1, ""),
    ],
)
def test_a_stream_that_takes_no_more(words: str, code: int, line: str, tmp_path: Path) -> None:
    ended, _, stderr = shell(words, tmp_path)
    assert ended == code
    assert line in stderr
    assert len(stderr.splitlines()) == bool(line)


def test_what_a_terminal_cannot_show_is_replaced(tmp_path: Path) -> None:
    """In a locale of ASCII alone; files are UTF-8 all the same."""
    (tmp_path / "config.yaml").write_text("tasks: [mésange]", encoding="utf-8")
    code, _, stderr = shell(
        "circuitmark run --config config.yaml", tmp_path, LC_ALL="C", PYTHONIOENCODING="ascii",
        PYTHONUTF8="0", PYTHONCOERCECLOCALE="0",
    )  # fmt: skip
    assert code == 2
    assert stderr.startswith("circuitmark: unknown task 'm?sange'")


def test_what_was_not_foreseen(command: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line, an exit code of its own, and a traceback that can be reported."""

    def fails(*_: object) -> None:
        raise ZeroDivisionError("over\nlines")

    monkeypatch.setattr("bench.listing.listed", fails)
    with monkeypatch.context() as patch:  # pytest has temporary files of its own
        patch.setattr("tempfile.tempdir", str(command.folder))
        answer = command("list", "methods", code=70)
        patch.setattr("tempfile.tempdir", str(command.folder / "nowhere"))
        nowhere = command("list", "methods", code=70)
    (line,) = answer.stderr.splitlines()
    assert line.startswith(
        "circuitmark: ZeroDivisionError: over lines; this error is unexpected: please report"
    )
    assert re.search(r"in fails\n", traceback_of(answer.stderr))
    (line,) = nowhere.stderr.splitlines()
    assert "its traceback cannot be kept" in line


@pytest.mark.parametrize("words", ["check mine.py --problem gpt2 --json", "list methods mine.py --json"])
def test_nothing_but_json_is_on_stdout(words: str, command: CommandLine, tmp_path: Path) -> None:
    """Whatever a plugin prints, and wherever."""
    body = "print('noise within')\nos.write(1, b'noise below Python')\nreturn None"
    (tmp_path / "mine.py").write_text(NOISY + adapter(body))
    answer = command(*words.split(), code=int(words.startswith("check")))
    json.loads(answer.stdout)
    assert "noise at import" in answer.stderr
    assert "noise of a child" in answer.stderr


@pytest.mark.parametrize(
    ("phase", "number", "progress"),
    [("import", signal.SIGINT, "text"), ("import", signal.SIGINT, "json"), ("job", signal.SIGTERM, "json")],
)
def test_a_signal_is_one_line(phase: str, number: signal.Signals, progress: str, tmp_path: Path) -> None:
    """While a plugin is imported, before any job, and while a job runs."""
    itself = f"import os, time; os.kill(os.getpid(), {int(number)}); time.sleep(60)\n"
    # a job's process was forked from the server, which is the command's child
    above = itself.replace("os.getpid()", "__import__('psutil').Process(os.getppid()).ppid()")
    (tmp_path / "mine.py").write_text(itself if phase == "import" else adapter(above))
    words = ["run", "-t", "gp", "-m", "mine.py", "--quick", "--sizes", "5%", "--progress", progress]
    # a shell's background jobs are born deaf to Ctrl-C, and so would this one be
    done = subprocess.run(
        [*LAUNCHED, *words], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    assert done.returncode == 128 + number
    assert done.stdout == ""
    if progress == "json":
        told = [json.loads(line) for line in done.stderr.splitlines()]
        (line,) = (each["text"] for each in told if each["event"] == "error")
        assert told[-1] == {"event": "error", "kind": "Interrupted", "text": line, "exit_code": 128 + number}
        assert line.startswith("stopped; what was finished is kept")
        return
    (line,) = (
        line for line in done.stderr.splitlines() if line and not line.startswith("[")
    )  # of finished jobs
    assert line.startswith("circuitmark: stopped; what was finished is kept")
