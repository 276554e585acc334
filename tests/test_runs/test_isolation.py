"""A method cannot change a score, its own or another's, whatever it does to its process."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest

from bench.runs.children import Child, Limits, Line
from bench.store.results import Store
from careless import SCORES, adapter
from command_line import COMMAND, CommandLine
from problems import CLOCKS
from saboteurs import FATAL, HARMLESS, after

BRIEF = (
    "circuit_tests: false\ncurves: false\nn_discovery: [20]\nn_evaluation: 24\nrandom_draws: 1\n"
    "sizes: [5%]\ntasks: [gp]\n"
)


def plugins(folder: Path, bodies: dict[str, str]) -> dict[str, str]:
    """A file a method; by what it does, its name."""
    named = {}
    for does, text in bodies.items():
        name = does.replace(" ", "_")
        (folder / f"{name}.py").write_text(text.replace('"mine"', f'"{name}"'))
        named[does] = name
    return named


def run(
    command: CommandLine, names: list[str], *words: str, code: int = 0, text: str = BRIEF
) -> dict[str, dict[Any, Any]]:
    """The rows of files, by the method's name, and that of EAP after them."""
    methods = [f"{name}.py" for name in names]
    (command.folder / "c.yaml").write_text(f"{text}methods: {json.dumps([*methods, 'eap'])}\n")
    command("run", "--config", "c.yaml", "--out", "out", *words, code=code)
    table = pd.read_csv(command.folder / "out" / "leaderboard.csv")
    others = ~table["method"].isin(("full", "empty", "ones", "random_edges"))
    return {row["method"]: dict(row) for row in table[others].to_dict("records")}


def scores(row: dict[Any, Any]) -> dict[Any, Any]:
    """What does not hang on a clock or a name; unscored is None."""
    named = {"method", "stem", "lineage", "jobs", *CLOCKS}
    return {name: None if value != value else value for name, value in row.items() if name not in named}


def test_no_carelessness_moves_a_score(command: CommandLine) -> None:
    """Under mean ablation, whose reference comes from the very prompts that a method is handed."""
    names = plugins(command.folder, {does: after(body) for does, body in HARMLESS.items()})
    text = f"{BRIEF}ablations: [mean]\n"
    rows = run(command, list(names.values()), "-j", "2", text=text)
    for does, name in names.items():
        assert rows[name]["status"] == "ok", (does, rows[name]["status_reason"])
        assert scores(rows[name]) == scores(rows["nothing"]), does
        assert rows[name]["cpu_seconds"] > 0
        assert rows[name]["seconds"] > 0
    alone = CommandLine(command.folder / "alone", command.patch, command.captured)
    alone.folder.mkdir()
    eap = run(alone, [], text=text)
    assert scores(eap["eap"]) == scores(rows["eap"])
    assert not list(command.folder.glob("out/unfinished/*"))


def test_a_job_that_dies_is_a_row(command: CommandLine) -> None:
    """With how its process ended; the others go on; only --retry-failed tries it again."""
    names = plugins(command.folder, {does: adapter(body) for does, (body, _) in FATAL.items()})
    rows = run(command, list(names.values()), "-j", "2", code=1)
    assert rows["eap"]["status"] == "ok"
    for does, (_, reason) in FATAL.items():
        row = rows[names[does]]
        assert row["status"] == "failed"
        assert re.search(reason, row["status_reason"]), (does, row["status_reason"])
    before = {file: file.stat().st_mtime_ns for file in (command.folder / "out/runs").iterdir()}
    answer = command("run", "--config", "c.yaml", "--out", "out", code=1)
    assert f"{len(FATAL)} of {len(FATAL) + 2} jobs failed: --retry-failed runs them again" in answer.stderr
    assert {file: file.stat().st_mtime_ns for file in (command.folder / "out/runs").iterdir()} == before


