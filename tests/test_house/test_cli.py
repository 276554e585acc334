"""The command as users type it: answers, exit codes, one line for a mistake, nothing written."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from bench.models.load import EMBEDDED
from bench.runs.experiment import Experiment
from command_line import COMMAND, CommandLine, in_a_process

SMALL = ("run", "-t", "gp", "-m", "random_edges", "--sizes", "5%", "--quick")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("run", "-m", "eapp"), "unknown method 'eapp'; did you mean 'eap'?"),
        (("run", "-t", "ioo"), "unknown task 'ioo'; did you mean 'ioi'?"),
        (("run", "--model", "embeded"), "unknown model 'embeded'; did you mean 'embedded'?"),
        (("run", "--model", "./nowhere"), "there is no folder ./nowhere"),
        (("run", "--sizes", "5"), "did you mean '5%'?"),
        (("run", "--sizes", ""), "'' is not a size"),
        (("run", "--ablation", "resampel"), "did you mean 'resample'?"),
        (("run", "--data-seeds", "0"), "data_seeds must be at least 1"),
        (("run", "--config", "none.yaml"), "cannot read the configuration none.yaml"),
        (("run", "-m", "eap:steps=3"), "unknown option of eap 'steps'"),
        (("report", "nowhere"), "there is no folder or file nowhere"),
        (("rescore", "nowhere"), "there is no folder or file nowhere"),
        (("cite", "acdcc"), "unknown method 'acdcc'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_a_mistake_is_one_line(words: tuple[str, ...], expected: str, command: CommandLine) -> None:
    assert expected in command.complaint(*words)


def test_the_console_script_says_it_without_a_traceback(tmp_path: Path) -> None:
    answer = in_a_process("run", "-m", "eapp", cwd=tmp_path, code=2)
    assert answer.stdout == ""
    assert answer.stderr.startswith("circuitmark: unknown method 'eapp'; did you mean 'eap'?")
    assert answer.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_damaged_models_are_named(command: CommandLine, tmp_path: Path) -> None:
    """A folder without a config, and one whose weights or tokenizer are cut short."""
    (tmp_path / "hollow").mkdir()
    assert "holds no config.json" in command.complaint("run", "--model", "hollow")
    for name in ("model.safetensors", "tokenizer.json"):
        shutil.copytree(EMBEDDED, tmp_path / name)
        broken = tmp_path / name / name
        broken.write_bytes(broken.read_bytes()[:1000])
        line = command.complaint("run", "-t", "gp", "--model", name)
        assert f"the model '{name}' cannot be loaded" in line


def test_pickled_weights_are_refused(command: CommandLine, tmp_path: Path) -> None:
    """A model that comes as a pickle alone is not loaded."""
    shutil.copytree(EMBEDDED, tmp_path / "old")
    (tmp_path / "old" / "model.safetensors").rename(tmp_path / "old" / "pytorch_model.bin")
    assert "cannot be loaded" in command.complaint("run", "-t", "gp", "--model", "old")


@pytest.mark.skipif("CIRCUITMARK_SHAPES" in os.environ, reason="types are checked before")
def test_what_is_no_discovery_is_said(command: CommandLine, tmp_path: Path) -> None:
    """By our own check: under CIRCUITMARK_SHAPES the type checks would speak first."""
    answers = {
        "none": ("None", "discover returned NoneType"),
        "objective": ("Discovery(objective=object())", "objective is object"),
        "scores": ("Discovery(scores=[1])", "must be torch tensors"),
        "selection": ("Discovery(selection='best')", "selection is 'best'"),
    }
    (tmp_path / "c.yaml").write_text(
        "circuit_tests: false\ncurves: false\nn_discovery: 8\nn_evaluation: 8\nrandom_draws: 1\n"
        "sizes: [5%]\ntasks: [gp]\n"
    )
    words = ["run", "--config", "c.yaml"]
    for name, (answer, _) in answers.items():
        (tmp_path / f"{name}.py").write_text(
            "from circuitmark import Discovery, Method\n"
            "class Mine(Method):\n"
            f"    name, description, citation = 'my_{name}', 'a test', '@misc{{x}}'\n"
            "    def discover(self, problem):\n"
            f"        return {answer}\n"
        )
        words += ["-m", f"{name}.py"]
    command(*words, code=1)
    table = pd.read_csv(tmp_path / "results" / "leaderboard.csv").set_index("method")
    for name, (_, reason) in answers.items():
        assert table["status"][f"my_{name}"] == "failed"
        assert reason in table["status_reason"][f"my_{name}"]


def test_code_that_comes_with_a_model_never_runs(
    command: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even when somebody would answer yes."""
    shutil.copytree(EMBEDDED, tmp_path / "evil")
    config = json.loads((tmp_path / "evil" / "config.json").read_text())
    auto = {"AutoConfig": "evil.C", "AutoModelForCausalLM": "evil.M"}
    (tmp_path / "evil" / "config.json").write_text(
        json.dumps(config | {"model_type": "evil", "auto_map": auto, "architectures": ["M"]})
    )
    (tmp_path / "evil" / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    assert "cannot be loaded" in command("run", "--model", "evil", "--out", "out", code=2).stderr
    assert not (tmp_path / "ran").exists()
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("change", "message"), [("drop", "lacks the weight"), ("nan", "not finite")])
def test_weights_that_are_missing_or_broken(
    command: CommandLine, tmp_path: Path, change: str, message: str
) -> None:
    """Not filled at random, not run as they are: an error that names the weight."""
    from safetensors.torch import load_file, save_file

    shutil.copytree(EMBEDDED, tmp_path / "model")
    file, name = tmp_path / "model" / "model.safetensors", "transformer.h.0.mlp.c_fc.weight"
    weights = load_file(file)
    if change == "drop":
        del weights[name]
    else:
        weights[name][0] = float("nan")
    save_file(weights, file, metadata={"format": "pt"})
    done = command("run", "-t", "gp", "--model", "model", code=2)
    assert message in done.stderr
    assert not (tmp_path / "results").exists()


