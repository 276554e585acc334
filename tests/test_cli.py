"""The command as users type it: answers, exit codes, one line for a mistake, nothing written."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench.models.load import EMBEDDED

COMMAND = str(Path(sys.executable).parent / "circuitmark")
SMALL = ("run", "-t", "gp", "-m", "random_edges", "--sizes", "5%", "--quick")


def circuitmark(*words: str, cwd: Path | None = None, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Runs the command and checks its exit code; no traceback, ever."""
    done = subprocess.run([COMMAND, *words], capture_output=True, text=True, cwd=cwd, check=False)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done


def complaint(*words: str, cwd: Path, code: int = 2) -> str:
    """The one line that a mistake is answered with; nothing may be left behind."""
    before = sorted(cwd.rglob("*"))
    done = circuitmark(*words, cwd=cwd, code=code)
    assert done.stdout == ""
    lines = [line for line in done.stderr.splitlines() if line and "Loading weights" not in line]
    assert len(lines) == 1, done.stderr
    assert sorted(cwd.rglob("*")) == before
    return lines[0]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("run", "-m", "eapp"), "unknown method 'eapp'; did you mean 'eap'?"),
        (("run", "-t", "ioo"), "unknown task 'ioo'; did you mean 'ioi'?"),
        (("run", "--model", "embeded"), "unknown model 'embeded'; did you mean 'embedded'?"),
        (("run", "--model", "./nowhere"), "there is no folder ./nowhere"),
        (("run", "--sizes", "5"), "did you mean '5%'?"),
        (("run", "--sizes", ""), "'' is no size"),
        (("run", "--ablation", "resampel"), "did you mean 'resample'?"),
        (("run", "--seeds", "0"), "seeds must be at least 1"),
        (("run", "--config", "none.yaml"), "cannot read the configuration none.yaml"),
        (("run", "-m", "eap:steps=3"), "unknown option of eap 'steps'"),
        (("report", "nowhere"), "nowhere holds no results"),
        (("rescore", "nowhere"), "nowhere holds no results"),
        (("cite", "acdcc"), "unknown method 'acdcc'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_a_mistake_is_one_line(words: tuple[str, ...], expected: str, tmp_path: Path) -> None:
    line = complaint(*words, cwd=tmp_path)
    assert line.startswith("circuitmark: ")
    assert expected in line


def test_damaged_models_are_named(tmp_path: Path) -> None:
    """A folder without a config, and one whose weights or tokenizer are cut short."""
    (tmp_path / "hollow").mkdir()
    assert "holds no config.json" in complaint("run", "--model", "hollow", cwd=tmp_path)
    for name in ("model.safetensors", "tokenizer.json"):
        shutil.copytree(EMBEDDED, tmp_path / name)
        broken = tmp_path / name / name
        broken.write_bytes(broken.read_bytes()[:1000])
        line = complaint("run", "-t", "gp", "--model", name, cwd=tmp_path)
        assert f"the model '{name}' cannot be loaded" in line


def test_pickled_weights_are_refused(tmp_path: Path) -> None:
    """A model that comes as a pickle alone is not loaded."""
    shutil.copytree(EMBEDDED, tmp_path / "old")
    (tmp_path / "old" / "model.safetensors").rename(tmp_path / "old" / "pytorch_model.bin")
    assert "cannot be loaded" in complaint("run", "-t", "gp", "--model", "old", cwd=tmp_path)


def test_what_is_no_discovery_is_said(tmp_path: Path) -> None:
    """Here, without the type checks of test runs, our own check answers."""
    import pandas as pd

    answers = {
        "none": ("None", "discover returned NoneType"),
        "objective": ("Discovery(objective=object())", "objective is object"),
        "scores": ("Discovery(scores=[1])", "must be torch tensors"),
        "selection": ("Discovery(selection='best')", "selection is 'best'"),
    }
    words = list(SMALL)
    for name, (answer, _) in answers.items():
        (tmp_path / f"{name}.py").write_text(
            "from circuitmark import Discovery, Method\n"
            "class Mine(Method):\n"
            f"    name, description, citation = 'my_{name}', 'a test', '@misc{{x}}'\n"
            "    def discover(self, problem):\n"
            f"        return {answer}\n"
        )
        words += ["-m", f"{name}.py"]
    circuitmark(*words, cwd=tmp_path, code=1)
    table = pd.read_csv(tmp_path / "results" / "leaderboard.csv").set_index("method")
    for name, (_, reason) in answers.items():
        assert table.loc[f"my_{name}", "status"] == "failed"
        assert reason in table.loc[f"my_{name}", "status_reason"]


def test_code_that_comes_with_a_model_never_runs(tmp_path: Path) -> None:
    """Not even when somebody would answer yes."""
    shutil.copytree(EMBEDDED, tmp_path / "evil")
    config = json.loads((tmp_path / "evil" / "config.json").read_text())
    auto = {"AutoConfig": "evil.C", "AutoModelForCausalLM": "evil.M"}
    (tmp_path / "evil" / "config.json").write_text(
        json.dumps(config | {"model_type": "evil", "auto_map": auto, "architectures": ["M"]})
    )
    (tmp_path / "evil" / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    words = [COMMAND, "run", "--model", "evil", "--out", "out"]
    done = subprocess.run(words, cwd=tmp_path, input="y\n", capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "cannot be loaded" in done.stderr
    assert not (tmp_path / "ran").exists()
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("change", "message"), [("drop", "lacks the weight"), ("nan", "not finite")])
def test_weights_that_are_missing_or_broken(tmp_path: Path, change: str, message: str) -> None:
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
    done = circuitmark("run", "-t", "gp", "--model", "model", cwd=tmp_path, code=2)
    assert message in done.stderr
    assert not (tmp_path / "results").exists()


def test_a_task_beyond_the_tokenizer_is_refused(tmp_path: Path) -> None:
    """Without the names in its vocabulary the model cannot carry the task, and the line says so."""
    shutil.copytree(EMBEDDED, tmp_path / "mute")
    file = tmp_path / "mute" / "tokenizer.json"
    tokenizer = json.loads(file.read_text())
    vocabulary = tokenizer["model"]["vocab"]
    tokenizer["model"]["vocab"] = {f"w{i}" if token.strip() == "he" else token: i
                                   for token, i in vocabulary.items()}  # fmt: skip
    file.write_text(json.dumps(tokenizer))
    line = complaint("run", "-t", "gp", "--model", "mute", cwd=tmp_path)
    assert "the model 'mute' cannot do the task 'gp'" in line


def test_lists(tmp_path: Path) -> None:
    for kind, expected in {
        "methods": {"random_edges", "eap", "eap_ig"},
        "tasks": {"ioi_t1", "ioi", "gt", "gp"},
        "models": {"embedded"},
        "metrics": {"kl", "faithfulness"},
    }.items():
        rows = json.loads(circuitmark("list", kind, "--json").stdout)
        assert expected <= {row["name"] for row in rows}
    assert "eap_ig" in circuitmark("list", "methods").stdout
    assert "No such command" in circuitmark("lst", code=2).stderr
    assert "@" in circuitmark("cite", "eap", "eap_ig").stdout


def test_run_report_rescore(tmp_path: Path) -> None:
    """The whole way, in a folder that holds decoys of the rooms' names, and again without work."""
    (tmp_path / "tasks.py").write_text("raise SystemExit('decoy')")
    (tmp_path / "reports").mkdir()
    done = circuitmark(*SMALL, cwd=tmp_path)
    assert "random_edges" in done.stdout
    results = tmp_path / "results"
    for name in ("leaderboard.csv", "leaderboard.parquet", "leaderboard.md", "index.html"):
        assert (results / name).stat().st_size > 500
    again = circuitmark(*SMALL, cwd=tmp_path)
    assert "all 1 jobs are finished already" in again.stderr
    assert again.stdout == done.stdout
    circuitmark("report", "results", "--out", "elsewhere", cwd=tmp_path)
    assert (tmp_path / "elsewhere" / "leaderboard.csv").read_bytes() == (
        results / "leaderboard.csv"
    ).read_bytes()
    (results / "leaderboard.csv").unlink()
    circuitmark("rescore", "results", cwd=tmp_path)
    assert (tmp_path / "elsewhere" / "leaderboard.csv").read_bytes() == (
        results / "leaderboard.csv"
    ).read_bytes()
    assert "wrote" not in complaint_of_truncated(results)


def complaint_of_truncated(results: Path) -> str:
    """A truncated run stops the report and names itself; the other files stay."""
    victim = next((results / "runs").glob("*.safetensors"))
    victim.write_bytes(victim.read_bytes()[:-10])
    line = complaint("report", "results", cwd=results.parent, code=1)
    assert f"{victim.name} cannot be read" in line
    assert "delete it" in line
    return line


def test_output_folder_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    line = complaint(*SMALL, "--out", "file/results", cwd=tmp_path, code=1)
    assert "cannot write to file/results" in line
    assert "--out" in line


@pytest.mark.slow
def test_killed_in_the_middle_goes_on(tmp_path: Path) -> None:
    """kill -9 while jobs run: what was finished is kept, nothing is half-written, the rest follows."""
    words = [COMMAND, "run", "-t", "gp", "-m", "eap", "--sizes", "5%", "--seeds", "3"]
    process = subprocess.Popen(words, cwd=tmp_path, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    runs = tmp_path / "results" / "runs"
    deadline = time.monotonic() + 120
    while len(list(runs.glob("*.safetensors"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    kept = {path: path.stat().st_mtime_ns for path in runs.glob("[!.]*.safetensors")}
    assert len(kept) >= 2
    done = circuitmark(*words[1:], cwd=tmp_path)
    assert "jobs are finished already" in done.stderr
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert len(list(runs.glob("[!.]*.safetensors"))) == 13  # 3 of eap, 10 random ones


@pytest.mark.slow
def test_processes_give_the_same_numbers(tmp_path: Path) -> None:
    """-j 2 changes no score; peak memory is measured, since each job has a process of its own."""
    import pandas as pd

    words = ("run", "-t", "gp", "-m", "eap", "--sizes", "5%", "--quick")
    circuitmark(*words, "--out", "one", cwd=tmp_path)
    circuitmark(*words, "--out", "two", "-j", "2", cwd=tmp_path)
    one, two = (pd.read_csv(tmp_path / name / "leaderboard.csv") for name in ("one", "two"))
    assert one["kl"].tolist() == two["kl"].tolist()
    assert one["peak_memory_mb"].isna().all()
    assert (two.loc[two["method"] == "eap", "peak_memory_mb"] > 100).all()


@pytest.mark.slow
def test_quick_beats_random_on_all_tasks(tmp_path: Path) -> None:
    """EAP and EAP-IG are far below random circuits in kl from 5 % of edges up, on all four tasks."""
    import pandas as pd

    circuitmark("run", "--quick", cwd=tmp_path)
    table = pd.read_csv(tmp_path / "results" / "leaderboard.csv")
    assert set(table["task"]) == {"ioi_t1", "ioi", "gt", "gp"}
    large = table[table["size_requested"].between(0.05, 0.5)]
    kl = large.pivot(index=["task", "size_requested"], columns="method", values="kl")
    high = large.pivot(index=["task", "size_requested"], columns="method", values="kl_high")
    low = large.pivot(index=["task", "size_requested"], columns="method", values="kl_low")
    for method in ("eap", "eap_ig"):
        assert (kl[method] < kl["random_edges"] / 10).all()
        assert (high[method] < low["random_edges"]).all()
