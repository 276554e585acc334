"""Jobs on a cluster of two workers on this machine: the serial run's numbers, whatever becomes of workers."""

from __future__ import annotations

import json
import multiprocessing
import os
import runpy
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import pandas as pd
import psutil
import pytest

pytest.importorskip("distributed")

from bench.models.load import EMBEDDED, find_identified
from bench.runs import experiment, worker
from bench.runs.cluster import _local
from bench.runs.experiment import Experiment
from bench.runs.run import How, run_experiment
from bench.scoring.leaderboard import leaderboard
from bench.store.keys import engine
from bench.store.results import Store
from careless import SCORES, adapter
from checkout import ROOT
from command_line import COMMAND, CommandLine
from problems import CLOCKS

NOT_THE_SAME = [*CLOCKS, "jobs"]
EVERY = ("eap", "eap_ig:steps=3", "acdc:attempts=2", "edge_pruning:halving=4,hold=4,settling=4,rate=0.5")
BRIEF = (
    "circuit_tests: false\ncurves: false\nn_discovery: [20]\nn_evaluation: 24\nrandom_draws: 1\n"
    "sizes: [5%]\ntasks: [gp]\n"
)
WORKER = "import multiprocessing, os, pathlib, signal, time\nworker = multiprocessing.parent_process().pid\n"
FOUND = f"return Discovery(scores={SCORES})"


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    with _local("local:2") as cluster:
        yield cluster.scheduler_address


def run(out: Path, *methods: str, scheduler: str | None = None, n: int | None = None) -> pd.DataFrame:
    """The table of an experiment on one machine or on a cluster, less what no two runs have in common."""
    wanted = Experiment(
        tasks=("gp",),
        methods=methods,
        sizes=("5%",),
        random_draws=1,
        n_discovery=(20,),
        n_evaluation=24,
        circuit_tests=False,
    )
    run_experiment(wanted, out, How(n=n, scheduler=scheduler), report=lambda out: None)
    return leaderboard(Store(out)).drop(columns=NOT_THE_SAME)


def method(folder: Path, name: str, body: str) -> str:
    """A method of the user's in a file."""
    (folder / f"{name}.py").write_text(adapter(body).replace('"mine"', f'"{name}"'))
    return f"{folder / name}.py"


def test_the_table_of_a_cluster_is_the_serial_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], scheduler: str
) -> None:
    """With a method in a file, named from the folder at hand; what it prints is in a log."""
    monkeypatch.chdir(tmp_path)
    method(tmp_path, "mine", f"print('hello')\n{FOUND}")
    here, there = (
        run(Path("here"), "eap", "mine.py"),
        run(Path("there"), "eap", "mine.py", scheduler=scheduler),
    )
    pd.testing.assert_frame_equal(here, there)
    assert {run.record.jobs for run in Store(Path("there")).runs()} == {2}
    circuits = [sorted(Path(out, "circuits").rglob("*.*")) for out in ("there", "here")]
    assert [file.read_bytes() for file in circuits[0]] == [file.read_bytes() for file in circuits[1]]
    for out in ("there", "here"):
        (log,) = Path(out, "logs").iterdir()
        assert (log.name.startswith("embedded-gp-mine"), log.read_text()) == (True, "hello\n")
    assert "hello" not in capfd.readouterr().err
    assert {path.name for path in Path("there").iterdir()} == {path.name for path in Path("here").iterdir()}


@pytest.mark.every
def test_every_method_has_the_same_numbers_everywhere(tmp_path: Path) -> None:
    serial = run(tmp_path / "serial", *EVERY)
    assert len(serial) == 3 + 5
    pd.testing.assert_frame_equal(run(tmp_path / "two", *EVERY, n=2), serial)
    pd.testing.assert_frame_equal(run(tmp_path / "local", *EVERY, scheduler="local:2"), serial)


def test_what_fails_on_a_worker_is_a_row(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], scheduler: str
) -> None:
    """A method that raises, with traceback and log, and one whose process dies; no worker is lost."""
    raises = method(tmp_path, "raises", "import sys\nprint('so far', file=sys.stderr)\n1 / 0")
    dies = method(tmp_path, "dies", "import os\nos._exit(3)")
    out = tmp_path / "out"
    reasons = run(out, raises, dies, scheduler=scheduler).set_index("method")["status_reason"]
    assert reasons["dies"] == "its process exited with code 3"
    assert reasons["raises"] == "ZeroDivisionError: division by zero"
    (failure,), (log,) = (out / "failures").iterdir(), (out / "logs").iterdir()
    assert "1 / 0" in failure.read_text()
    assert log.read_text() == "so far\n"
    told = capfd.readouterr().err
    assert f"(traceback: {failure}, log: {log})" in told
    assert "died" not in told


