"""Several processes in one results folder: who is at what, and what the tables show."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import psutil
import pytest

from bench.errors import BusyFolder, DamagedFile, MixedSettings, UnwritableFolder
from bench.runs.experiment import Experiment
from bench.runs.run import How, run_experiment
from bench.store.asked import ask, read_asked
from bench.store.at_work import AtWork, locked
from bench.store.record import Dimensions, Evaluation
from careless import SCORES, adapter
from command_line import COMMAND, CommandLine
from problems import CLOCKS

EVALUATION = Evaluation(n_evaluation=24, split="evaluation", dtype="float32")
JOBS = ("a", "b", "c")
ALONE = [(job,) for job in JOBS]


def place(method: str = "eap", seed: int = 0) -> Dimensions:
    return Dimensions(
        model="m", task="t", ablation="zero", split_embed=False, discovery_ablation="zero", method=method,
        params="", n_discovery=1, data_seed=seed, method_seed=seed,
    )  # fmt: skip


def at_work(folder: Path, model: str = "embedded", identity: str = "x") -> AtWork:
    entered = AtWork(folder, EVALUATION, model, identity)
    with locked(folder):
        entered.begin()
    return entered


@pytest.fixture
def other(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Another process, which has taken the job `a` and lives."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    with at_work(tmp_path) as me:
        me.take(ALONE)
        (file,) = (tmp_path / "at_work").iterdir()
        content = json.loads(file.read_text())
        content |= {"pid": process.pid, "began": psutil.Process(process.pid).create_time()}
        (tmp_path / "at_work" / "other.json").write_text(json.dumps(content))
    yield process
    process.kill()
    process.wait()


def test_a_job_is_taken_once(tmp_path: Path, other: subprocess.Popen[bytes]) -> None:
    with at_work(tmp_path) as me:
        assert me.take(ALONE) == ("b",)
        assert me.take([("a",)]) == ()
        assert list(me.elsewhere()) == ["a"]
        me.give_back(["b"])
        assert me.take([JOBS]) == ("b", "c")  # of a bundle, what is free
        other.kill()
        other.wait()
        assert me.take(ALONE) == ("a",)  # the dead are at nothing
    assert not (tmp_path / "at_work").exists()


def test_a_zombie_is_dead(tmp_path: Path, other: subprocess.Popen[bytes]) -> None:
    """Whoever began it may not ask for long how it ended."""
    other.kill()
    while psutil.Process(other.pid).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)
    with at_work(tmp_path) as me:
        assert me.take(ALONE) == ("a",)


def test_one_of_another_machine_is_dead_when_it_is_silent(
    tmp_path: Path, other: subprocess.Popen[bytes]
) -> None:
    file = tmp_path / "at_work" / "other.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"host": "elsewhere"}))
    with at_work(tmp_path) as me:
        assert list(me.elsewhere()) == ["a"]
        long_ago = time.time() - 1000
        os.utime(file, (long_ago, long_ago))
        assert not me.elsewhere()


def test_two_settings_never_mix(tmp_path: Path, other: subprocess.Popen[bytes]) -> None:
    """Even while nothing is stored yet."""
    with pytest.raises(MixedSettings, match=f"process {other.pid} on .* another setting"):
        at_work(tmp_path, identity="another of that name")
    with at_work(tmp_path, model="another"):
        pass


def test_what_killed_writes_left_is_cleared_when_nobody_writes(
    tmp_path: Path, other: subprocess.Popen[bytes]
) -> None:
    (tmp_path / "runs").mkdir()
    left = tmp_path / "runs" / ".x.safetensors.abcd_123.part"
    for file in (left, tmp_path / "runs" / ".mine.part", tmp_path / "notes.part"):
        file.write_text("")
    with at_work(tmp_path):
        assert left.exists()
    other.kill()
    other.wait()
    with at_work(tmp_path):
        assert {file.name for file in tmp_path.rglob("*.part")} == {".mine.part", "notes.part"}


def test_a_lock_is_waited_for(tmp_path: Path) -> None:
    with (
        locked(tmp_path),
        pytest.raises(BusyFolder, match=r"locked for 0\.1 seconds"),
        locked(tmp_path, patience=0.1),
    ):
        pass
    (tmp_path / "file").write_text("")
    with pytest.raises(UnwritableFolder, match="--out"), locked(tmp_path / "file"):
        pass


def test_what_was_asked_for_last_stands_in_the_tables(tmp_path: Path) -> None:
    ask(tmp_path, [(place(), "old", "old-1"), (place(seed=1), "old", "seed-1")])
    ask(tmp_path, [(place(), "old", "old-2"), (place("acdc"), "old", "acdc-1")])
    stems = [each.stems for each in read_asked(tmp_path).values()]
    assert sorted(stems) == [("acdc-1",), ("old-1", "old-2"), ("seed-1",)]
    ask(tmp_path, [(place(), "new", "new-1")])
    assert ("new-1",) in [each.stems for each in read_asked(tmp_path).values()]
    written = (tmp_path / "asked.json").stat().st_mtime_ns
    ask(tmp_path, [(place(), "new", "new-1")])
    assert (tmp_path / "asked.json").stat().st_mtime_ns == written


@pytest.mark.parametrize(
    "text", ["", "[1", "[]", "3", '{"a": 1}', '{"a": [1]}', '{"a": [1, 2]}', '{"a": null}']
)
def test_a_damaged_list_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "asked.json").write_text(text)
    with pytest.raises(DamagedFile, match=r"asked\.json is not a list .*move it away"):
        read_asked(tmp_path)


CONFIG = (
    "circuit_tests: false\ncurves: false\nn_discovery: [20]\nn_evaluation: 24\nrandom_draws: 4\nsizes: [5%]\n"
    "tasks: [gp]\nmethods: [eap]\n"
)


def test_two_commands_share_a_folder(command: CommandLine) -> None:
    """Each takes what the other is not at; who ends last reports all."""
    (command.folder / "c.yaml").write_text(CONFIG)
    words = [COMMAND, "run", "--config", "c.yaml", "--out"]
    both = [
        subprocess.Popen(
            [*words, "out"], cwd=command.folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for _ in range(2)
    ]
    told = [process.communicate(timeout=300)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], told
    ended = [line for text in told for line in text.splitlines() if "seed" in line]
    assert len(ended) == 5
    assert len({line.split("] ")[1].split(":")[0] for line in ended}) == 5
    command("run", "--config", "c.yaml", "--out", "alone")
    tables = [pd.read_csv(command.folder / out / "leaderboard.csv") for out in ("out", "alone")]
    assert len(tables[0]) == 3 + 5
    names = ["method", "method_seed", "kl", "complement_kl", "faithfulness", "stem"]
    assert tables[0][names].equals(tables[1][names])


def test_nothing_is_reported_while_all_jobs_are_with_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    experiment = Experiment(tasks=("gp",), methods=("random_edges",), random_draws=2, n_evaluation=8)
    at = {job.stem: "process 7 on there" for job in experiment.jobs()} | {"another": "process 8 on there"}
    monkeypatch.setattr(AtWork, "elsewhere", lambda self: at)
    assert run_experiment(
        experiment, tmp_path, How(), report=lambda folder: pytest.fail("there is nothing to report")
    )
    told = "2 of 2 jobs are being run by process 7 on there: the last to end writes the report\n"
    assert capsys.readouterr().err.endswith(told)


@pytest.mark.every
def test_three_commands_share_a_folder_and_one_is_killed(command: CommandLine) -> None:
    """Its job is another's; no other job is run twice, and the table is that of one command."""
    (command.folder / "c.yaml").write_text(CONFIG.replace("random_draws: 4", "random_draws: 12"))
    words = [COMMAND, "run", "--config", "c.yaml", "--out", "out"]
    three = [subprocess.Popen(words, cwd=command.folder, text=True, stderr=subprocess.PIPE) for _ in range(3)]
    victim = command.folder / "out" / "at_work" / f"{socket.gethostname()}-{three[0].pid}.json"
    held: list[str] = []
    while not held:
        time.sleep(0.02)
        held = json.loads(victim.read_text())["jobs"] if victim.exists() else []
    three[0].kill()
    told = [process.communicate(timeout=600)[1] for process in three]
    assert [process.returncode for process in three] == [-signal.SIGKILL, 0, 0], told
    ended = [
        line.split("] ")[1].split(":")[0] for text in told for line in text.splitlines() if "] gp" in line
    ]
    assert len(ended) == len(set(ended))
    assert 13 - len(held) <= len(ended) <= 13  # what it stored right before, it could not tell any more
    command("run", "--config", "c.yaml", "--out", "alone")
    tables = [pd.read_csv(command.folder / out / "leaderboard.csv") for out in ("out", "alone")]
    same = tables[0].columns.difference([*CLOCKS])
    assert tables[0][same].equals(tables[1][same])
    assert not (command.folder / "out" / "at_work").exists()