def test_a_task_beyond_the_tokenizer_is_refused(command: CommandLine, tmp_path: Path) -> None:
    """Without the names in its vocabulary the model does not support the task, and the line says so."""
    shutil.copytree(EMBEDDED, tmp_path / "mute")
    file = tmp_path / "mute" / "tokenizer.json"
    tokenizer = json.loads(file.read_text())
    vocabulary = tokenizer["model"]["vocab"]
    tokenizer["model"]["vocab"] = {f"w{i}" if token.strip() == "he" else token: i
                                   for token, i in vocabulary.items()}  # fmt: skip
    file.write_text(json.dumps(tokenizer))
    line = command.complaint("run", "-t", "gp", "--model", "mute")
    assert "the model 'mute' cannot do the task 'gp'" in line


def test_lists(command: CommandLine) -> None:
    for kind, expected in {
        "methods": {"random_edges", "eap", "eap_ig"},
        "tasks": {"ioi_t1", "ioi", "gt", "gp"},
        "models": {"embedded"},
        "metrics": {"kl", "faithfulness"},
    }.items():
        rows = json.loads(command("list", kind, "--json").stdout)
        assert expected <= {row["name"] for row in rows}
    assert "eap_ig" in command("list", "methods").stdout
    assert "No such command" in command("lst", code=2).stderr
    assert "@" in command("cite", "eap", "eap_ig").stdout


