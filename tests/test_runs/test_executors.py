"""Jobs in processes: what ends one early ends all, quickly and quietly."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench.runs.executors import run_in_processes
from checkout import ROOT

SLEEP = "__import__('time').sleep(60)"


PID = "__import__('os').getpid()"


@pytest.mark.parametrize("fresh", [True, False])
def test_each_job_has_its_outcome(fresh: bool) -> None:
    jobs = ["1 + 1", "2 * 3", "'a'", PID, f"{PID} + 0", f"{PID} + 0 + 0"]
    outcomes = dict(run_in_processes(jobs, eval, 2, fresh))
    assert [outcomes[job] for job in jobs[:3]] == [2, 6, "a"]
    processes = {outcomes[job] for job in jobs[3:]}
    assert os.getpid() not in processes
    assert len(processes) == 3 if fresh else len(processes) <= 2


@pytest.mark.parametrize("fresh", [True, False])
def test_a_job_that_raises_stops_the_others(fresh: bool) -> None:
    """Its error comes through at once, though others are at work and more are waiting."""
    started = time.perf_counter()
    with pytest.raises(ZeroDivisionError):
        list(run_in_processes([SLEEP, "1 / 0", *[SLEEP] * 3], eval, 2, fresh))
    assert time.perf_counter() - started < 30


@pytest.mark.skipif(sys.platform == "win32", reason="no process groups")
def test_an_interrupt_stops_all(tmp_path: Path) -> None:
    """Ctrl-C reaches the whole group: the parent ends, nothing is printed but its own last word."""
    script, begun = tmp_path / "script.py", tmp_path / "begun"
    begun.mkdir()
    job = f"(__import__('pathlib').Path({str(begun)!r}, str({PID})).touch(), {SLEEP})"
    script.write_text(
        "from bench.runs.executors import run_in_processes\n"
        "if __name__ == '__main__':\n"
        f"    try:\n        list(run_in_processes([{job!r}] * 4, eval, 2))\n"
        "    except KeyboardInterrupt:\n        print('stopped')\n"
    )
    root = str(ROOT)
    process = subprocess.Popen(
        [sys.executable, script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True, env={**os.environ, "PYTHONPATH": root},
        # a shell's background jobs are born deaf to Ctrl-C, and so would be their children
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while len(list(begun.iterdir())) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=40)
    assert (out, process.returncode) == ("stopped\n", 0)
    assert "Traceback" not in err