def test_a_failure_is_told_with_its_traceback_and_tried_again(command: CommandLine) -> None:
    ready = command.folder / "ready"
    cautious = f"import os\nif not os.path.exists({str(ready)!r}):\n    1 / 0\n"
    (command.folder / "mine.py").write_text(after(cautious))
    words = "run --config c.yaml --out out"
    (command.folder / "c.yaml").write_text(f"{BRIEF}methods: [mine.py]\n")
    answer = command(*words.split(), code=1)
    (file,) = (command.folder / "out" / "failures").iterdir()
    assert (
        f"failed: ZeroDivisionError: division by zero (traceback: {file.relative_to(command.folder)})"
        in answer.stderr
    )
    assert "1 / 0" in file.read_text()
    ready.touch()
    command(*words.split(), "--retry-failed")
    assert not file.exists()


def test_limits_of_time_and_memory(command: CommandLine) -> None:
    """A job beyond one is a row; where memory ran out, half the batch was tried."""
    bodies = {
        "spins": adapter("while True:\n    pass"),
        "takes memory": adapter("kept = torch.ones(2 * 2**28)\nimport time\ntime.sleep(600)"),
    }
    names = plugins(command.folder, bodies)
    rows = run(command, list(names.values()), "--time-limit", "9", "--memory-limit", "1.8", "-j", "2", code=1)
    assert rows["eap"]["status"] == "ok"
    assert rows["spins"]["status_reason"] == "stopped after the time limit of 9 seconds"
    assert rows["takes_memory"]["status_reason"].endswith("GiB, more than the limit of 1.8")


def test_half_the_batch_where_memory_ran_out(command: CommandLine) -> None:
    """Once, and said; the record says so too."""
    body = "if len(problem.batches) == 1:\n    raise MemoryError('too many prompts')\n"
    (command.folder / "mine.py").write_text(
        adapter(
            f"{body}return Discovery(scores=problem.edge_gradients(problem.batches[0], 'difference').abs())"
        )
    )
    (command.folder / "c.yaml").write_text(f"{BRIEF.replace('20', '40')}methods: [mine.py]\n")
    answer = command("run", "--config", "c.yaml", "--out", "out")
    assert "MemoryError: too many prompts: trying again with half the batch" in answer.stderr
    table = pd.read_csv(command.folder / "out" / "leaderboard.csv").set_index("method")
    assert table["smaller"].dropna().to_dict() == {"mine": 2, "random_edges": 1}


def test_a_checkpoint_that_does_not_fit_means_start_anew(command: CommandLine) -> None:
    body = (
        "if problem.checkpoint.load():\n    raise KeyError('step')\n"
        "problem.checkpoint.save(lambda: {'a': torch.ones(1)})\n"
    )
    slow = "import bench.discovery.checkpoint as c\nc.SECONDS_BETWEEN = 0.0\nproblem.checkpoint._due = 0\n"
    (command.folder / "mine.py").write_text(adapter(f"{slow}{body}import os\nos._exit(1)"))
    (command.folder / "c.yaml").write_text(f"{BRIEF}methods: [mine.py]\n")
    command("run", "--config", "c.yaml", "--out", "out", code=1)
    (file,) = (command.folder / "out" / "unfinished").iterdir()
    text = (
        (command.folder / "mine.py")
        .read_text()
        .replace(
            "import os\n        os._exit(1)",
            f"return Discovery(scores={SCORES})",
        )
    )
    (command.folder / "mine.py").write_text(text)
    changed = next(job for job in _jobs(command) if job.method.name == "mine")
    file.rename(file.with_name(f"{changed.stem}.safetensors"))  # of the new code, for all it knows
    command("run", "--config", "c.yaml", "--out", "out")
    assert not (command.folder / "out" / "unfinished").exists()


def _jobs(command: CommandLine) -> list[Any]:
    from bench.runs.experiment import Experiment

    return Experiment.from_file(command.folder / "c.yaml").jobs()