def test_run_report_rescore(command: CommandLine, tmp_path: Path) -> None:
    """The whole way, by the console script in a folder with decoys of the rooms' names; then without work.

    A run cut short stops the report and is named.
    """
    (tmp_path / "tasks.py").write_text("raise SystemExit('decoy')")
    (tmp_path / "reports").mkdir()
    done = in_a_process(*SMALL, cwd=tmp_path)
    assert "random_edges" in done.stdout
    results = tmp_path / "results"
    for name in ("leaderboard.csv", "leaderboard.parquet", "leaderboard.md", "index.html"):
        assert (results / name).stat().st_size > 500
    again = command(*SMALL)
    assert "all 1 jobs are already finished" in again.stderr
    assert again.stdout == done.stdout
    opened: list[str] = []
    command.patch.setattr("webbrowser.open", opened.append)  # which finds none, and returns nothing
    answer = command("report", "results", "--out", "elsewhere", "--open")
    assert opened == [(tmp_path / "elsewhere" / "index.html").as_uri()]
    assert "no browser is available here" in answer.stderr
    table = pd.read_csv(results / "leaderboard.csv")
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "elsewhere" / "leaderboard.csv"), table, rtol=1e-9)
    (results / "leaderboard.csv").unlink()
    command("rescore", "results")
    pd.testing.assert_frame_equal(pd.read_csv(results / "leaderboard.csv"), table, rtol=1e-9)
    victim = next((results / "runs").glob("*.safetensors"))
    victim.write_bytes(victim.read_bytes()[:-10])
    line = command.complaint("report", "results", code=1)
    assert f"{victim.name} cannot be read" in line
    assert "move it away" in line


def test_output_folder_that_cannot_be(command: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    line = command.complaint(*SMALL, "--out", "file/results", code=1)
    assert "cannot write to file/results" in line
    assert "--out" in line


@pytest.mark.every
def test_killed_in_the_middle_goes_on(command: CommandLine, tmp_path: Path) -> None:
    """kill -9 while jobs run: what was finished is kept, nothing is half-written, the rest follows."""
    words = [COMMAND, "run", "-t", "gp", "-m", "eap", "--sizes", "5%", "--data-seeds", "3"]
    process = subprocess.Popen(words, cwd=tmp_path, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    runs = tmp_path / "results" / "runs"
    deadline = time.monotonic() + 120
    while len(list(runs.glob("*.safetensors"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    kept = {path: path.stat().st_mtime_ns for path in runs.glob("[!.]*.safetensors")}
    assert len(kept) >= 2
    done = command(*words[1:])
    assert "jobs are already finished" in done.stderr
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert len(list(runs.glob("[!.]*.safetensors"))) == 3 + Experiment().random_draws  # 3 of eap


@pytest.mark.every
def test_processes_give_the_same_numbers(command: CommandLine, tmp_path: Path) -> None:
    """-j 2 changes no score."""
    words = ("run", "-t", "gp", "-m", "eap", "--sizes", "5%", "--quick")
    command(*words, "--out", "one")
    command(*words, "--out", "two", "-j", "2")
    one, two = (pd.read_csv(tmp_path / name / "leaderboard.csv") for name in ("one", "two"))
    scores = ["kl", "complement_kl", "faithfulness", "edges_kept", "forwards"]
    assert one[scores].equals(two[scores])
    for table in (one, two):
        assert (table.loc[table["method"] == "eap", "peak_memory_mb"] > 100).all()


@pytest.mark.every
def test_quick_beats_random_on_all_tasks(command: CommandLine, tmp_path: Path) -> None:
    """EAP and EAP-IG are far below random circuits in kl from 1 % of edges up, on all tasks of the board."""
    command("run", "--quick")
    table = pd.read_csv(tmp_path / "results" / "leaderboard.csv")
    assert set(table["task"]) == {"ioi", "gt", "gp"}
    large = table[table["size_requested"].between(0.01, 0.5)]
    kl = large.pivot(index=["task", "size_requested"], columns="method", values="kl")
    high = large.pivot(index=["task", "size_requested"], columns="method", values="kl_high")
    low = large.pivot(index=["task", "size_requested"], columns="method", values="kl_low")
    for method in ("eap", "eap_ig"):
        assert (kl[method] < kl["random_edges"] / 10).all()
        assert (high[method] < low["random_edges"]).all()