@pytest.mark.every
def test_a_dead_worker_is_one_more_try(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], scheduler: str
) -> None:
    """Said and counted; the numbers are those of a run in which nobody died. A second death is a row."""
    kill = "os.kill(worker, signal.SIGKILL); time.sleep(600)"
    guard = (
        f"place = pathlib.Path({str(tmp_path / 'killed')!r})\nif not place.exists():\n    place.touch()\n    "
    )
    once = method(tmp_path, "once", f"{WORKER}{guard}{kill.replace(chr(10), chr(10) + '    ')}\n{FOUND}")
    always = method(tmp_path, "always", f"{WORKER}{kill}")
    there = run(tmp_path / "there", once, always, scheduler=scheduler).set_index("method")
    told = capfd.readouterr().err
    assert told.count("died; the job starts again on another one") == 2
    assert "jobs started again because a worker died: 2" in told
    assert str(there["status_reason"]["always"]).startswith("the workers that ran it died: tcp://127.0.0.1:")
    here = run(tmp_path / "here", once).set_index("method")
    pd.testing.assert_frame_equal(there.drop(index="always")[here.columns], here, check_dtype=False)


@pytest.mark.every
def test_a_preempted_worker_leaves_a_checkpoint(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], scheduler: str
) -> None:
    """Long before one was due; the job goes on from there on another worker, and nobody died."""
    begun = tmp_path / "begun"
    stepping = f"""{WORKER}held, place = problem.checkpoint.load(), pathlib.Path({str(begun)!r})
begin, again = int(held["step"]) if held else 0, place.exists()
with place.open("a") as file:
    print(begin, file=file)
for step in range(begin, 200):
    problem.checkpoint.save(lambda: {{"step": torch.tensor(step)}})
    if step == 7 and not again:
        os.kill(worker, signal.SIGTERM)
    time.sleep(0.01)
{FOUND}"""
    stepping = method(tmp_path, "stepping", stepping)
    there = run(tmp_path / "there", stepping, scheduler=scheduler)
    first, second = map(int, begun.read_text().split())
    assert first == 0
    assert 7 < second < 199
    told = capfd.readouterr().err
    assert "was stopped; the job moves" in told
    assert "died" not in told
    pd.testing.assert_frame_equal(there, run(tmp_path / "here", stepping))


def test_progress_is_told_to_machines(command: CommandLine, scheduler: str) -> None:
    """Every line of stderr is an object, mistakes too."""
    method(command.folder, "fails", "1 / 0")
    (command.folder / "c.yaml").write_text(f"{BRIEF}methods: [fails.py]\n")
    words = ("run", "--config", "c.yaml", "--progress", "json", "--out", "out")
    answer = command(*words, "--scheduler", scheduler, code=1)
    told = [json.loads(line) for line in answer.stderr.splitlines()]
    assert told[0]["event"] == "begun"
    ended = [each for each in told if each["event"] == "job"]
    assert [each["jobs_done"] for each in ended] == [1, 2]
    assert {each["status"] for each in ended} == {"ok", "failed"}
    assert ended[-1]["jobs_failed"] == 1
    assert ended[-1]["seconds_left"] == 0
    assert told[-1] == {"event": "message", "text": "1 of 2 jobs failed: --retry-failed runs them again"}
    (command.folder / "bad.yaml").write_text("task: gp\n")
    for wrong in ([*words, "-m", "eapp"], ["run", "--config", "bad.yaml", "--progress", "json"]):
        (line,) = command(*wrong, code=2).stderr.splitlines()
        assert json.loads(line) | {"text": ""} == {
            "event": "error", "kind": "UsageError", "text": "", "exit_code": 2
        }  # fmt: skip


@pytest.mark.parametrize("text", ["local:0", "local:two", "local:"])
def test_a_cluster_of_none_is_refused(command: CommandLine, text: str) -> None:
    assert "write local:N" in command.complaint("run", "--scheduler", text)


@pytest.mark.parametrize("text", ["tcp://127.0.0.1:1", "nonsense", "tcp://127.0.0.1", "ftp://x:1", ""])
def test_a_scheduler_that_does_not_answer(command: CommandLine, text: str) -> None:
    command.patch.setattr("bench.runs.cluster.ANSWERS", 0.5)
    began = time.monotonic()
    assert f"no scheduler answers at '{text}'" in command.complaint("run", "--scheduler", text)
    assert time.monotonic() - began < 20


def test_without_dask_the_option_says_what_to_install(command: CommandLine) -> None:
    command.patch.delitem(sys.modules, "bench.runs.cluster")
    command.patch.setitem(sys.modules, "distributed", None)
    assert "pip install 'circuitmark[dask]'" in command.complaint("run", "--scheduler", "local:2")


def test_a_folder_that_takes_nothing(command: CommandLine, scheduler: str) -> None:
    (command.folder / "out").write_text("")
    words = ("run", "-t", "gp", "-m", "eap", "--out", "out", "--scheduler", scheduler)
    assert "cannot write to out" in command.complaint(*words, code=1)


