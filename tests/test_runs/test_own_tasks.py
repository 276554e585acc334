"""Tasks that users bring: files of prompts, classes in files, other packages; and options of ours."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bench.errors import MixedSettings, UsageError
from bench.names import choose_task, get_task
from bench.report import run as run_and_report
from bench.runs.experiment import Experiment, task_code
from bench.scoring.leaderboard import leaderboard
from bench.store.results import Store
from bench.study import Study
from command_line import CommandLine
from own_prompts import LINES, line, write

BRIEF = (
    "circuit_tests: false\ncurves: false\nn_discovery: 8\nn_evaluation: 8\nrandom_draws: 1\nsizes: [5%]\n"
    "methods: [eap]\n"
)
RUN = ("--sizes", "5%", "--quick", "--out", "out")
CLASS = """
from tasks.gp import GenderedPronoun
from tasks.base import Task

class Mine(GenderedPronoun):
    name = "{name}"

class Base(Task):
    pass
"""
FEW: dict[str, Any] = {
    "methods": ("eap_ig",), "sizes": ("5%",), "random_draws": 1, "n_discovery": (8,), "n_evaluation": 8,
    "circuit_tests": False, "curves": False,
}  # fmt: skip


def table(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "leaderboard.csv")


def test_a_file_of_prompts_is_run(command: CommandLine) -> None:
    """By a relative path, in processes of their own; the table names the task by the file."""
    write(command.folder / "mine.jsonl")
    command("run", "-t", "mine.jsonl", "-m", "eap_ig", "-m", "eap", *RUN)
    rows = table(command.folder / "out")
    assert set(rows["task"]) == {"mine"}
    assert set(rows["status"]) == {"ok"}
    assert set(rows["measure"].dropna()) == {"logit_diff"}
    scores = rows.set_index("method")["recovered"]
    assert scores["eap_ig"] > 0.5 > scores["random_edges"]
    assert rows.set_index("method")["chance"]["full"] == 0.5
    assert (
        "jobs are already finished"
        in command("run", "-t", "mine.jsonl", "-m", "eap_ig", "-m", "eap", *RUN).stderr
    )


def test_a_file_that_has_changed_is_run_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what was made of the old one does not stand beside it."""
    monkeypatch.chdir(tmp_path)
    write(Path("mine.jsonl"))
    experiment = Experiment(tasks=("mine.jsonl",), **FEW)
    before = {job.key for job in experiment.jobs()}
    assert {job.key for job in experiment.jobs()} == before
    run_and_report(experiment, "out")
    write(Path("mine.jsonl"), *LINES[:-1], line("Anna", "Kevin", "Susan"))
    assert not {job.key for job in experiment.jobs()} & before
    other = Experiment(tasks=("mine.jsonl",), **FEW | {"methods": ("eap",)})
    with pytest.raises(MixedSettings, match="holds runs of eap_ig on another task named 'mine'"):
        run_and_report(other, "out")
    run_and_report(experiment, "out")
    codes = {run.record.task_code for run in Store(Path("out")).runs()}
    assert codes == {experiment.jobs()[0].task_code}


def test_a_study_and_an_experiment_take_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "mine.jsonl")
    monkeypatch.chdir(tmp_path)
    study = Study("embedded", "mine.jsonl", n_discovery=8, n_evaluation=8)
    assert sum(map(len, study.data.discovery)) == 8
    scored = study.evaluate(study.discover("eap_ig", ["5%"]), random_draws=0)
    stored = run_and_report(Experiment(tasks=("mine.jsonl",), **FEW), "out")
    ours = stored[stored["method"] == "eap_ig"]
    assert set(ours["task"]) == {"mine"}
    np.testing.assert_allclose(ours["kl"].iloc[0], scored["kl"].iloc[0], rtol=1e-5)


