"""Several tasks as one: as many prompts of each, and each as it is alone."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bench.errors import UsageError
from bench.models.load import load_model
from bench.names import choose_task, get_task
from bench.runs.experiment import task_code
from bench.study import Study
from command_line import CommandLine
from own_prompts import LINES, line, write
from tasks import Examples, TaskError
from tasks.files.task import FileTask
from tasks.mixed import APART, Mixed


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return load_model("embedded").tokenizer


@pytest.mark.parametrize("n", [7, 40])
def test_each_task_has_the_prompts_that_it_has_alone(n: int, tokenizer: Any) -> None:
    task = get_task("ioi+gp")
    mixed = task.examples(tokenizer, "discovery", n, 1)
    assert len(mixed) == n
    for i, name in enumerate(("ioi", "gp")):
        own = get_task(name).examples(tokenizer, "discovery", (n + 1 - i) // 2, 1)
        held: Examples = mixed.take(np.flatnonzero(mixed.template // APART == i))
        width = own.clean.shape[1]
        assert np.array_equal(held.clean[:, :width], own.clean)
        assert np.array_equal(held.corrupted[:, :width], own.corrupted)
        assert np.array_equal(held.template - APART * i, own.template)
        for part in ("lengths", "positions", "candidates", "correct"):
            assert np.array_equal(getattr(held, part), getattr(own, part))
    turns = mixed.template // APART
    assert turns[:6].tolist() == [0, 1, 0, 1, 0, 1]
    assert task.held_out == {*range(12, 24), *range(APART + 12, APART + 24)}


def test_its_name_travels_and_its_code_is_that_of_its_tasks(tmp_path: Path) -> None:
    chosen = choose_task("gp+ioi:corruption=flip")
    assert (chosen.label, chosen.version) == ("gp+ioi:corruption=flip", 4)
    assert task_code("gp+ioi") not in (task_code("ioi+gp"), task_code("gp"), task_code("gp+induction"))
    (tmp_path / "a+b.jsonl").write_text(
        '{"clean": "Mary", "corrupted": "Peter", "answers": ["she"], "split": "discovery"}\n'
        '{"clean": "Anna", "corrupted": "Simon", "answers": ["she"], "split": "evaluation"}\n'
    )
    assert get_task(str(tmp_path / "a+b.jsonl")).name == "a+b"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (
            "ioi+gt",
            "the tasks of 'ioi+gt' are measured by different metrics (ioi: logit_diff, gt: prob_diff)",
        ),
        ("gp+gp", "'gp+gp' has two tasks named 'gp': leave one out, or rename its file"),
        ("ioi+ioi:corruption=flip", "'ioi+ioi' has two tasks named 'ioi'"),
        ("gp+iou", "unknown task 'iou'; did you mean 'ioi'?"),
        ("gp+ioi:corruption=flop", "did you mean 'flip'?"),
        ("gp+", "'gp+' has nothing on one side of a +: write a task on both"),
        ("+gp", "'+gp' has nothing on one side of a +"),
        ("gp++ioi", "'gp++ioi' has nothing on one side of a +"),
        ("gp+none.jsonl", "there is no file none.jsonl"),
        ("none+gp.jsonl", "unknown task 'none'"),
    ],
)
def test_tasks_that_do_not_go_together_are_refused(text: str, complaint: str) -> None:
    with pytest.raises(UsageError, match=re.escape(complaint)):
        get_task(text)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """With files of prompts, in which tasks are typed."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a+folder").mkdir()
    others = [line(first, second) for first in ("Karen", "Julia") for second in ("Mary", "Peter", "Kevin")]
    for name in ("b.jsonl", "b+c.jsonl", "b,c.jsonl", "a+folder/d.jsonl"):
        write(tmp_path / name)
    write(tmp_path / "e.jsonl", *others)
    write(tmp_path / "bare.jsonl", *({**each, "answers": [" Mary", " Anna"], "wrong": []} for each in others))
    write(tmp_path / "three.jsonl", *({**each, "wrong": [" Mary", " Anna"]} for each in others))
    return tmp_path


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("b.jsonl+e.jsonl", ["b", "e"]),
        ("b.jsonl:unfit=drop+e.jsonl", ["b:unfit=drop", "e"]),
        ("b+c.jsonl+gp", ["b+c", "gp"]),
        ("gp+b+c.jsonl:unfit=drop", ["gp", "b+c:unfit=drop"]),
        ("b+c.jsonl:unfit=drop,measure=logit_diff+e.jsonl", ["b+c:unfit=drop", "e"]),
        ("b,c.jsonl:unfit=drop+ioi:corruption=flip", ["b,c:unfit=drop", "ioi:corruption=flip"]),
        ("a+folder/d.jsonl+gp+e.jsonl", ["d", "gp", "e"]),
    ],
)
def test_files_go_together(
    text: str, labels: list[str], folder: Path, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With tasks and with each other, whatever their paths and options are."""
    chosen = choose_task(text)
    assert chosen.label == "+".join(labels)
    parts = get_task(text)
    assert isinstance(parts, Mixed)
    assert len(parts.tasks) == len(labels)
    monkeypatch.chdir("/")  # as typed elsewhere: with whole paths
    task = get_task(chosen.text)
    for split in ("discovery", "evaluation"):
        held = task.examples(tokenizer, split, 3 * len(labels), 0).template // APART
        assert np.bincount(held).tolist() == [3] * len(labels)


@pytest.mark.parametrize("text", ["b+c.jsonl", "b+c.jsonl:unfit=drop", "a+folder/d.jsonl:unfit=drop"])
def test_a_file_with_a_plus_is_one_task(text: str, folder: Path) -> None:
    assert isinstance(get_task(text), FileTask)


def test_files_that_do_not_go_together(folder: Path, tokenizer: Any) -> None:
    """Of one name, or a prompt that a method would see of one and be scored on of the other."""
    write(folder / "d.jsonl", line("Karen", "Julia"), line("Karen", "Anna"))
    with pytest.raises(
        UsageError, match=r"'d\+d' has two tasks named 'd': leave one out, or rename its file"
    ):
        get_task("d.jsonl+a+folder/d.jsonl")
    write(folder / "one.jsonl", LINES[0] | {"split": "train"}, LINES[1] | {"split": "test"})
    write(folder / "two.jsonl", LINES[2] | {"split": "train"}, LINES[0] | {"split": "test"})
    told = "two.jsonl line 2: its clean prompt is that of one.jsonl line 1, which is for discovery, not eval"
    with pytest.raises(UsageError, match=re.escape(told)):
        get_task("one.jsonl+two.jsonl")
    for text, complaint in {
        "bare.jsonl+gp": "in 'bare+gp' tasks without wrong answers (bare) cannot join tasks that have them",
        "gp+three.jsonl": "the tasks of 'gp+three' have different numbers of candidates (gp: 2, three: 3)",
    }.items():
        with pytest.raises(TaskError, match=re.escape(complaint)):
            get_task(text).examples(tokenizer, "discovery", 4, 0)


def test_as_many_templates_as_lines_stay_apart(tmp_path: Path, tokenizer: Any) -> None:
    lines = [LINES[i % 30] | {"template": f"{i:05}", "split": ("train", "test")[i % 2]} for i in range(4000)]
    write(tmp_path / "many.jsonl", *lines)
    write(tmp_path / "b.jsonl", line("Karen", "Julia"), line("Karen", "Anna"))
    task = get_task(f"{tmp_path / 'many.jsonl'}+{tmp_path / 'b.jsonl'}")
    examples = task.examples(tokenizer, "discovery", 4000, 0)
    assert len(np.unique(examples.template)) == 2001


def test_commands_take_mixes_of_files(folder: Path, command: CommandLine) -> None:
    """What is looked at of each, and a run."""
    for name in ("b+c.jsonl", "e.jsonl"):
        (command.folder / name).write_bytes((folder / name).read_bytes())
    told = command("task", "check", "b+c.jsonl:unfit=drop+e.jsonl").stdout
    assert "b+c:unfit=drop+e on embedded: 36 prompts checked" in told
    assert "splits: discovery 18 (templates: 2), evaluation 18 (templates: 2)" in told
    words = ("-m", "eap", "--sizes", "5%", "--quick", "--out", "out")
    command("run", "-t", "b+c.jsonl:unfit=drop+ioi:corruption=flip", *words)
    rows = pd.read_csv(command.folder / "out" / "leaderboard.csv")
    assert set(rows["task"]) == {"b+c:unfit=drop+ioi:corruption=flip"}
    assert set(rows["status"]) == {"ok"}


def test_a_circuit_of_both_is_found_and_scored() -> None:
    study = Study("embedded", "ioi_t1+gp", n_discovery=20, n_evaluation=24)
    found = study.discover("eap", ["5%"])
    table = study.evaluate(found, random_draws=0).set_index("circuit")
    assert table.recovered[0.05] > 0.5
    assert isinstance(get_task("ioi_t1+gp"), Mixed)