@pytest.mark.parametrize("name", ["circuitmark", "torch"])
def test_a_worker_of_another_version_is_named(command: CommandLine, scheduler: str, name: str) -> None:
    real = metadata.version
    command.patch.setattr(metadata, "version", lambda which: "0.0.7" if which == name else real(which))
    line = command.complaint("run", "--scheduler", scheduler)
    assert "the worker tcp://127.0.0.1:" in line
    assert f"has {name} {real(name).partition('+')[0]}, but this machine has 0.0.7" in line


def test_a_worker_without_the_model_is_named(command: CommandLine, scheduler: str) -> None:
    """The driver has read its files, and then only the driver could."""
    real = find_identified

    def find(name: str, revision: str = "") -> tuple[Path | None, str]:
        shutil.copytree(EMBEDDED, command.folder / "model")
        found = real(name, revision)
        shutil.rmtree(command.folder / "model")
        return found

    command.patch.setattr(experiment, "find_identified", find)
    line = command.complaint("run", "--model", "./model", "-t", "gp", "--scheduler", scheduler)
    assert "has no model" in line


def test_a_worker_of_other_files_is_named(command: CommandLine, scheduler: str) -> None:
    real = find_identified
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(experiment, "find_identified", lambda *words: (real(*words)[0], "another"))
        line = command.complaint("run", "-t", "gp", "--scheduler", scheduler)
        assert "has different files for the model 'embedded'" in line
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(experiment, "code_of", lambda *files: "another")
        line = command.complaint("run", "-t", "gp", "-m", "eap", "--scheduler", scheduler)
        assert "has different code for 'random_edges' (methods are not sent: copy the file there)" in line


def test_a_worker_that_may_start_no_process_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dask's nannies start such workers unless they are told otherwise."""
    how = worker.How("topic", 1, 1, None, None, engine())
    assert worker.unlike([], how) == ""
    assert "a different engine" in worker.unlike([], replace(how, engine="another"))
    monkeypatch.setitem(multiprocessing.current_process()._config, "daemon", True)  # type: ignore[attr-defined]
    assert "--no-nanny" in worker.unlike([], how)


def test_a_folder_that_workers_cannot_see(tmp_path: Path) -> None:
    """They believe no file that says another thing, such as one of their own that bears the same name."""
    how = worker.How("topic", 1, 1, None, None, "", tmp_path / "token")
    assert not worker.sees(how)
    (tmp_path / "token").write_text("another")
    assert not worker.sees(how)
    (tmp_path / "token").write_text("topic")
    assert how.unfinished == tmp_path / "unfinished"


@pytest.mark.every
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_a_local_cluster(tmp_path: Path, number: int) -> None:
    """And all processes of its jobs."""
    begun = tmp_path / "begun"
    begun.mkdir()
    body = (
        f"import os, pathlib, time\npathlib.Path({str(begun)!r}, str(os.getpid())).touch()\ntime.sleep(600)"
    )
    (tmp_path / "one.py").write_text(adapter(body))
    (tmp_path / "c.yaml").write_text(f"{BRIEF}methods: [one.py]\n")
    words = [COMMAND, "run", "--config", "c.yaml", "--out", "out", "--scheduler", "local:2"]
    process = subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path,
        start_new_session=True, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    while not list(begun.iterdir()) and process.poll() is None:
        time.sleep(0.1)
    ours = psutil.Process(process.pid).children(recursive=True)
    assert len(ours) >= 4
    os.killpg(process.pid, number)
    out, err = process.communicate(timeout=60)
    assert (out, process.returncode) == ("", 128 + number)
    assert err.splitlines()[-1].startswith("circuitmark: stopped; what was finished is kept")
    assert "Traceback" not in err
    psutil.wait_procs(ours, timeout=20)
    assert not [each for each in ours if each.is_running()]


def test_the_job_script_of_the_slurm_example(monkeypatch: pytest.MonkeyPatch) -> None:
    """As dask-jobqueue writes it; nothing is submitted."""
    pytest.importorskip("dask_jobqueue")
    example = runpy.run_path(str(ROOT / "configs" / "clusters" / "slurm_dask.py"))
    with example["cluster"](scheduler_options={"host": "127.0.0.1", "dashboard_address": ":0"}) as cluster:
        script, address = cluster.job_script(), cluster.scheduler_address
    *head, start = [line for line in script.splitlines() if line]
    assert {"#SBATCH --cpus-per-task=4", "#SBATCH --gres=gpu:1", "#SBATCH --signal=TERM@60"} <= {*head}
    assert start.startswith(f"srun {sys.executable} -m distributed.cli.dask_worker {address} ")
    words = start.split()
    assert "--no-nanny" in words
    assert words[words.index("--nthreads") + 1] == "1"
    last = len(words) - words[::-1].index("--memory-limit")
    assert words[last] == "0"  # the last one holds
    assert words[words.index("--resources") + 1] == "GPU=1"


@pytest.mark.parametrize("name", ["slurm_array.sh", "ssh.sh"])
def test_the_shell_examples_can_be_read(name: str) -> None:
    subprocess.run(["bash", "-n", ROOT / "configs" / "clusters" / name], check=True)