def test_without_wrong_answers_kl_is_what_is_measured(command: CommandLine) -> None:
    """What needs candidates is not scored; EAP, which has no gradient to go by, declines."""
    write(command.folder / "mine.jsonl", *({**each, "wrong": []} for each in LINES))
    command("run", "-t", "mine.jsonl", "-m", "eap_ig", "-m", "eap", "-m", "eap_ig:objective=difference", *RUN)
    rows = table(command.folder / "out")
    ok = rows[rows["status"] == "ok"]
    assert set(ok["measure"]) == {"kl"}
    unscored = ["chance", "choice_accuracy", "kl_candidates", "logit_diff", "prob_diff", "acc_auc"]
    assert ok[unscored].isna().all(axis=None)
    of_methods = ok[ok["method"] == "eap_ig"]
    assert len(of_methods) == 2
    assert of_methods["kl"].nunique() == 1  # both objectives are KL
    assert of_methods[["kl", "recovered", "accuracy", "faithfulness"]].notna().all(axis=None)
    np.testing.assert_allclose(of_methods["faithfulness"], of_methods["recovered"], atol=1e-6)
    assert of_methods["untested"].str.contains("independence: without wrong answers KL is measured").all()
    assert of_methods[["p_equivalence", "p_independence"]].isna().all(axis=None)
    (declined,) = rows[rows["method"] == "eap"].to_dict("records")
    assert declined["status"] == "declined"
    assert "the task names no wrong answers" in declined["status_reason"]