def test_a_folder_that_vanishes_is_missed(command: CommandLine) -> None:
    """Today's exit code tells it, whatever else is stored there afterwards."""
    out = command.folder / "out"
    (command.folder / "mine.py").write_text(
        adapter(f"import shutil\nshutil.rmtree({str(out)!r})\nreturn Discovery(scores={SCORES})")
    )
    text = CONFIG.replace("methods: [eap]", "methods: [eap, random_edges, mine.py]")
    (command.folder / "c.yaml").write_text(text)
    answer = command("run", "--config", "c.yaml", "--out", "out", code=1)
    assert "jobs are not in" in answer.stderr
    assert "the folder was changed in the meantime; the same command runs them" in answer.stderr


def test_a_report_of_an_interrupted_run_says_so(command: CommandLine) -> None:
    (command.folder / "c.yaml").write_text(CONFIG)
    command("run", "--config", "c.yaml", "--out", "out")
    shutil.copytree(command.folder / "out", command.folder / "cut")
    for file in list((command.folder / "cut" / "runs").iterdir())[:2]:
        file.unlink()
    told = "3 of 5 requested jobs are here: the same command runs the others."
    assert told in command("report", "cut").stderr
    assert told in (command.folder / "cut" / "leaderboard.md").read_text()
    assert told in (command.folder / "cut" / "index.html").read_text()
    assert "requested jobs" not in (command.folder / "out" / "leaderboard.md").read_text()
