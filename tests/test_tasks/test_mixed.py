"""Several tasks as one: as many prompts of each, and each as it is alone."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.errors import UsageError
from bench.models.load import load_model
from bench.names import choose_task, get_task
from bench.runs.experiment import task_code
from bench.study import Study
from tasks import Examples
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
        ("gp+gp", "the task 'gp+gp' has one of its tasks twice"),
        ("gp+iou", "unknown task 'iou'; did you mean 'ioi'?"),
        ("gp+", "unknown task ''"),
    ],
)
def test_tasks_that_do_not_go_together_are_refused(text: str, complaint: str) -> None:
    with pytest.raises(UsageError, match=re.escape(complaint)):
        get_task(text)


def test_a_circuit_of_both_is_found_and_scored() -> None:
    study = Study("embedded", "ioi_t1+gp", n_discovery=20, n_evaluation=24)
    found = study.discover("eap", ["5%"])
    table = study.evaluate(found, random_draws=0).set_index("circuit")
    assert table.recovered[0.05] > 0.5
    assert isinstance(get_task("ioi_t1+gp"), Mixed)