def tell_threads(line: Line) -> None:
    line.say("threads", n=len(os.listdir(f"/proc/{os.getppid()}/task")))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_processes_are_forked_from_one_with_one_thread() -> None:
    with Child(tell_threads, limits=Limits()) as child:
        told = [message for message in child.messages() if message["said"] == "threads"]
    assert told == [{"said": "threads", "n": 1}]


def test_so_are_those_of_programs(tmp_path: Path) -> None:
    """Tracr and JAX are imported once, by the server, where this process has imported them.

    A script is not run anew in children, and needs no main guard.
    """
    pytest.importorskip("tracr")
    (tmp_path / "telling.py").write_text(
        "import os, sys\n"
        "def tell(line):\n"
        "    n = len(os.listdir(f'/proc/{os.getppid()}/task'))\n"
        "    line.say('threads', n=n, imported='jax' in sys.modules)\n"
    )
    (tmp_path / "main.py").write_text(
        "from bench.runs.children import Child, Limits\nfrom tracr_ground_truth import find_programs\n"
        "import telling\n"
        "print('once', flush=True)\n"
        "find_programs()\n"
        "with Child(telling.tell, limits=Limits()) as child:\n"
        "    print(*(m for m in child.messages() if m['said'] == 'threads'))\n"
    )
    done = subprocess.run(
        [sys.executable, "main.py"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout == "once\n{'said': 'threads', 'n': 1, 'imported': True}\n", done
    assert not done.stderr


SLEEPER = "import pathlib, os, time\npathlib.Path(PLACE, str(os.getpid())).touch()\ntime.sleep(600)"


@pytest.fixture
def sleeping(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], set[int]]]:
    """The command with two jobs that sleep, and their processes."""
    begun = tmp_path / "begun"
    begun.mkdir()
    names = plugins(
        tmp_path, {d: adapter(SLEEPER.replace("PLACE", repr(str(begun)))) for d in ("one", "two")}
    )
    (tmp_path / "c.yaml").write_text(f"{BRIEF}methods: {json.dumps([f'{n}.py' for n in names.values()])}\n")
    words = [COMMAND, "run", "--config", "c.yaml", "--out", "out", "-j", "2"]
    # a shell's background jobs are born deaf to Ctrl-C, and so would this one be
    process = subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path,
        start_new_session=True, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while len(list(begun.iterdir())) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    yield process, {int(file.name) for file in begun.iterdir()}
    process.kill()
    process.communicate()


def gone(pids: set[int]) -> bool:
    """Whether all of these processes end within some seconds."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and any(map(psutil.pid_exists, pids)):
        time.sleep(0.1)
    return not any(map(psutil.pid_exists, pids))


def test_workers_end_with_their_parent(sleeping: tuple[subprocess.Popen[str], set[int]]) -> None:
    process, workers = sleeping
    assert len(workers) == 2
    process.kill()
    assert gone(workers)


def test_an_interrupt_ends_all_with_one_line(sleeping: tuple[subprocess.Popen[str], set[int]]) -> None:
    process, workers = sleeping
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (out, process.returncode) == ("", 130)
    assert err.splitlines()[-1].startswith("circuitmark: stopped; what was finished is kept")
    assert "Traceback" not in err
    assert gone(workers)


def test_another_full_model_is_refused(command: CommandLine) -> None:
    """The last barrier: what full and empty say is what they say in the setting's other runs."""
    from dataclasses import replace

    from bench.store.results import StrayOutputs

    run(command, [])
    store = Store(command.folder / "out")
    stored = next(each for each in store.runs() if each.record.method == "eap")
    store.save(stored.stem, stored)
    for name in ("full", "empty"):
        outputs = {n: t + 1 if n == f"outputs.{name}.log_z" else t for n, t in stored.tensors.items()}
        with pytest.raises(StrayOutputs, match=f"the outputs of the {name} circuit differ"):
            store.save(stored.stem, replace(stored, tensors=outputs))