def test_a_class_in_a_file_is_a_task(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(CLASS.format(name="my_task"))
    assert get_task(str(tmp_path / "mine.py")).name == "my_task"
    assert choose_task(f"{tmp_path / 'mine.py'}:my_task").label == "my_task"


def test_two_files_of_one_name_are_two(tmp_path: Path) -> None:
    codes = []
    for folder, text in (("a", ""), ("b", "OTHER = 1\n"), ("a", "")):
        (tmp_path / folder).mkdir(exist_ok=True)
        file = tmp_path / folder / "mine.py"
        file.write_text(CLASS.format(name="my_task") + text)
        codes.append(task_code(str(file)))
    assert codes[0] == codes[2] != codes[1]
    assert task_code(str(tmp_path / "a" / "mine.py")) == codes[0], "whichever was read last"


def test_tasks_of_a_file_and_of_another_package_are_run(
    command: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the file or the entry point to the table, through the processes that run jobs."""
    site = tmp_path / "site"
    about = site / "theirs-1.0.dist-info"
    about.mkdir(parents=True)
    monkeypatch.syspath_prepend(site)
    (site / "theirs_tasks.py").write_text(CLASS.format(name="their_task"))
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[circuitmark.tasks]\ntheir_task = theirs_tasks:Mine\n")
    (tmp_path / "mine.py").write_text(CLASS.format(name="my_task"))
    (tmp_path / "c.yaml").write_text(BRIEF)
    command("run", "--config", "c.yaml", "-t", "mine.py", "-t", "their_task", "--out", "out")
    rows = table(tmp_path / "out")
    assert set(rows["task"]) == {"my_task", "their_task"}
    assert set(rows["status"]) == {"ok"}


def test_a_task_takes_options_as_a_method_does(tmp_path: Path) -> None:
    """They stand in its label and tell its runs from others; defaults do not."""
    assert choose_task("ioi:corruption=names").label == "ioi"
    assert choose_task("ioi:corruption=flip").label == "ioi:corruption=flip"
    experiment = Experiment(tasks=("ioi_t1", "ioi_t1:corruption=flip"), **FEW)
    run_and_report(experiment, tmp_path)
    rows = leaderboard(Store(tmp_path))
    kl = rows[rows["method"] == "empty"].set_index("task")["kl"]
    assert set(kl.index) == {"ioi_t1", "ioi_t1:corruption=flip"}
    assert abs(kl["ioi_t1"] - kl["ioi_t1:corruption=flip"]) > 0.1
    assert set(rows["status"]) == {"ok"}


def test_options_of_a_task_are_listed(command: CommandLine) -> None:
    write(command.folder / "mine.jsonl")
    (row,) = json.loads(command("list", "tasks", "ioi", "--json").stdout)
    assert [option["name"] for option in row["options"]] == ["corruption"]
    assert row["options"][0]["type"] == "names or flip"
    assert "three other names" in row["options"][0]["description"]
    told = command("list", "tasks", "mine.jsonl").stdout
    assert "30 lines of mine.jsonl" in told
    assert "unfit=refuse" in told
    assert {row["name"]: row["options"] for row in json.loads(command("list", "tasks", "--json").stdout)}[
        "gp"
    ] == {}


BAD: dict[str, tuple[Any, str]] = {
    "no JSON": ('{"clean": "Mary', "mine.jsonl line 31: it is not valid JSON"),
    "missing": ({"clean": "Mary", "corrupted": "Anna"}, "mine.jsonl line 31: 'answers' is miss"),
    "type": (LINES[0] | {"clean": 7}, "mine.jsonl line 31: 'clean' is neither text"),
    "long": ("x" * 1_000_000, "mine.jsonl line 31: it is not valid JSON"),
    "long prompt": (LINES[0] | {"clean": "x" * 10**6}, "line 31: 'clean' has a length of 1,000,000"),
    "alike": (LINES[0] | {"corrupted": LINES[0]["clean"]}, "mine.jsonl line 31: clean and corrupted are"),
    "word": (line("Mary", "Susan", answers=[" Xerxes"]), "mine.jsonl line 31: the answer ' Xerxes' is"),
    "token": (line("Mary", "Susan", answers=[999]), "mine.jsonl line 31: the answer 999 is not in"),
    "lengths": (line("Mary", "Susan", "Helen and Anna"), "line 31: clean has 15 tokens, corrupted 17: "),
    "split": (LINES[0] | {"split": "tests"}, "mine.jsonl line 31: the split 'tests' is not one of "),
    "several": (line("Mary", "Susan", answers=[" Mary Anna"], wrong=[" Mary Laura"]), "begin with the same"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_bad_line_is_one_line(name: str, command: CommandLine) -> None:
    """With file and line number, before anything is written."""
    bad, told = BAD[name]
    write(command.folder / "mine.jsonl", *LINES, bad)
    complaint = command.complaint("run", "-t", "mine.jsonl", "-m", "eap_ig", *RUN)
    assert told in complaint
    assert len(complaint.replace(str(command.folder), "")) < 450


def test_a_bad_file_is_one_line(command: CommandLine) -> None:
    """Bytes that are no text, nothing, a folder, what is not there, other columns, one split."""
    (command.folder / "bytes.jsonl").write_bytes(b'{"clean": "\xff"}\n')
    (command.folder / "empty.jsonl").write_text("")
    (command.folder / "folder.jsonl").mkdir()
    (command.folder / "columns.csv").write_text("a,b\n1,2\n")
    (command.folder / "mine.txt").write_text("")
    write(command.folder / "ioi.jsonl")
    write(command.folder / "train.jsonl", *(each | {"split": "train"} for each in LINES))
    (command.folder / "other").mkdir()
    for name in ("mine.jsonl", "other/mine.jsonl"):
        write(command.folder / name)
    for words, told in {
        "bytes.jsonl": "bytes.jsonl line 1: it is not UTF-8 text",
        "empty.jsonl": "empty.jsonl holds no prompts",
        "folder.jsonl": "folder.jsonl is a folder",
        "mime.jsonl": "there is no file mime.jsonl; did you mean 'mine.jsonl'?: name a file of prompts",
        "columns.csv": "columns.csv line 1: it has no column 'clean' among 'a, b'",
        "train.jsonl": "train.jsonl: all 30 lines are for discovery, and none is left for evaluation",
        "mine.txt": "mine.txt is not a file of prompts: its name must end in .jsonl, .json, .csv or .py",
        "ioi.jsonl": "ioi.jsonl has the name of the task 'ioi': rename the file",
        "mine.jsonl -t other/mine.jsonl": "are both named 'mine': rename one",
        "mine.jsonl:unfit=keep": "unknown value of mine's option unfit 'keep'",
        "mine.jsonl:unfi=drop": "did you mean 'unfit'?",
        "none.py": "there is no file none.py",
        "ioi:corruption=names,corruption": "the option 'corruption' of ioi has no value",
        "ioi:corruption=flop": "did you mean 'flip'?",
        "gp:corruption=flip": "unknown option of gp 'corruption'",
    }.items():
        assert told in command.complaint("run", "-t", *words.split(), "-m", "eap_ig", *RUN)


def test_lines_that_do_not_fit_may_be_left_out(command: CommandLine) -> None:
    """Which stands in the task's name; a line that the model's context does not hold is one of them."""
    long = {side: name + " and" * 99 for side, name in (("clean", "After Mary"), ("corrupted", "After Anna"))}
    write(command.folder / "mine.jsonl", *LINES, line("Mary", "Susan", "Helen and Anna"), LINES[0] | long)
    command("run", "-t", "mine.jsonl:unfit=drop", "-m", "eap_ig", *RUN)
    rows = table(command.folder / "out")
    assert set(rows["task"]) == {"mine:unfit=drop"}
    assert set(rows["status"]) == {"ok"}


def test_a_prompt_longer_than_the_context_is_named(command: CommandLine) -> None:
    long = {side: name + " and" * 99 for side, name in (("clean", "After Mary"), ("corrupted", "After Anna"))}
    write(command.folder / "mine.jsonl", *LINES, LINES[0] | long)
    told = command.complaint("run", "-t", "mine.jsonl", "-m", "eap_ig", *RUN)
    assert "mine.jsonl line 31: it has 101 tokens, but the model reads 64: 'After Mary and" in told
    assert "mine.jsonl:unfit=drop; choose another with -t or --model" in told


def test_data_seeds_take_other_lines_or_are_refused(command: CommandLine) -> None:
    write(command.folder / "mine.jsonl")
    told = command.complaint("run", "-t", "mine.jsonl", "-m", "eap_ig", "--data-seeds", "2", *RUN)
    assert "has 15 lines for discovery, all of which seed 0 has: request fewer" in told
    experiment = Experiment(tasks=("mine.jsonl",), data_seeds=2, **FEW)
    (command.folder / "c.yaml").write_text(
        "tasks: [mine.jsonl]\nmethods: [eap_ig]\nn_discovery: 6\ndata_seeds: 2\nrandom_draws: 1\n"
    )
    assert len(experiment.jobs()) == 3
    command("run", "--config", "c.yaml", *RUN)
    rows = table(command.folder / "out")
    assert set(rows["status"]) == {"ok"}
    assert rows[rows["data_seed"] == 1]["shared_prompts"].eq(0).all()


def test_a_class_that_is_no_task_is_refused(tmp_path: Path) -> None:
    """Its name is taken, it is one of several, or it lacks what every task tells."""
    (tmp_path / "mine.py").write_text(CLASS.format(name="ioi"))
    with pytest.raises(
        UsageError,
        match="defines a task named 'ioi', a name that circuitmark or an installed package already uses",
    ):
        get_task(str(tmp_path / "mine.py"))
    (tmp_path / "two.py").write_text(CLASS.format(name="one") + "\nclass Two(Mine):\n    name = 'two'\n")
    for name in ("", "three"):
        with pytest.raises(UsageError, match=rf"two.py has no task '{name}' \(it has: one, two\)"):
            get_task(f"{tmp_path / 'two.py'}:{name}")
    assert get_task(f"{tmp_path / 'two.py'}:two").name == "two"
    (tmp_path / "bare.py").write_text(
        "from tasks.gp import GenderedPronoun\nclass M(GenderedPronoun):\n    name, version = 'm', '1'\n"
    )
    with pytest.raises(UsageError, match=r"M in .* has no version: give it one, of type int"):
        get_task(str(tmp_path / "bare.py"))


def test_a_start_that_cannot_be_is_refused(command: CommandLine) -> None:
    for words in (("run", "-t", "gp", "--out", "out"), ("task", "check", "gp")):
        told = command.complaint(*words, "--bos", "yes")
        assert "the model's tokenizer has no BOS: leave --bos out" in told
        assert "unknown bos 'yess'; did you mean 'yes'?" in command.complaint(*words, "--bos", "yess")
    told = command.complaint("run", "--model", "tracr:reverse", "--bos", "no", "--out", "out")
    assert "the model 'tracr:reverse' brings its own prompts: leave --bos out" in told
